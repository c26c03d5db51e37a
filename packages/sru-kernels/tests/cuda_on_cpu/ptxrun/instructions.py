"""One function per family of PTX instructions: the C++ statement that does the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from .operands import CPP, FLOATS, UNSIGNED, WIDTH, Kernel, UnsupportedError, split_operands

ROUNDING = {"rz": "FE_TOWARDZERO", "rm": "FE_DOWNWARD", "rp": "FE_UPWARD"}
COMPARE = {
    **{"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="},
    **{"lo": "<", "ls": "<=", "hi": ">", "hs": ">="},
}
LOGIC = {"and": "&", "or": "|", "xor": "^"}


@dataclass
class Instruction:
    """`name.word.word operand, operand`; the last word that is a type is `kind`."""

    kernel: Kernel
    name: str
    words: list[str]
    operands: list[str]

    @property
    def kind(self) -> str:
        return self.words[-1]

    @property
    def width(self) -> int:
        return WIDTH[self.kind]

    @cached_property
    def target(self) -> str:
        return self.kernel.register(self.operands[0])

    def one_of(self, *words: str) -> str | None:
        return next((word for word in self.words if word in words), None)

    def bits(self, index: int, width: int | None = None) -> str:
        return self.kernel.bits(self.operands[index], width or self.width)

    def value(self, index: int, kind: str | None = None) -> str:
        return self.kernel.value(self.operands[index], kind or self.kind)

    def assign(self, expression: str, kind: str | None = None) -> str:
        return self.kernel.assign(self.operands[0], expression, kind or self.kind)


Handler = Callable[[Instruction], str]
HANDLERS: dict[str, Handler] = {}


def instruction(*names: str) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(names, handler))
        return handler

    return register


def translate_instruction(kernel: Kernel, opcode: str, operands: list[str]) -> str:
    """The C++ of one instruction.

    Raises:
        UnsupportedError: It is not known.
    """
    name, *words = opcode.split(".")
    if name not in HANDLERS:
        raise UnsupportedError(opcode)
    try:
        return HANDLERS[name](Instruction(kernel, name, words, operands))
    except (KeyError, IndexError, TypeError) as error:
        raise UnsupportedError(f"{opcode} {', '.join(operands)}") from error


@instruction("ld", "ldu")
def load(i: Instruction) -> str:
    ordered = i.one_of("acquire", "volatile", "relaxed")
    size = i.width // 8
    targets = _vector(i.operands[0])
    place = i.kernel.address(i.operands[1], _space(i), size * len(targets))
    read = f"ldv{'_a' if ordered else ''}<{CPP[i.kind]}>"
    loads = [i.kernel.assign(name, f"{read}(a_ + {k * size})", i.kind) for k, name in enumerate(targets)]
    before = "ptxrun::acq(); " if ordered else ""
    return f"{{ {before}const char* a_ = (const char*)({place}); {' '.join(loads)} }}"


@instruction("st")
def store(i: Instruction) -> str:
    ordered = i.one_of("release", "volatile", "relaxed")
    size = i.width // 8
    sources = _vector(i.operands[1])
    place = i.kernel.address(i.operands[0], _space(i), size * len(sources))
    kind = CPP[i.kind]

    def stored(name: str) -> str:
        if i.kind in FLOATS:
            return i.kernel.value(name, i.kind)
        return f"({kind}){i.kernel.bits(name, max(i.width, 16))}"  # no register is narrower than 16 bits

    write = f"stv{'_a' if ordered else ''}<{kind}>"
    stores = [f"{write}(a_ + {k * size}, {stored(name)});" for k, name in enumerate(sources)]
    after = " ptxrun::rel();" if "release" in i.words else ""
    return f"{{ char* a_ = (char*)({place}); {' '.join(stores)}{after} }}"


def _vector(operand: str) -> list[str]:
    return split_operands(operand.strip("{} ")) if operand.startswith("{") else [operand]


def _space(i: Instruction) -> str:
    return i.one_of("global", "shared", "local", "const") or "generic"


@instruction("atom", "red")
def atomic(i: Instruction) -> str:
    results = {
        **{"add": "T(o + b)", "exch": "b", "min": "(b < o ? b : o)", "max": "(o < b ? b : o)"},
        **{"and": "T(o & b)", "or": "T(o | b)", "xor": "T(o ^ b)", "cas": "(o == b ? c : o)"},
        **{"inc": "(o >= b ? T(0) : T(o + 1))", "dec": "(o == 0 || o > b ? b : T(o - 1))"},
    }
    operation = i.one_of(*results)
    first = 1 if i.name == "atom" else 0
    place = i.kernel.address(i.operands[first], "shared" if "shared" in i.words else "generic", i.width // 8)
    other = i.value(first + 2) if operation == "cas" else "T()"
    target = i.assign("old") if i.name == "atom" else ""
    return (
        f"{{ using T = {CPP[i.kind]}; T b = {i.value(first + 1)}, c = {other}; (void)c;"
        f" T old = ptxrun::rmw((T*){place}, [=](T o) -> T {{ return {results[operation]}; }});"
        f" (void)old; {target} }}"
    )


@instruction("mov")
def move(i: Instruction) -> str:
    target, source = i.operands
    if target.startswith("{"):
        parts = _vector(target)
        width = i.width // len(parts)
        taken = [
            f"{i.kernel.register(name)} = ({UNSIGNED[width]})(x_ >> {width * k});"
            for k, name in enumerate(parts)
            if name != "_"
        ]
        return f"{{ {UNSIGNED[i.width]} x_ = {i.bits(1)}; {' '.join(taken)} }}"
    if source.startswith("{"):
        parts = _vector(source)
        width = i.width // len(parts)
        put = [
            f"(({UNSIGNED[i.width]})({UNSIGNED[width]}){i.kernel.bits(name, width)} << {width * k})"
            for k, name in enumerate(parts)
        ]
        return f"{i.target} = {' | '.join(put)};"
    return f"{i.target} = {i.bits(1)};"


@instruction("cvta")
def convert_address(i: Instruction) -> str:
    address = i.bits(1, 64)
    if "shared" not in i.words:
        return f"{i.target} = {address};"
    base = "(uint64_t)ptxrun::smem"
    return f"{i.target} = {address} - {base};" if "to" in i.words else f"{i.target} = {base} + {address};"


@instruction("cvt")
def convert(i: Instruction) -> str:
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
    code = f"bool e_ = {result};"
    for target, value in zip(i.operands[0].split("|"), ("e_", "!e_"), strict=False):
        if target != "_":
            value = f"({value}) {with_third} {i.bits(3, 1)}" if with_third else value
            code += f" {i.kernel.register(target)} = {value};"
    return f"{{ {code} }}"


@instruction("selp")
def select(i: Instruction) -> str:
    return f"{i.target} = {i.bits(3, 1)} ? {i.bits(1)} : {i.bits(2)};"


@instruction("and", "or", "xor")
def logic(i: Instruction) -> str:
    return f"{i.target} = {i.bits(1)} {LOGIC[i.name]} {i.bits(2)};"


@instruction("not")
def complement(i: Instruction) -> str:
    return f"{i.target} = {'!' if i.kind == 'pred' else '~'}{i.bits(1)};"


@instruction("shl", "shr")
def shift(i: Instruction) -> str:
    value, count = i.value(1), i.bits(2, 32)
    if i.name == "shl":
        return i.assign(f"({count} >= {i.width} ? 0 : {value} << {count})")
    if i.kind[0] == "s":
        return i.assign(f"{value} >> ({count} >= {i.width} ? {i.width - 1} : {count})")
    return i.assign(f"({count} >= {i.width} ? 0 : {value} >> {count})")


@instruction("shf")
def funnel_shift(i: Instruction) -> str:
    low, high, count = (i.bits(k, 32) for k in (1, 2, 3))
    count = f"({count} & 31)" if "wrap" in i.words else f"std::min<uint32_t>({count}, 32)"
    result = f"x_ >> {count}" if "r" in i.words else f"(x_ << {count}) >> 32"
    return f"{{ uint64_t x_ = (uint64_t){high} << 32 | {low}; {i.target} = (uint32_t)({result}); }}"


@instruction("lop3", "prmt")
def three_words(i: Instruction) -> str:
    words = ", ".join(i.bits(k, 32) for k in (1, 2, 3))
    return f"{i.target} = {i.name}({words}{', ' + i.operands[4] if i.name == 'lop3' else ''});"


@instruction("bfi")
def insert_bits(i: Instruction) -> str:
    operands = ", ".join((i.bits(1), i.bits(2), i.bits(3, 32), i.bits(4, 32)))
    return f"{i.target} = bfi<{UNSIGNED[i.width]}>({operands});"


@instruction("bfe")
def extract_bits(i: Instruction) -> str:
    return i.assign(f"bfe<{CPP[i.kind]}>({i.value(1)}, {i.bits(2, 32)}, {i.bits(3, 32)})")


@instruction("popc", "clz", "brev")
def count_bits(i: Instruction) -> str:
    value = i.bits(1)
    result = {
        "popc": f"__builtin_popcountll({value})",
        "clz": f"{value} ? __builtin_clzll({value}) - {64 - i.width} : {i.width}",
        "brev": f"brev({value})",
    }[i.name]
    return f"{i.target} = {result};"


@instruction("add", "sub", "mul", "mad", "fma")
def arithmetic(i: Instruction) -> str:
    if i.one_of("cc", "relu"):
        raise UnsupportedError(f"{i.name}.{'.'.join(i.words)}")
    if i.kind in FLOATS:
        operands = ", ".join(i.value(k) for k in range(1, len(i.operands)))
        return _rounded(i, f"f_{'fma' if i.name == 'mad' else i.name}({operands})")
    if i.one_of("wide", "hi"):
        return _wide_product(i)
    # Unsigned: signed overflow wraps around in PTX and is undefined in C++.
    kind = "u" + i.kind[1:]
    values = [i.value(k, kind) for k in range(1, len(i.operands))]
    pattern = {"add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "mad": "{} * {} + {}"}[i.name]
    return i.assign(pattern.format(*values), kind)


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


@instruction("rcp", "sqrt", "rsqrt", "ex2", "lg2", "tanh", "sin", "cos")
def function(i: Instruction) -> str:
    return _rounded(i, f"f_{i.name}({i.value(1)})")


@instruction("testp")
def classify(i: Instruction) -> str:
    tests = {
        **{"finite": "std::isfinite", "infinite": "std::isinf"},
        **{"notanumber": "isnan_", "number": "!isnan_"},
    }
    return f"{i.target} = {tests[i.words[0]]}({i.value(1)});"


@instruction("bar", "barrier")
def barrier(i: Instruction) -> str:
    if "warp" in i.words:
        return f"cushim::warp_sync({i.bits(0, 32)});"
    if "red" in i.words:
        result = {"popc": "cnt", "and": "and", "or": "or"}[i.one_of("popc", "and", "or")]
        return f"cushim::block_sync({i.bits(-1, 1)}); {i.target} = cushim::B->last_{result};"
    if "sync" in i.words and len(i.operands) == 1:
        return f"ptxrun::bar({i.bits(0, 32)});"
    raise UnsupportedError(f"{i.name}.{'.'.join(i.words)}")


@instruction("shfl")
def shuffle(i: Instruction) -> str:
    target, *valid = i.operands[0].split("|")
    operands = ", ".join(i.bits(k, 32) for k in (1, 2, 3, 4))
    code = (
        f"bool p_; uint32_t x_ = ptxrun::shfl_{i.words[1]}({operands}, p_); {i.kernel.register(target)} = x_;"
    )
    return f"{{ {code} {''.join(f'{i.kernel.register(name)} = p_;' for name in valid)} }}"


@instruction("vote")
def vote(i: Instruction) -> str:
    result = {"ballot": "b_", "any": "b_ != 0", "all": "b_ == m_", "uni": "b_ == 0 || b_ == m_"}[i.words[1]]
    return (
        f"{{ unsigned m_ = {i.bits(2, 32)}, b_ = __ballot_sync(m_, {i.bits(1, 1)}); {i.target} = {result}; }}"
    )


@instruction("membar", "fence")
def fence(i: Instruction) -> str:
    return "std::atomic_thread_fence(std::memory_order_seq_cst);"


@instruction("bra")
def branch(i: Instruction) -> str:
    return f"goto {i.kernel.label(i.operands[0])};"


@instruction("ret", "exit")
def leave(i: Instruction) -> str:
    return "return;"


@instruction("trap")
def trap(i: Instruction) -> str:
    return 'cushim::die("trap");'


@instruction("nanosleep")
def sleep(i: Instruction) -> str:
    return "__nanosleep(0);"
