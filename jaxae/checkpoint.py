"""Everything Orbax: a run's checkpoints, written beside training and read back exactly.

Orbax stores no checksum of an array. A checkpoint here also holds the shape, the dtype and the
CRC-32 of each leaf, so that one which is damaged is never taken for a good one.
"""

import contextlib
import itertools
import math
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import jax

from jaxae import devices
from jaxae.checkpoint_reading import (
    METADATA,
    DamagedError,
    quiet_failures,
    read,
    read_metadata,
    read_variables,
    verify,
)
from jaxae.checksums import checksum_of_json, describe_leaves
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

DESCRIPTION_SECONDS = 10.0
"""How long a save waits for its description to be on the disk, before it counts as failed."""

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


@contextlib.contextmanager
def open_checkpoints(folder: Path, *, keep_all: bool = False) -> Iterator["Checkpointer"]:
    """A checkpointer for a run's folder, which keeps the latest two and the one of lowest loss.

    It writes while training goes on; leaving the context waits until all is on disk. A save counts
    only once it has been verified, on the thread that saves. First, what is not a checkpoint is
    cleared away, aloud. Until it ends, Orbax's threads log nothing. Raises UserError where the
    folder cannot be written to, or has a path that `check_path` refuses.
    """
    from orbax.checkpoint import v1 as ocp

    check_path(folder)
    remove_remains(folder)
    mend_steps(folder)
    context = ocp.Context()
    context.asynchronous.post_finalization_callback = partial(verify_unfinished, folder)
    policies = ocp.training.preservation_policies
    lowest_loss = policies.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1)
    keep = (
        policies.PreserveAll()
        if keep_all
        else policies.AnyPreservationPolicy([policies.LatestN(2), lowest_loss])
    )
    with clear_errors(folder):
        checkpointer = ocp.training.Checkpointer(
            str(folder.absolute()),
            preservation_policy=keep,  # pyright: ignore[reportArgumentType]
            context=context,
        )
    with quiet_failures():
        try:
            yield checkpointer
        finally:
            alone = jax.process_count() == 1
            # Closing waits for the other processes, which an error here may keep from coming.
            if alone or not isinstance(sys.exc_info()[1], Exception):
                with clear_errors(folder):
                    checkpointer.close()


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


def set_aside_after(checkpointer: "Checkpointer", step: int, reason: str) -> None:
    """Sets aside the checkpoints of later steps, so that this one is the latest."""
    folder = Path(str(checkpointer.directory))
    later = [saved.step for saved in checkpointer.checkpoints if saved.step > step]
    if not later:
        return
    if is_first_process():
        for each in later:
            set_aside(folder / str(each), reason)
    devices.wait_for_all("checkpoints are set aside")
    checkpointer.reload()


def has_set_aside(folder: Path) -> bool:
    """Whether checkpoints in a folder have been set aside."""
    return any(folder.glob(f"*.{SET_ASIDE}*"))


@contextlib.contextmanager
def clear_errors(folder: Path) -> Iterator[None]:
    """Turns what Orbax raises when it cannot write into one UserError."""
    try:
        yield
    except Exception as error:  # an OSError, or whatever TensorStore and Orbax make of one
        time.sleep(0.05)  # what else is being written fails, too, and shall do so now
        with contextlib.suppress(OSError):
            remove_remains(folder)
        system_error = re.search(r"([^:]+) \[os_error_code", str(error))
        text = str(error) or type(error).__name__
        reason = system_error[1].strip() if system_error else text.splitlines()[0][:200]
        damaged = isinstance(error, DamagedError)
        remedy = "check the disk" if damaged else "make room there or make it writable"
        intact = "; the checkpoints before it are intact" if steps(folder) else ""
        raise UserError(
            f"a checkpoint cannot be saved in {folder} ({reason}): {remedy}, and resume the "
            f"run{intact}"
        ) from error


def save(checkpointer: "Checkpointer", step: int, tree: Any, *, loss: float) -> None:
    """Starts saving a pytree of arrays as the checkpoint of a step, replacing one that is there.

    The loss decides which checkpoint is the best; one that is not finite never is. Raises UserError
    where this save, or the one before that went on beside training, fails.
    """
    # JSON has no infinity, and Orbax takes NaN for the lowest of all.
    loss = loss if math.isfinite(loss) else sys.float_info.max
    described = {"leaves": describe_leaves(tree), "loss": loss}
    metadata: Any = {**described, "crc32": checksum_of_json(described)}
    with clear_errors(Path(str(checkpointer.directory))):
        checkpointer.save_async(
            step,
            tree,
            force=True,
            overwrite=True,
            metrics={"loss": loss},
            custom_metadata=metadata,
        )


