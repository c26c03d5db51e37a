"""Bitwise logic, shifts and bit counts."""

from __future__ import annotations

from .instruction import Instruction, instruction
from .operands import CPP, UNSIGNED, UnsupportedError

LOGIC = {"and": "&", "or": "|", "xor": "^"}


@instruction("and", "or", "xor")
def logic(i: Instruction) -> str:
    return f"{i.target} = {i.bits(1)} {LOGIC[i.name]} {i.bits(2)};"


@instruction("not")
def complement(i: Instruction) -> str:
    return f"{i.target} = {'!' if i.kind == 'pred' else '~'}{i.bits(1)};"


@instruction("shl", "shr")
def shift(i: Instruction) -> str:
    value, count = i.value(1), i.bits(2, 32)
    if i.operands[2].isdecimal() and int(i.operands[2]) < i.width:
        return i.assign(f"{value} {'<<' if i.name == 'shl' else '>>'} {i.operands[2]}")
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


@instruction("bfind")
def find_highest_bit(i: Instruction) -> str:
    if i.kind[0] != "u":
        raise UnsupportedError(f"bfind.{'.'.join(i.words)}")
    value = i.bits(1)
    zeros = f"__builtin_clzll({value}) - {64 - i.width}"
    place = zeros if "shiftamt" in i.words else f"{i.width - 1} - ({zeros})"
    return f"{i.target} = {value} ? {place} : 0xffffffffu;"
