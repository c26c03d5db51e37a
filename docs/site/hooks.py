"""Hooks of mkdocs: underscores in names like c_t, links of notebooks, public names without a reference."""

from __future__ import annotations

import ast
import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.util import ETX, STX

PACKAGES = Path(__file__).parents[2] / "packages"
MARKDOWN_LINK = re.compile(r'href="([^":#]+\.md)')
log = logging.getLogger("mkdocs.plugins.reference")


class PlainUnderscore(InlineProcessor):
    """Keeps an underscore as a plain character."""

    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:  # noqa: N802
        """Return it in the form that Markdown gives to an escaped character."""
        return f"{STX}{ord(m[0])}{ETX}", m.start(), m.end()


class PlainUnderscores(Extension):
    """Disables emphasis by underscores, which equations are full of. Asterisks still work."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        """Match underscores after code and links, and before emphasis."""
        md.inlinePatterns.register(PlainUnderscore("_", md), "plain_underscore", 65)


def on_config(config: Any) -> None:
    """Add the Markdown extension."""
    config["markdown_extensions"].append(PlainUnderscores())


def on_page_content(html: str, page: Any, files: Any, **_: Any) -> str:
    """Lead the links of a notebook to pages, as mkdocs does those of Markdown, and offer its file."""
    if not page.file.src_uri.endswith(".ipynb"):
        return html
    folder, name = posixpath.split(page.file.src_uri)

    def lead(link: re.Match[str]) -> str:
        target = files.get_file_from_path(posixpath.normpath(f"{folder}/{link[1]}"))
        if target is None:
            log.warning("%s links to %s, which does not exist", page.file.src_uri, link[1])
            return link[0]
        return f'href="{target.url_relative_to(page.file)}'

    return MARKDOWN_LINK.sub(lead, html) + f'<p><a href="{name}">Download this notebook</a></p>'


def on_post_build(config: Any, **_: Any) -> None:
    """Warn of every name in a package's `__all__` that has no anchor in the reference."""
    pages = "".join(page.read_text() for page in Path(config["site_dir"], "reference").glob("*.html"))
    for source in sorted(PACKAGES.glob("*/src/*/__init__.py")):
        package = source.parent.name
        for name in public_names(source):
            if f'id="{package}.{name}"' not in pages:
                log.warning("%s.%s is public and has no entry in docs/reference", package, name)


def public_names(source: Path) -> list[str]:
    """Read `__all__` without importing the package."""
    for node in ast.parse(source.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", None) == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("__")]
    return []
