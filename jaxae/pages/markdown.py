"""Markdown: tables, and sections of a page, which different commands write."""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from jaxae.files import write_whole


def put_section(path: Path, name: str, text: str) -> None:
    """Replaces the section of that name in a page, or adds it at the end.

    A section stands between two comments with its name; the rest of the page stays as it is.
    """
    rewrite(path, partial(with_section, name=name, text=text))


def rewrite(path: Path, change: Callable[[str], str]) -> None:
    """Writes the changed text of a page; commands that do so at the same time take turns."""
    from filelock import FileLock  # the benchmark of GPUs writes tables where it is not installed

    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        write_whole(path, change(path.read_text(encoding="utf-8") if path.exists() else ""))


def with_section(page: str, name: str, text: str) -> str:
    """Returns the text of a page with a section in it, as `put_section` writes it."""
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    found = re.search(_pattern(re.escape(name)), page, re.DOTALL)
    if found:
        return page[: found.start()] + section + page[found.end() :]
    return f"{page.rstrip()}\n\n{section}" if page.strip() else section


def sections_of(page: str) -> list[str]:
    """Returns the sections of a page, each with its two comments."""
    return [found.group(0) for found in re.finditer(_pattern(r"[\w.+-]+"), page, re.DOTALL)]


def _pattern(name: str) -> str:
    """Returns a regular expression for a section whose name matches another."""
    return rf"<!-- (?P<name>{name}) -->\n.*?<!-- end of (?P=name) -->\n"


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table of cells with a head."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
