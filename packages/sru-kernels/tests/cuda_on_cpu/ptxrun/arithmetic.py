"""Conversions, comparisons, arithmetic and functions."""

from __future__ import annotations

from .instruction import Instruction, instruction
from .operands import CPP, FLOATS, WIDTH, UnsupportedError

ROUNDING = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}
COMPARE = {
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"lo": "<", "ls": "<=", "hi": ">", "hs": ">="},
}
SIGNS = {"add": "+", "sub": "-", "mul": "*"}


@instruction("cvt")
def convert(i: Instruction) -> str:
    if i.words == ["rna", "tf32", "f32"]:
        return f"{i.target} = cushim::to_tf32({i.value(1)});"
    to, source = (word for word in i.words if word in WIDTH)
    rounding = i.one_of("rz", "rm", "rp", "rni", "rzi", "rmi", "rpi")
    if i.one_of("relu", "rna"):
        raise UnsupportedError("cvt." + ".".join(i.words))
    if to in ("f16x2", "bf16x2"):
        half = f"bits<uint16_t>(cvt_f<{CPP[to[:-2]]}>"
        high, low = i.value(1, "f32"), i.value(2, "f32")
        return f"{i.target} = (uint32_t){half}({high})) << 16 | {half}({low}));"
    value = i.value(1, source)
    if to in FLOATS:
        if rounding in ROUNDING:
            value = f"cvt_dir<{CPP[to]}>({value}, {ROUNDING[rounding]})"
        else:
            value = f"cvt_f<{CPP[to]}>({f'rnd_{rounding}({value})' if rounding else value})"
        value = f"sat({value})" if "sat" in i.words else value
    elif source in FLOATS:
        value = f"cvt_i<{CPP[to]}>(rnd_{rounding or 'rzi'}({value}))"
    elif "sat" in i.words:
        value = f"sat_i<{CPP[to]}>({value})"
    return i.assign(value, to)


@instruction("setp")
def compare(i: Instruction) -> str:
    test, a, b = i.words[0], i.value(1), i.value(2)
    unordered = f"(isnan_({a}) || isnan_({b}))"
    if i.kind not in FLOATS:
        result = f"({a} {COMPARE[test]} {b})"
    elif test in ("num", "nan"):
        result = unordered if test == "nan" else "!" + unordered
    elif test.endswith("u"):
        result = f"({unordered} || {a} {COMPARE[test[:-1]]} {b})"
    else:
        result = f"(!{unordered} && {a} {COMPARE[test]} {b})"
    with_third = {"and": "&&", "or": "||", "xor": "!="}.get(i.one_of("and", "or", "xor"))
    if not with_third and "|" not in i.operands[0]:
        return f"{i.target} = {result};"
    code = f"bool e_ = {result};"
    for target, value in zip(i.operands[0].split("|"), ("e_", "!e_"), strict=False):
        if target != "_":
            value = f"({value}) {with_third} {i.bits(3, 1)}" if with_third else value
            code += f" {i.kernel.register(target)} = {value};"
    return f"{{ {code} }}"


@instruction("selp")
def select(i: Instruction) -> str:
    return f"{i.target} = {i.bits(3, 1)} ? {i.bits(1)} : {i.bits(2)};"


@instruction("add", "sub", "mul", "mad", "fma")
def arithmetic(i: Instruction) -> str:
    if i.one_of("cc", "relu"):
        raise UnsupportedError(f"{i.name}.{'.'.join(i.words)}")
    if i.kind in FLOATS:
        return _rounded(i, _of_floats(i, [i.value(k) for k in range(1, len(i.operands))]))
    if i.one_of("wide", "hi"):
        return _wide_product(i)
    # Unsigned: signed overflow wraps around in PTX and is undefined in C++.
    kind = "u" + i.kind[1:]
    values = [i.value(k, kind) for k in range(1, len(i.operands))]
    pattern = {"add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "mad": "{} * {} + {}"}[i.name]
    return i.assign(pattern.format(*values), kind)


def _of_floats(i: Instruction, values: list[str]) -> str:
    if i.kind not in ("f32", "f64"):  # computed in double and rounded once
        return f"f_{'fma' if i.name == 'mad' else i.name}({', '.join(values)})"
    if i.name in ("fma", "mad"):
        return f"__builtin_fma{'f' if i.kind == 'f32' else ''}({', '.join(values)})"
    return f" {SIGNS[i.name]} ".join(values)


def _rounded(i: Instruction, value: str) -> str:
    if rounding := i.one_of(*ROUNDING):
        value = f"dir([&] {{ return {value}; }}, {ROUNDING[rounding]})"
    value = f"ftz({value})" if "ftz" in i.words else value
    return i.assign(f"sat({value})" if "sat" in i.words else value)


def _wide_product(i: Instruction) -> str:
    sign, double = i.kind[0], 2 * i.width
    wide = f"{'' if sign == 's' else 'unsigned '}__int128" if double == 128 else CPP[f"{sign}{double}"]
    product = f"({wide}){i.value(1)} * ({wide}){i.value(2)}"
    kind = i.kind if "hi" in i.words else f"{sign}{double}"
    if "hi" in i.words:
        product = f"({CPP[kind]})(({product}) >> {i.width})"
    return i.assign(f"{product} + {i.value(3, kind)}" if i.name == "mad" else product, kind)


@instruction("div", "rem")
def divide(i: Instruction) -> str:
    value = f"{'f' if i.kind in FLOATS else 'i'}_{i.name}({i.value(1)}, {i.value(2)})"
    return _rounded(i, value) if i.kind in FLOATS else i.assign(value)


@instruction("min", "max")
def extreme(i: Instruction) -> str:
    if i.kind in FLOATS:
        return i.assign(f"f_{i.name}{'_nan' if 'NaN' in i.words else ''}({i.value(1)}, {i.value(2)})")
    return i.assign(f"std::{i.name}<{CPP[i.kind]}>({i.value(1)}, {i.value(2)})")


@instruction("abs", "neg")
def sign(i: Instruction) -> str:
    if i.kind in FLOATS:
        return _rounded(i, f"f_{i.name}({i.value(1)})")
    kind = "u" + i.kind[1:]
    negative = f"0 - {i.value(1, kind)}"
    return i.assign(
        negative if i.name == "neg" else f"({i.value(1)} < 0 ? {negative} : {i.value(1, kind)})", kind
    )


@instruction("copysign")
def copy_sign(i: Instruction) -> str:
    return i.assign(f"std::copysign({i.value(2)}, {i.value(1)})")  # the sign comes first in PTX


INEXACT = {"rcp": 1, "ex2": 2}  # the largest error of a GPU in ulps


@instruction("rcp", "sqrt", "rsqrt", "ex2", "lg2", "tanh", "sin", "cos")
def function(i: Instruction) -> str:
    result = f"f_{i.name}({i.value(1)})"
    if "approx" in i.words and i.kind == "f32" and i.name in INEXACT:
        result = f"ptxrun::off({result}, {INEXACT[i.name]})"
    return _rounded(i, result)


@instruction("testp")
def classify(i: Instruction) -> str:
    tests = {
        **{"finite": "std::isfinite", "infinite": "std::isinf"},
        **{"notanumber": "isnan_", "number": "!isnan_"},
    }
    return f"{i.target} = {tests[i.words[0]]}({i.value(1)});"
