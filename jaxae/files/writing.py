"""Files that are written whole or not at all."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxae.devices import is_first_process
from jaxae.files.json import encode_json


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside a path, then renames that file to the path.

    The temporary name is always the same, so the next write replaces a killed process's remains. If
    writing fails, the temporary file is removed.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Writes a UTF-8 file whole or not at all; of several processes, only the first writes."""
    if is_first_process():
        write_text(path, text)


def write_json(path: Path, value: Any) -> None:
    """Writes an indented JSON file with `write_whole`."""
    write_whole(path, encode_json(value, indent=2) + "\n")


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file whole or not at all, without initializing JAX."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
