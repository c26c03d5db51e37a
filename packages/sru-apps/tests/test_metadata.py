"""The metadata of the four packages: their authors, and the versions they are tested with."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
VERSIONS = ROOT / "ci" / "versions.toml"
pytestmark = pytest.mark.skipif(not VERSIONS.is_file(), reason="these tests were taken without the sources")


def read(path: Path) -> dict:
    tomllib = pytest.importorskip("tomllib", reason="Python has read TOML since 3.11")
    return tomllib.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["sru-kernels", "sru-nn", "sru-data", "sru-apps"])
def test_a_package_says_what_it_is_and_where_it_was_tested(name):
    project, supported = read(ROOT / "packages" / name / "pyproject.toml")["project"], read(VERSIONS)
    assert project["authors"]
    assert project["urls"]
    classifiers = project["classifiers"]
    assert [word for word in classifiers if word.startswith("Development Status ::")]
    assert [word for word in classifiers if word.startswith("Operating System ::")]
    pythons = re.findall(r"Programming Language :: Python :: (3\.\d+)", "\n".join(classifiers))
    assert pythons == supported["python"]
    assert project["requires-python"] == f">={supported['python'][0]}"
    oldest = supported["torch"]["supported"][0].removesuffix(".0")
    if name != "sru-kernels":
        assert f"torch>={oldest}" in project["dependencies"]
