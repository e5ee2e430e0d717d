"""Restores an intact checkpoint: the latest, the best, or the one of a step."""

import numbers
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from jaxae.checkpoint.folder import UNREADABLE, check_path, steps
from jaxae.checkpoint.reading import (
    DamagedError,
    read,
    read_metadata,
    read_variables,
    step_of_lowest,
)
from jaxae.errors import UserError


def restore(folder: Path, like: Any, step: int | Literal["best"] | None = None) -> Any:
    """Restores the pytree saved at a step, on the devices of `like`.

    Args:
      folder: the folder of the checkpoints.
      like: a pytree of arrays of the same structure and shapes, whose values are not used.
      step: one of `steps(folder)`, or "best" for the one of lowest loss. By default the latest
        intact one; a warning on stderr names each later one and its damaged leaf.

    Raises:
      UserError: there is no such checkpoint, it is damaged, or its arrays have another shape or
        dtype.
    """
    return _read_step(folder, step, partial(read, like=like))


def load_variables(folder: Path, step: int | Literal["best"] | None = None) -> Any:
    """Loads the variables for `model.apply` from a step's checkpoint, on the default device.

    It reads nothing else of the checkpoint, and needs neither model nor optimizer. With replicas
    each leaf has a leading axis. `step` and the errors are as for `restore`.
    """
    return _read_step(folder, step, read_variables)


def latest_step(folder: Path) -> int:
    """Returns the latest step with intact variables; prints a warning for each later one.

    Raises `UserError` if there is none.
    """

    def whole_step(path: Path) -> int:
        read_variables(path)
        return int(path.name)

    return _read_step(folder, None, whole_step)


def _read_step(
    folder: Path, step: int | Literal["best"] | None, read_one: Callable[[Path], Any]
) -> Any:
    """Applies `read_one` to a step's checkpoint, by default the latest intact one.

    Raises `UserError` if there is no such checkpoint, or if it is damaged.
    """
    check_path(folder, UNREADABLE)
    available = steps(folder)
    if not available:
        raise UserError(f"no checkpoint was found in {folder}: give a run that has one")
    if step is None:
        return _read_latest(folder, available, read_one)
    if step == "best":
        step = best_step(folder, available)
    if not isinstance(step, numbers.Integral) or step not in available:
        raise UserError(
            f"step {step} was asked for, and {folder} has checkpoints of steps "
            f'{", ".join(map(str, available))}: choose one of these, or "best"'
        )
    try:
        return read_one(folder / str(step))
    except DamagedError as damage:
        raise UserError(
            f"{folder / str(step)} is damaged: {damage}; choose another of the checkpoints of "
            f"steps {', '.join(map(str, available))}"
        ) from damage


def _read_latest(folder: Path, available: Sequence[int], read_one: Callable[[Path], Any]) -> Any:
    """Applies `read_one` to the latest intact checkpoint; raises `UserError` if all are damaged."""
    damages = []
    for step in sorted(available, reverse=True):
        try:
            return read_one(folder / str(step))
        except DamagedError as damage:
            damages.append(f"{folder / str(step)} is damaged: {damage}")
            print(f"warning: {damages[-1]}; trying an older checkpoint", file=sys.stderr)
    raise UserError(
        f"all checkpoints in {folder} are damaged ({'; '.join(damages)}): restore a copy of one, "
        "or train the run from its start with --restart"
    )


def best_step(folder: Path, available: Sequence[int]) -> int:
    """Returns the step of the lowest loss, as `step_of_lowest` does.

    Raises `UserError` if all checkpoints are damaged.
    """
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
    return step_of_lowest(losses)