def verify_unfinished(folder: Path) -> None:
    """Verifies what is being saved, before it takes its name and an older checkpoint goes.

    Orbax writes the description on yet another thread, which may need a moment.
    """
    given_up = time.monotonic() + DESCRIPTION_SECONDS
    for path in folder.glob(UNFINISHED):
        while True:
            try:
                verify(path)
                break
            except DamagedError:
                if time.monotonic() >= given_up:
                    raise
                time.sleep(0.01)


def verify_latest(checkpointer: "Checkpointer", like: Any) -> None:
    """Restores the latest checkpoint once it is on disk, and compares all its checksums.

    Raises UserError where it is not what was saved. Without a checkpoint nothing happens.
    """
    folder = Path(str(checkpointer.directory))
    with clear_errors(folder):
        checkpointer.wait()
    available = steps(folder)
    if not available:
        return
    path = folder / str(available[-1])
    try:
        read(path, like)
    except DamagedError as damage:
        raise UserError(
            f"{path} was saved, and is damaged: {damage}; check the disk and the memory of this "
            "machine, and resume the run from an older checkpoint, or from its start"
        ) from damage


def delete_after(checkpointer: "Checkpointer", step: int) -> None:
    """Deletes, aloud, the checkpoints of later steps, so that this one is the latest."""
    later = [saved.step for saved in checkpointer.checkpoints if saved.step > step]
    if later:
        listed = ", ".join(map(str, later))
        print(f"step {step} is now the latest: checkpoints of steps {listed} are removed")
    for each in later:
        checkpointer.delete(each)


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


def restore(folder: Path, like: Any, step: int | Literal["best"] | None = None) -> Any:
    """The pytree saved at a step, on the devices of like.

    Args:
      folder: where the checkpoints lie.
      like: a pytree of arrays of the same structure and shapes, whose values are not used.
      step: one of `steps(folder)`, or "best" for the one of lowest loss. By default the latest
        that is whole: of each later one that is damaged, stderr has a line that names the leaf.

    Raises:
      UserError: there is no such checkpoint, it is damaged, or its arrays have another shape or
        dtype.
    """
    return read_step(folder, step, partial(read, like=like))


def load_variables(folder: Path, step: int | Literal["best"] | None = None) -> Any:
    """What `model.apply` takes, from a state saved at a step, on the default device.

    Nothing else of the checkpoint is read, and neither model nor optimizer need be known. With
    replicas each leaf has a leading axis. The step is as for `restore`, and so are the errors.
    """
    return read_step(folder, step, read_variables)


def latest_step(folder: Path) -> int:
    """The latest step whose variables are whole; stderr has a line for each later one."""

    def whole_step(path: Path) -> int:
        read_variables(path)
        return int(path.name)

    return read_step(folder, None, whole_step)


def read_step(
    folder: Path, step: int | Literal["best"] | None, read_one: Callable[[Path], Any]
) -> Any:
    """What `read_one` makes of a step's folder, by default of the latest that is not damaged."""
    check_path(folder, UNREADABLE)
    available = steps(folder)
    if not available:
        raise UserError(f"no checkpoint was found in {folder}: give a run that has one")
    if step is None:
        return read_latest(folder, available, read_one)
    if step == "best":
        step = best_step(folder, available)
    if step not in available:
        raise UserError(
            f"step {step} was asked for, and {folder} has checkpoints of steps "
            f"{', '.join(map(str, available))}: choose one of these"
        )
    try:
        return read_one(folder / str(step))
    except DamagedError as damage:
        raise UserError(
            f"{folder / str(step)} is damaged: {damage}; choose another of the checkpoints of "
            f"steps {', '.join(map(str, available))}"
        ) from damage


def read_latest(folder: Path, available: Sequence[int], read_one: Callable[[Path], Any]) -> Any:
    """What `read_one` makes of the latest that is not damaged; UserError where all are."""
    damages = []
    for step in sorted(available, reverse=True):
        try:
            return read_one(folder / str(step))
        except DamagedError as damage:
            damages.append(f"{folder / str(step)} is damaged: {damage}")
            print(f"warning: {damages[-1]}; trying an older checkpoint", file=sys.stderr)
    raise UserError(
        f"all checkpoints in {folder} are damaged ({'; '.join(damages)}): put back a copy of one, "
        "or start the run anew over it with --restart"
    )


def best_step(folder: Path, available: Sequence[int]) -> int:
    """Of these steps, the one whose checkpoint has the lowest loss."""
    losses, damages = {}, []
    for step in available:
        try:
            losses[step] = read_metadata(folder / str(step))["loss"]
        except DamagedError as damage:
            damages.append(f"{folder / str(step)} is damaged: {damage}")
    if not losses:
        raise UserError(
            f"all checkpoints in {folder} are damaged ({'; '.join(damages)}): give another run"
        )
    return min(losses, key=losses.__getitem__)
