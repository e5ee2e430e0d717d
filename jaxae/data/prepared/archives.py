"""Finds and verifies the original archives of datasets, or says why they cannot be fetched."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from jaxae.data.prepared.originals import ORIGINALS
from jaxae.errors import UserError, unreadable


class UnobtainableError(UserError):
    """The dataset is not available on this machine, through no fault of the user."""


@dataclass(frozen=True)
class Registered:
    """Where an archive comes from, and the size and SHA-256 that it must have, as TFDS says."""

    url: str
    size: int
    sha256: str


# Debian's package dataset-fashion-mnist installs its archives here (subfolder fashion-mnist).
_SYSTEM_SOURCES = Path("/usr/share/datasets")


def find(name: str, sources: Path | None, system: Path = _SYSTEM_SOURCES) -> Path | None:
    """Returns the folder with the archives of `name`: in `sources`, or installed by Debian.

    All configurations of a set share a folder. Returns None if there is none. Raises `UserError` if
    the subfolder in `sources` lacks a file.
    """
    files, subfolder = ORIGINALS[name].files, name.split("/")[0]
    for root in (sources, system):
        for spelling in (subfolder, subfolder.replace("_", "-")):
            folder = root / spelling if root else None
            if folder is None or not folder.is_dir():
                continue
            missing = [file for file in files if not (folder / file).is_file()]
            if not missing:
                return folder
            if root == sources:
                raise UserError(
                    f"the source folder {folder} lacks {', '.join(missing)}: it must hold "
                    f"{list_files(name)}; add what is missing"
                )
    return None


def list_files(name: str) -> str:
    """Returns the names of the archives of `name`, as text."""
    files = ORIGINALS[name].files
    kind = "the archive" if len(files) == 1 else f"the {len(files)} archives"
    return f"{kind} {', '.join(files)}"


def check(path: Path, name: str, registered: Registered) -> None:
    """Raises `UserError` unless the archive of `name` at `path` is the one that is registered."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from None
    if (size, digest) != (registered.size, registered.sha256):
        raise UserError(
            f"{path} has the wrong checksum: it is not the original archive of {name} (it has "
            f"{size} bytes with SHA-256 {digest}, expected {registered.size} with "
            f"{registered.sha256}); fetch the file again"
        )
