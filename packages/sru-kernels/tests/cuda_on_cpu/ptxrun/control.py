"""Barriers, exchanges between the threads of a warp, and branches."""

from __future__ import annotations

from .instruction import FIXED, Instruction, instruction
from .operands import UnsupportedError

FIXED.update(
    {
        **dict.fromkeys(("membar", "fence"), "std::atomic_thread_fence(std::memory_order_seq_cst);"),
        **{
            "ret": "return;",
            "exit": "return;",
            "trap": 'cushim::die("trap");',
            "nanosleep": "__nanosleep(0);",
        },
    }
)


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


@instruction("bra")
def branch(i: Instruction) -> str:
    return f"goto {i.kernel.label(i.operands[0])};"
