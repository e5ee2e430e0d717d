"""The folder of a run's checkpoints: the steps it holds, and the remains of killed runs."""

import contextlib
import itertools
import re
import shutil
import sys
from pathlib import Path

from jaxae.checkpoint.reading import METADATA, DamagedError, absolute, read_metadata
from jaxae.devices import is_first_process
from jaxae.errors import MISSING, UserError, unreadable
from jaxae.files import decode_json, encode_json, write_whole

UNFINISHED = "*.orbax-checkpoint-tmp*"
"""Pattern for the folders of checkpoints that are still being saved."""


SET_ASIDE = "aside"
"""Suffix, after the step, for the name of a checkpoint that has been set aside."""


UNWRITABLE = "*?["
"""Characters that Orbax reads as a pattern when it merges files into a checkpoint."""


_REMOTE = re.compile("/(gs|s3):/")
"""Text that Orbax takes for a cloud address, anywhere in a path."""


EXPORT = "export.json"
"""The file in the folder of an export, which has a run's network without its checkpoints."""


UNREADABLE = "\\"
"""The character that TensorStore reads as the start of an escape."""


def check_path(folder: Path, characters: str = UNWRITABLE + UNREADABLE) -> None:
    """Raises `UserError` if a folder's absolute path has characters that break checkpoints."""
    path = absolute(folder).as_posix()
    if _REMOTE.search(path) or not _is_utf8(path):
        raise UserError(
            f"{path!a} is remote, or is not UTF-8, and checkpoints cannot be saved there: give "
            "a local folder whose whole path is UTF-8"
        )
    found = [character for character in characters if character in path]
    if found:
        raise UserError(
            f"{path} has {' '.join(found)} in its name, where checkpoints would be lost: give a "
            f"folder whose whole path has none of {' '.join(characters)}, the working directory "
            "included"
        )


def _is_utf8(text: str) -> bool:
    """Returns whether a path's text can be encoded as UTF-8."""
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return True
    return False


def remove_remains(folder: Path) -> None:
    """Removes checkpoints that a killed run was writing or deleting.

    Orbax's own clean-up may still run when the process ends. Orbax also takes any folder that is
    named like a step for a checkpoint; one that holds no checkpoint is set aside, not removed.
    """
    if not is_first_process():
        return
    for unfinished in folder.glob(UNFINISHED):
        shutil.rmtree(unfinished)
    for path in _step_folders(folder):
        names = _names_in(path)
        if not names:
            path.rmdir()
        elif METADATA not in names:
            set_aside(path, "it holds no whole checkpoint")


def repair_losses(folder: Path) -> None:
    """Makes sure that Orbax can read the loss of each checkpoint, which it compares.

    If Orbax's own file of the loss is damaged, it is rewritten from our description. A checkpoint
    whose description is damaged is set aside. Raises `UserError` if one cannot be read now.
    """
    if not is_first_process():
        return
    for path in _step_folders(folder):
        try:
            metrics = {"loss": read_metadata(path)["loss"]}
        except DamagedError as damage:
            set_aside(path, str(damage))
            continue
        file = path / "metrics" / "metrics"
        try:
            good = decode_json(file.read_bytes()) == metrics
        except (OSError, ValueError):
            good = False
        if not good:
            if not file.parent.is_dir():
                file.parent.unlink(missing_ok=True)
                file.parent.mkdir()
            write_whole(file, encode_json(metrics))


def set_aside(path: Path, reason: str) -> None:
    """Renames a checkpoint that cannot be used, with a warning; its arrays may still be rescued."""
    names = itertools.chain([SET_ASIDE], (f"{SET_ASIDE}{count}" for count in itertools.count(2)))
    targets = (path.with_name(f"{path.name}.{name}") for name in names)
    target = next(target for target in targets if not target.exists())
    path.rename(target)
    print(f"warning: {path} ({reason}) is set aside as {target.name}", file=sys.stderr)


def has_set_aside(folder: Path) -> bool:
    """Returns whether checkpoints in a folder have been set aside."""
    return any(folder.glob(f"*.{SET_ASIDE}*"))


def check_not_export(folder: Path) -> None:
    """Raises `UserError` if a folder that should be a run is an export."""
    if (folder / EXPORT).is_file():
        raise UserError(f"{folder} is an export: give the run that it was made from")


def steps(folder: Path) -> list[int]:
    """Returns the steps that have a checkpoint in a folder, ascending; none without a folder.

    A folder that is named like a step and holds no checkpoint does not count. Raises `UserError` if
    the folder would be in an export.
    """
    check_not_export(folder.parent)
    folders = _step_folders(folder)
    return sorted(int(path.name) for path in folders if METADATA in _names_in(path))


def _step_folders(folder: Path) -> list[Path]:
    """Returns the subfolders that are named like a step."""
    paths = [folder / name for name in _names_in(folder) if name.isdecimal()]
    return [path for path in paths if path.is_dir()]


def _names_in(folder: Path) -> list[str]:
    """Returns the names in a folder, none without a folder; raises `UserError` if unreadable."""
    try:
        return [path.name for path in folder.iterdir()]
    except MISSING:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
