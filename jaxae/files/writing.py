"""Files that are whole or not there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxae.devices import is_first_process
from jaxae.files.json import encode_json


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name beside a path, of a file that is renamed to the path at the end.

    The temporary name is always the same: what a killed process has left there is written over.
    Where writing fails nothing is left.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a file of UTF-8 whole or not at all. Of several processes only the first writes."""
    if is_first_process():
        write_text(path, text)


def write_json(path: Path, value: Any) -> None:
    """Writes a file of indented JSON, as `write_whole` does."""
    write_whole(path, encode_json(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a file of UTF-8 whole or not at all, without initializing JAX."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
