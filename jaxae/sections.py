"""Sections of a Markdown page that are made by different commands."""

import re
from pathlib import Path

from filelock import FileLock

from jaxae.files import write_whole


def put_section(path: Path, name: str, text: str) -> None:
    """Puts a section into a page, in place of the one of that name, or at the page's end.

    A section stands between two comments with its name; the rest of the page stays as it is, and
    commands that put theirs at the same time wait for each other.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        page = path.read_text(encoding="utf-8") if path.exists() else ""
        write_whole(path, with_section(page, name, text))


def with_section(page: str, name: str, text: str) -> str:
    """A page with a section, as `put_section` puts it."""
    section = f"<!-- {name} -->\n{text.strip()}\n<!-- end of {name} -->\n"
    found = re.search(pattern(re.escape(name)), page, re.DOTALL)
    if found:
        return page[: found.start()] + section + page[found.end() :]
    return f"{page.rstrip()}\n\n{section}" if page.strip() else section


def sections_of(path: Path) -> list[str]:
    """The sections of a page as they stand, each with its two comments; none without a page."""
    page = path.read_text(encoding="utf-8") if path.exists() else ""
    return [found.group(0) for found in re.finditer(pattern(r"[\w-]+"), page, re.DOTALL)]


def pattern(name: str) -> str:
    """What matches a section whose name matches."""
    return rf"<!-- (?P<name>{name}) -->\n.*?<!-- end of (?P=name) -->\n"
