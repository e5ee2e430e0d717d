"""The position in training, which is saved after each epoch and on an interrupt."""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax

from jaxae import checkpoint, train
from jaxae.errors import Terminated
from jaxae.runs import progress, records
from jaxae.runs.disk import check_folder
from jaxae.runs.folder import Run
from jaxae.runs.restoring import saved_tree


@dataclass
class Position:
    """The state and totals to save if the run is interrupted now."""

    state: train.State
    totals: train.Metrics
    saved: bool  # whether a checkpoint holds it already

    @property
    def steps(self) -> int:
        """The number of steps taken."""
        return train.steps_done(self.state)

    def move_to(self, chunk: train.Progress) -> None:
        """Moves to the end of a chunk, which a checkpoint holds if it finished an epoch."""
        self.state, self.totals, self.saved = chunk.state, chunk.totals, chunk.finished_epoch


@contextlib.contextmanager
def save_on_interrupt(run: Run, position: Position) -> Iterator[None]:
    """Saves the position when Ctrl-C or SIGTERM ends the block, unless a checkpoint holds it."""
    try:
        yield
    except KeyboardInterrupt as stop:
        # Only Terminated stops several processes after the same step.
        if not position.saved and (jax.process_count() == 1 or isinstance(stop, Terminated)):
            save(run, position.state, position.totals, math.inf)
        raise


def save_epoch(run: Run, chunk: train.Progress, record: dict[str, Any]) -> None:
    """Records a finished epoch, and starts saving its checkpoint."""
    check_folder(run.folder)
    # The line is written first, because resuming drops lines ahead of the checkpoint.
    records.append_record(run.folder, record, run.trackers)
    save(run, chunk.state, chunk.totals, records.mean_watched_loss(record))
    progress.show_epoch(run.shared.epochs, record)


def save(run: Run, state: train.State, totals: train.Metrics, loss: float) -> None:
    """Starts saving a checkpoint; the loss decides which is the best."""
    tree = saved_tree(state, totals)
    checkpoint.save(run.checkpointer, train.steps_done(state), tree, loss=loss)
