"""The stubs that the build writes declare every kernel, named tuple, field and enum."""

import ast
import os
from pathlib import Path

import pytest

import sru_kernels
from sru_kernels import _native, cpu

FOLDER = Path(_native.__file__).parent


def stub(module):
    return ast.parse((FOLDER / f"{module}.pyi").read_text(encoding="utf-8"))


def classes(module):
    return {node.name: node for node in stub(module).body if isinstance(node, ast.ClassDef)}


pytestmark = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="a build with a sanitizer has no stubs"
)


def test_the_package_is_marked_as_typed():
    assert Path(sru_kernels.__file__).with_name("py.typed").is_file()


def test_every_kernel_is_typed():
    functions = {node.name: node.args for node in stub("cpu").body if isinstance(node, ast.FunctionDef)}
    assert set(functions) == {name for name in vars(cpu) if not name.startswith("_")}
    for kind, (kernel, _) in _native.fields.items():
        assert ast.unparse(functions[kernel]) == f"args: {kind}, *, num_threads: int"


@pytest.mark.parametrize("kind", _native.fields)
def test_every_field_is_typed(kind):
    tuple_type = getattr(sru_kernels, kind)
    body = classes(tuple_type.__module__.rpartition(".")[2])[kind].body
    fields = [node for node in body if isinstance(node, ast.AnnAssign)]
    assert {node.target.id: node.annotation.id for node in fields} == tuple_type.__annotations__
    assert tuple(node.target.id for node in fields) == tuple_type._fields
    assert {node.target.id for node in fields if node.value} == set(tuple_type._field_defaults)


@pytest.mark.parametrize("enum", [sru_kernels.DType, sru_kernels.Activation])
def test_every_member_of_an_enum_is_typed(enum):
    members = [node for node in classes("_native")[enum.__name__].body if isinstance(node, ast.Assign)]
    assert {node.targets[0].id: node.value.value for node in members} == {m.name: m.value for m in enum}


@pytest.mark.parametrize("kind", [sru_kernels.SruForward, sru_kernels.GatedLinearBackward])
def test_named_tuples_have_fields_with_descriptions(kind):
    values = kind._make(range(len(kind._fields)))
    assert (values.dtype, values[-1]) == (0, len(kind._fields) - 1)
    assert kind.__module__ == {"S": "sru_kernels.sru", "G": "sru_kernels.gated_linear"}[kind.__name__[0]]
    assert kind.v.__doc__.startswith("In, (")
