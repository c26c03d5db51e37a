"""The committed stubs match the tables of fields."""

from pathlib import Path

import pytest

import sru_kernels

from .support.stubs import stubs


@pytest.mark.parametrize("name", stubs())
def test_stubs_are_up_to_date(name):
    committed = (Path(sru_kernels.__file__).parent / name).read_text()
    assert committed == stubs()[name], "run packages/sru-kernels/tests/support/stubs.py and install again"


@pytest.mark.parametrize("kind", [sru_kernels.SruForward, sru_kernels.GatedLinearBackward])
def test_named_tuples_are_made_of_fields_with_descriptions(kind):
    values = kind._make(range(len(kind._fields)))
    assert (values.dtype, values[-1]) == (0, len(kind._fields) - 1)
    assert kind.__module__ == {"S": "sru_kernels.sru", "G": "sru_kernels.gated_linear"}[kind.__name__[0]]
    assert kind.v.__doc__.startswith("In, (")
