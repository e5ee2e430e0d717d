"""Lists the files in a user's folder, and makes their names fit to print."""

from __future__ import annotations

import heapq
import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

_OF_SYSTEMS = ("__macosx", "thumbs.db", "desktop.ini")  # written by macOS and Windows, unasked


@dataclass(frozen=True)
class Listing:
    """The files in a folder and below it, by their paths relative to it, with "/".

    Attributes:
      files: regular files and links to them, sorted.
      problems: the reason for everything else that cannot be read: folders without permission,
        broken links, pipes, sockets and devices.
    """

    files: tuple[str, ...]
    problems: dict[str, str]


def list_files(root: Path) -> Listing:
    """Lists all files below a folder, except hidden ones (".name") and those of file managers.

    Links are followed. Each real folder is visited once, by its own path rather than by a link if
    it has one below the root, so that loops end.
    """
    files: list[str] = []
    problems: dict[str, str] = {}
    folders, links = [""], []  # links: a heap, so that the order is fixed
    visited: set[tuple[int, int]] = set()
    while folders or links:
        folder = folders.pop() if folders else heapq.heappop(links)
        try:
            status = (root / folder).stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if not _is_hidden(entry.name):
                        _sort_in(entry, f"{folder}{entry.name}", files, folders, links, problems)
        except OSError as error:
            problems[folder] = error.strerror or str(error)
    return Listing(tuple(sorted(files, key=lambda name: (normalize(name), name))), problems)


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name.casefold() in _OF_SYSTEMS


def _sort_in(
    entry: os.DirEntry[str],
    name: str,
    files: list[str],
    folders: list[str],
    links: list[str],
    problems: dict[str, str],
) -> None:
    """Adds an entry to the list that it belongs in; never opens it, as a pipe would block."""
    try:
        if entry.is_dir() and entry.is_symlink():
            heapq.heappush(links, f"{name}/")
        elif entry.is_dir():
            folders.append(f"{name}/")
        elif entry.is_file():
            files.append(name)
        elif entry.is_symlink() and not Path(entry.path).exists():
            problems[name] = "a link to nothing"
        else:
            problems[name] = "not a regular file"
    except OSError as error:  # such as a link to itself
        problems[name] = error.strerror or str(error)


def is_folder(path: Path) -> bool:
    """Returns whether there is a folder at a path; False also if that cannot be known."""
    return os.path.isdir(path)  # noqa: PTH112 (Path.is_dir raises without permission)


def size_and_time(file: Path) -> tuple[int, int] | None:
    """Returns a file's size and time in nanoseconds; None if it is gone or cannot be read."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def normalize(name: str) -> str:
    """Returns a name in Unicode's composed form (NFC), so that it is the same on every system."""
    return unicodedata.normalize("NFC", name)


def printable(name: str) -> str:
    """Returns a name with escapes for control characters and for bytes that are not UTF-8."""
    return re.sub(
        r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]",
        lambda found: found[0].encode("unicode_escape").decode("ascii"),
        name,
    )


def name_of(path: Path) -> str:
    """Returns the name of a folder, which may be given as "." or "..", fit to print."""
    named = path if path.name not in ("", "..") else path.resolve()
    return printable(normalize(named.name)) or "root"
