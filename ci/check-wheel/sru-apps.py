"""A user's first steps with sru-apps: show the help of the `sru` command and list the recipes."""

import subprocess
import sys
from importlib.resources import files
from pathlib import Path


def sru(*arguments: str) -> str:
    """Run the installed `sru` command and return what it printed."""
    command = Path(sys.executable).with_name("sru")
    return subprocess.run([str(command), *arguments], check=True, capture_output=True, text=True).stdout


overview = sru("--help")
assert "classify" in overview, overview
assert "demo" in overview, overview
assert "--recipe" in sru("classify", "fit", "--help")

recipes = sorted(path.name for path in (files("sru_apps") / "tasks" / "classify" / "recipes").iterdir())
assert "sst2.yaml" in recipes, recipes
print(f"recipes: {', '.join(recipes)}")
