"""Loads, stores, asynchronous copies, atomics and moves."""

from __future__ import annotations

from .instruction import Instruction, instruction
from .operands import CPP, UNSIGNED, UnsupportedError, split_operands


@instruction("ld", "ldu")
def load(i: Instruction) -> str:
    ordered = i.one_of("acquire", "volatile", "relaxed")
    size = i.width // 8
    targets = _vector(i.operands[0])
    place = i.kernel.address(i.operands[1], _space(i), size * len(targets))
    if not ordered and all(i.kernel.registers.get(name) == i.width for name in targets):
        word = UNSIGNED[i.width]
        loads = [f"{i.kernel.register(name)} = (({word}*)a_)[{k}];" for k, name in enumerate(targets)]
    else:
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
    word = UNSIGNED[i.width]
    # Registers have at least 16 bits.
    stored = [f"({word})({i.kernel.bits(name, max(i.width, 16))})" for name in sources]
    if ordered:
        stores = [f"stv_a<{word}>(a_ + {k * size}, {value});" for k, value in enumerate(stored)]
    else:
        stores = [f"(({word}*)a_)[{k}] = {value};" for k, value in enumerate(stored)]
    after = " ptxrun::rel();" if "release" in i.words else ""
    return f"{{ char* a_ = (char*)({place}); {' '.join(stores)}{after} }}"


def _vector(operand: str) -> list[str]:
    return split_operands(operand.strip("{} ")) if operand.startswith("{") else [operand]


def _space(i: Instruction) -> str:
    return i.one_of("global", "shared", "local", "const") or "generic"


@instruction("cp")
def copy_async(i: Instruction) -> str:
    kind = i.words[1] if i.words[0] == "async" else None
    if kind == "commit_group":
        return "cushim::async_commit();"
    if kind == "wait_group":
        return f"cushim::async_wait({i.bits(0, 32)});"
    if kind == "wait_all":
        return "cushim::async_commit(); cushim::async_wait(0);"
    if kind not in ("ca", "cg"):
        raise UnsupportedError("cp." + ".".join(i.words))
    size = int(i.operands[2])
    taken = str(size)
    if len(i.operands) > 3:
        ignores = i.kernel.registers.get(i.operands[3].lstrip("!")) == 1
        taken = f"({i.bits(3, 1)} ? 0 : {size})" if ignores else i.bits(3, 32)
    to = i.kernel.address(i.operands[0], "shared", size)
    # The copy itself checks the source address, which may be invalid if nothing is read.
    source = i.kernel.address(i.operands[1], "global", 1)
    return f"cushim::async_copy({to}, (const void*)({source}), {size}, {taken});"


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
