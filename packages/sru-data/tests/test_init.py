from __future__ import annotations

import subprocess
import sys

import pytest

import sru_data


@pytest.mark.parametrize(
    "module",
    [
        "sru_data",
        "sru_data.datasets.classification",
        "sru_data.datasets.language_modelling",
        "sru_data.datasets.speech",
        "sru_data.datasets.squad",
        "sru_data.annotation.processes",
    ],
)
def test_importing_it_imports_nothing_heavy(module) -> None:
    heavy = {"torch", "numpy", "tokenizers", "sentencepiece", "pooch", "requests"}
    program = f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.strip() == "[]"


def test_data_error_is_a_value_error_that_names_file_and_line() -> None:
    assert issubclass(sru_data.DataError, ValueError)
    assert str(sru_data.DataError.at("a/b.txt", 7, "expected x, got y")) == "a/b.txt:7: expected x, got y"
    assert str(sru_data.DataError.at("a/b.txt", None, "expected x, got y")) == "a/b.txt: expected x, got y"
