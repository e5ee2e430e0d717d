"""The folder of an export: written whole or not at all, and replaced only by another export."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from jaxae.errors import UserError
from jaxae.exports.contents import CONTENTS_FILE, digest, is_export, read_contents


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside a folder, then renames it to the folder.

    It replaces an export. The temporary name is always the same, so the next export replaces a
    killed process's remains. If writing fails, the temporary folder is removed. Raises `UserError`
    if there is something else in its place, or the place cannot be written to.
    """
    check_place(folder)
    temporary, former = (folder.with_name(f".{folder.name}.{end}") for end in ("part", "former"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(former, ignore_errors=True)
        if folder.exists():
            folder.rename(former)
        temporary.rename(folder)
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def check_place(folder: Path) -> None:
    """Raises `UserError` unless an export can be written to a folder.

    There must be nothing there, an empty folder, or an export whose files have not been changed.
    """
    if folder.is_dir() and is_export(folder):
        strangers = _changed(folder)
        if strangers:
            raise UserError(
                f"{folder} is an export, but {strangers[0]} is not as it was exported: move it, or "
                "give another folder with --out"
            )
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is no export" if folder.is_dir() else "is a file"
        raise UserError(f"{folder} {what}, and is not replaced: give another folder with --out")
    above = next(place for place in folder.absolute().parents if place.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(
            f"{folder} cannot be written, because of {above}: give another folder with --out"
        )


def _changed(folder: Path) -> list[str]:
    """Returns the paths of an export's files that it has not written, or not as they are now."""
    known = read_contents(folder).files
    found = [path for path in sorted(folder.rglob("*")) if not path.is_dir()]
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return [
        name
        for name, path in names.items()
        if name != CONTENTS_FILE and (name not in known or digest(path) != known[name])
    ]
