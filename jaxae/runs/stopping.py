"""Early stopping: whether a run with --patience has ended, by its records alone."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jaxae.devices import is_first_process
from jaxae.runs.folder import Run
from jaxae.runs.reading import read_records
from jaxae.runs.records import best_record, is_tested


def describe_stop(lines: Sequence[Mapping[str, Any]], patience: int | None) -> str | None:
    """Says why a run stops after the last of its records; None if it goes on.

    It stops after a tested epoch if so many tested epochs in a row had no new lowest loss. Nothing
    but the records decides, so a run that is resumed stops where an uninterrupted one does.

    Args:
      lines: the records of all epochs so far.
      patience: the number of tested epochs, 1 or more; None never stops a run.
    """
    if patience is None or not lines or not is_tested(lines[-1]):
        return None
    tested, best = [line for line in lines if is_tested(line)], best_record(lines)
    waited = len(tested) if best is None else sum(t["epoch"] > best["epoch"] for t in tested)
    if waited < patience:
        return None
    kind = "validation" if "validation_loss" in lines[-1] else "test"
    return (
        f"stopped after epoch {lines[-1]['epoch']}: no {'finite' if best is None else 'lower'} "
        f"{kind} loss for {waited} tested epoch{'' if waited == 1 else 's'}; "
        + ("" if best is None else f"the best is epoch {best['epoch']}, whose checkpoint is kept; ")
        + "resume with a larger patience to train on"
    )


def records_until(folder: Path, epoch: int) -> list[dict[str, Any]]:
    """Returns a run's records of all epochs up to one; none of a run that has not trained."""
    return [line for line in read_records(folder) if line["epoch"] <= epoch]


def warn_of_test_images(run: Run, option: str, effect: str) -> None:
    """Warns that an option has an effect on training by the test loss, if a run has no other."""
    if run.dataset.validation is None and run.shared.load is None and is_first_process():
        print(
            f"warning: {option} without --validation {effect} by the loss of the test images, so "
            "the test numbers are chosen on the images that they are measured on: give "
            "--validation N (validation=N in Python) to hold out N training images for that",
            file=sys.stderr,
        )
