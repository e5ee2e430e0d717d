"""The folder of a run's checkpoints: which steps it holds, and what a killed run has left there."""

import contextlib
import itertools
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jaxae.checkpoint.reading import (
    METADATA,
    DamagedError,
    read_metadata,
)
from jaxae.devices import is_first_process
from jaxae.errors import MISSING, UserError, unreadable
from jaxae.files import decode_json, encode_json, write_whole

if TYPE_CHECKING:  # slow to import, and needed only once a run begins
    from orbax.checkpoint import v1 as ocp

    Checkpointer = ocp.training.Checkpointer


UNFINISHED = "*.orbax-checkpoint-tmp*"
"""What matches the folders of checkpoints that are still being saved."""


SET_ASIDE = "aside"
"""What follows the step in the name of a checkpoint that has been set aside."""


UNWRITABLE = "*?["
"""What Orbax takes for a pattern, of the files that it merges into a checkpoint."""


REMOTE = re.compile("/(gs|s3):/")
"""What Orbax takes for a place in a cloud, wherever it stands in a path."""


UNREADABLE = "\\"
"""What TensorStore takes for the start of an escape."""


def check_path(folder: Path, characters: str = UNWRITABLE + UNREADABLE) -> None:
    """UserError for a folder whose absolute path has characters that spoil a checkpoint in it."""
    path = folder.absolute().as_posix()
    if REMOTE.search(path) or not is_utf8(path):
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


def is_utf8(text: str) -> bool:
    """Whether a text has no bytes that Python took from a path without understanding them."""
    with contextlib.suppress(UnicodeEncodeError):
        text.encode()
        return True
    return False


def remove_remains(folder: Path) -> None:
    """Removes what a killed run was writing or deleting.

    Orbax's own clean-up outlives a process that ends at once, and it takes a folder that is named
    like a step for a checkpoint, though it holds none: that is set aside, for who knows what it is.
    """
    if not is_first_process():
        return
    for unfinished in folder.glob(UNFINISHED):
        shutil.rmtree(unfinished)
    for path in step_folders(folder):
        names = names_in(path)
        if not names:
            path.rmdir()
        elif METADATA not in names:
            set_aside(path, "it holds no whole checkpoint")


def mend_steps(folder: Path) -> None:
    """Makes sure that Orbax can read what it compares: the loss of each checkpoint.

    It keeps that in a file of its own, which is written anew from ours where it is damaged. A
    checkpoint whose description is damaged is set aside. UserError where one cannot be read now.
    """
    if not is_first_process():
        return
    for path in step_folders(folder):
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
    """Renames a checkpoint that cannot be used, and says so: its arrays may still be rescued."""
    names = itertools.chain([SET_ASIDE], (f"{SET_ASIDE}{count}" for count in itertools.count(2)))
    targets = (path.with_name(f"{path.name}.{name}") for name in names)
    target = next(target for target in targets if not target.exists())
    path.rename(target)
    print(f"warning: {path} ({reason}) is set aside as {target.name}", file=sys.stderr)


def has_set_aside(folder: Path) -> bool:
    """Whether checkpoints in a folder have been set aside."""
    return any(folder.glob(f"*.{SET_ASIDE}*"))


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in a folder, ascending; none where there is no folder.

    A folder that is named like a step and holds no checkpoint does not count.
    """
    folders = step_folders(folder)
    return sorted(int(path.name) for path in folders if METADATA in names_in(path))


def step_folders(folder: Path) -> list[Path]:
    """What is named like a step."""
    paths = [folder / name for name in names_in(folder) if name.isdecimal()]
    return [path for path in paths if path.is_dir()]


def names_in(folder: Path) -> list[str]:
    """The names in a folder, none if it is not there; UserError where it cannot be read now."""
    try:
        return [path.name for path in folder.iterdir()]
    except MISSING:
        return []
    except OSError as error:
        raise unreadable(folder, error) from error
