"""Saving checkpoints with Orbax while training goes on, and verifying each of them.

Orbax stores no checksum of an array. A checkpoint here also holds the shape, the dtype and the
CRC-32 of each leaf, so that damage is always noticed.
"""

import contextlib
import math
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax

from jaxae import devices
from jaxae.checkpoint.checksums import checksum_of_json, describe_leaves
from jaxae.checkpoint.folder import (
    UNFINISHED,
    check_not_export,
    check_path,
    remove_remains,
    repair_losses,
    set_aside,
    steps,
)
from jaxae.checkpoint.reading import (
    UNTESTED,
    DamagedError,
    absolute,
    quiet_failures,
    read,
    step_of_lowest,
    verify,
)
from jaxae.devices import is_first_process
from jaxae.errors import UserError

if TYPE_CHECKING:  # slow to import, and needed only once a run begins
    from orbax.checkpoint import v1 as ocp

DESCRIPTION_SECONDS = 10.0
"""A save fails if its description is not on disk after this time."""


@dataclass
class Checkpointer:
    """Orbax's checkpointer of a folder, and its latest save, which may still be running."""

    orbax: "ocp.training.Checkpointer"
    latest: "ocp.AsyncResponse[bool] | None" = None

    @property
    def folder(self) -> Path:
        """The folder that holds the checkpoints."""
        return Path(str(self.orbax.directory))

    def wait(self) -> None:
        """Waits until the latest save is on disk; raises what Orbax raised on its threads."""
        save, self.latest = self.latest, None
        if save is not None:
            save.result()  # else Orbax keeps a thread and its files open for each save
        self.orbax.wait()


@contextlib.contextmanager
def open_checkpoints(folder: Path, *, keep_all: bool = False) -> Iterator[Checkpointer]:
    """Opens a checkpointer for a folder; it keeps the latest two, and the one of lowest loss.

    With `keep_all` it keeps all. Remains of killed runs are first removed, or set aside with a
    warning. It writes while training goes on; leaving the context waits until all is on disk. A
    save counts only once it has been verified, on the thread that saves. Orbax's threads log
    nothing in this context. Raises `UserError` if the folder cannot be written to or would be in
    an export, or if `check_path` refuses its path.
    """
    from orbax.checkpoint import v1 as ocp

    check_path(folder)
    check_not_export(folder.parent)
    remove_remains(folder)
    repair_losses(folder)
    context = ocp.Context()
    context.asynchronous.post_finalization_callback = partial(_verify_unfinished, folder)
    policies = ocp.training.preservation_policies
    keep = (
        policies.PreserveAll()
        if keep_all
        else policies.AnyPreservationPolicy([policies.LatestN(2), _LowestLoss()])
    )
    with _clear_errors(folder):
        checkpointer = Checkpointer(
            ocp.training.Checkpointer(
                str(absolute(folder)),
                preservation_policy=keep,  # pyright: ignore[reportArgumentType]
                context=context,
            )
        )
    with quiet_failures():
        try:
            yield checkpointer
        finally:
            alone = jax.process_count() == 1
            # Closing waits for the other processes, which may never come after an error here.
            if alone or not isinstance(sys.exc_info()[1], Exception):
                with _clear_errors(folder):
                    try:
                        checkpointer.wait()
                    finally:
                        checkpointer.orbax.close()


class _LowestLoss:
    """Orbax's policy that preserves one checkpoint; of equal losses BestN would keep the latest."""

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Returns for each checkpoint whether it is the one that `best_step` chooses."""
        del context
        losses = {saved.step: (saved.metrics or {}).get("loss", UNTESTED) for saved in checkpoints}
        best = step_of_lowest(losses) if losses else None
        return [saved.step == best for saved in checkpoints]


def set_aside_after(checkpointer: Checkpointer, step: int, reason: str) -> None:
    """Sets aside the checkpoints of later steps, so that this one is the latest."""
    later = [saved.step for saved in checkpointer.orbax.checkpoints if saved.step > step]
    if not later:
        return
    if is_first_process():
        for each in later:
            set_aside(checkpointer.folder / str(each), reason)
    devices.wait_for_all("checkpoints are set aside")
    checkpointer.orbax.reload()


@contextlib.contextmanager
def _clear_errors(folder: Path) -> Iterator[None]:
    """Turns any error that Orbax raises while it writes into one `UserError`."""
    try:
        yield
    except Exception as error:  # an OSError, or what TensorStore and Orbax turn it into
        time.sleep(0.05)  # other writes fail, too: let them do so now
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


def save(checkpointer: Checkpointer, step: int, tree: Any, *, loss: float) -> None:
    """Starts saving a pytree of arrays as the checkpoint of a step, replacing one that is there.

    The loss decides which checkpoint is the best; a non-finite loss is never the best. Raises
    `UserError` if this save fails, or the previous one, which ran during training.
    """
    # JSON has no infinity, and NaN is neither lower nor higher than another loss.
    loss = loss if math.isfinite(loss) else UNTESTED
    described = {"leaves": describe_leaves(tree), "loss": loss}
    metadata: Any = {**described, "crc32": checksum_of_json(described)}
    with _clear_errors(checkpointer.folder):
        checkpointer.wait()
        checkpointer.latest = checkpointer.orbax.save_async(
            step,
            tree,
            force=True,
            overwrite=True,
            metrics={"loss": loss},
            custom_metadata=metadata,
        )


def _verify_unfinished(folder: Path) -> None:
    """Verifies an unfinished checkpoint, before it is renamed and an older one is deleted.

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


def verify_latest(checkpointer: Checkpointer, like: Any) -> None:
    """Restores the latest checkpoint once it is on disk, and compares all its checksums.

    Raises `UserError` if its numbers differ from those saved. Does nothing without a checkpoint.
    """
    with _clear_errors(checkpointer.folder):
        checkpointer.wait()
    available = steps(checkpointer.folder)
    if not available:
        return
    path = checkpointer.folder / str(available[-1])
    try:
        read(path, like)
    except DamagedError as damage:
        raise UserError(
            f"{path} was saved, and is damaged: {damage}; check the disk and the memory of this "
            "machine, and resume the run from an older checkpoint, or from its start"
        ) from damage


def delete_after(checkpointer: Checkpointer, step: int) -> None:
    """Deletes the checkpoints of later steps, so that this one is the latest; prints which."""
    later = [saved.step for saved in checkpointer.orbax.checkpoints if saved.step > step]
    if later:
        listed = ", ".join(map(str, later))
        print(f"step {step} is now the latest: checkpoints of steps {listed} are removed")
    for each in later:
        checkpointer.orbax.delete(each)
