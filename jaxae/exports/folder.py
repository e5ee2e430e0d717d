"""The folder of an export: written whole or not at all, and replaced only by another export."""

import contextlib
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from jaxae.errors import UserError
from jaxae.exports.contents import CONTENTS_FILE, digest, is_export, read_contents

_ENDS = (".part", ".former")  # of the names of a folder that is written, and of one replaced
_REMAINS_SECONDS = 24 * 3600.0


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder beside a folder, then renames it to the folder.

    It replaces an export. Temporary names are unique, so that exports at the same time do not
    meet; the remains of a killed process are removed after a day. If writing fails, the temporary
    folder is removed. Raises `UserError` if there is something else in its place, or the place
    cannot be written to.
    """
    check_place(folder)
    _remove_remains(folder)
    name = f".{folder.name}.{secrets.token_hex(4)}"
    temporary, former = (folder.with_name(name + end) for end in _ENDS)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        try:
            if folder.exists():
                folder.rename(former)
            temporary.rename(folder)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be replaced ({error.strerror}), perhaps because another export "
                "was written there meanwhile: export again"
            ) from None
    finally:
        if former.exists() and not folder.exists():
            former.rename(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(former, ignore_errors=True)


def _remove_remains(folder: Path) -> None:
    """Removes what killed exports to a folder have left beside it, once it is a day old."""
    for end in _ENDS:
        for path in folder.parent.glob(f".{glob.escape(folder.name)}.*{end}"):
            with contextlib.suppress(OSError):
                if path.stat().st_mtime < time.time() - _REMAINS_SECONDS:
                    shutil.rmtree(path)


def check_place(folder: Path) -> None:
    """Raises `UserError` unless an export can be written to a folder.

    There must be nothing there, an empty folder, or an export whose files have not been changed;
    and not the current folder, which the process would lose.
    """
    if folder.is_dir() and is_export(folder):
        problem = _change_in(folder)
        if problem is not None:
            raise UserError(
                f"{folder} is an export, but {problem}: move it, or give another folder with --out"
            )
    elif folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        what = "is no export" if folder.is_dir() else "is a file"
        raise UserError(f"{folder} {what}, and is not replaced: give another folder with --out")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise UserError(
            f"{folder} is the current folder, or holds it, and cannot be replaced: give another "
            "folder with --out"
        )
    above = next(place for place in folder.absolute().parents if place.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise UserError(
            f"{folder} cannot be written, because of {above}: give another folder with --out"
        )


def _change_in(folder: Path) -> str | None:
    """Says which file of an export is not as it was exported; None if all are."""
    known = read_contents(folder).files
    for path in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        name = path.relative_to(folder).as_posix()
        if name == CONTENTS_FILE:
            continue
        if name not in known:
            return f"has {name}, which the export did not write"
        if digest(path) != known[name]:
            return f"{name} is not as it was exported"
    return None
