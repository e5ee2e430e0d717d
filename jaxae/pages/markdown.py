"""Sections of a Markdown page that are made by different commands."""

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from filelock import FileLock

from jaxae.files import write_whole


def put_section(path: Path, name: str, text: str) -> None:
    """Puts a section into a page, in place of the one of that name, or at the page's end.

    A section stands between two comments with its name; the rest of the page stays as it is.
    """
    rewrite(path, partial(with_section, name=name, text=text))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Writes a page anew from what it says; commands that do so at the same time take turns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        write_whole(path, change(path.read_text(encoding="utf-8") if path.exists() else ""))


def with_section(page: str, name: str, text: str) -> str:
    """A page with a section, as `put_section` puts it."""
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    found = re.search(_pattern(re.escape(name)), page, re.DOTALL)
    if found:
        return page[: found.start()] + section + page[found.end() :]
    return f"{page.rstrip()}\n\n{section}" if page.strip() else section


def sections_of(page: str) -> list[str]:
    """The sections of a page as they stand, each with its two comments."""
    return [found.group(0) for found in re.finditer(_pattern(r"[\w.+-]+"), page, re.DOTALL)]


def _pattern(name: str) -> str:
    """What matches a section whose name matches."""
    return rf"<!-- (?P<name>{name}) -->\n.*?<!-- end of (?P=name) -->\n"
