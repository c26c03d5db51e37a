"""The public names, and the names and defaults of their arguments, are those in tests/api.txt."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

SNAPSHOT = Path(__file__).with_name("api.txt")
NAMES = ["backend", "compat", "convert", "export", "functional", "quantization", "reference"]


def call(thing: object) -> str:
    """Write how something is called, without types."""
    if not callable(thing) or (inspect.isclass(thing) and issubclass(thing, Exception)):
        return ""
    signature = inspect.signature(thing)
    bare = [parameter.replace(annotation=parameter.empty) for parameter in signature.parameters.values()]
    text = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    return re.sub(r"<function (\w+)[^>]*>", r"\1", text)


def lines() -> Iterator[str]:
    for name in ["sru_nn", *(f"sru_nn.{name}" for name in NAMES)]:
        module = importlib.import_module(name)
        for member in sorted(getattr(module, "__all__", vars(module))):
            thing = getattr(module, member)
            home = getattr(thing, "__module__", "")
            if member.startswith("_") or not home.startswith("sru_nn"):
                continue
            if not hasattr(module, "__all__") and home != name:
                continue
            yield f"{name}.{member}{call(thing)}"
            for method in sorted(set(dir(thing) if inspect.isclass(thing) else ())):
                home = next(vars(kind)[method] for kind in thing.__mro__ if method in vars(kind))
                if not method.startswith("_") and getattr(home, "__module__", "").startswith("sru_nn"):
                    yield f"    {member}.{method}{call(getattr(thing, method))}"


def test_no_public_name_and_no_argument_has_changed():
    expected, actual = SNAPSHOT.read_text(encoding="utf-8").splitlines(), list(lines())
    gone = [f"- {line}" for line in expected if line not in actual]
    new = [f"+ {line}" for line in actual if line not in expected]
    assert actual == expected, "\n".join(
        [
            "the API has changed:",
            *gone,
            *new,
            f"if it should, run `python {Path(__file__)}` and commit api.txt",
        ]
    )


if __name__ == "__main__":
    SNAPSHOT.write_text("\n".join(lines()) + "\n", encoding="utf-8")
