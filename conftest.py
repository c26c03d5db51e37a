"""How pytest-xdist shares out the tests: by file, so that what a file's fixtures make is made once."""

from __future__ import annotations

import pytest


# Before xdist's own, which reads the groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give each test its group."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        # All that compiles CUDA code shares its builds, which take minutes.
        group = "cuda" if item.get_closest_marker("cuda") else item.nodeid.split("::")[0]
        item.add_marker(pytest.mark.xdist_group(group))
