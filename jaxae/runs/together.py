"""Training of several runs side by side in one compiled program, as if they were replicas."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import train
from jaxae.errors import UserError
from jaxae.runs import progress
from jaxae.runs.folder import Run
from jaxae.runs.interrupts import defer_interrupts, keep_interrupts
from jaxae.runs.position import save_on_interrupt
from jaxae.runs.recipes import Epoch, Recipe
from jaxae.runs.recording import Recorder, Trainee, make_recorder, record_chunk
from jaxae.runs.training import make_ready, restored_epoch, verify
from jaxae.train import Progress


@dataclass(frozen=True)
class Outcome:
    """A finished epoch of one of several runs, or the error that has ended it."""

    number: int  # of the run, from 0
    epoch: Epoch | UserError


def train_together(pairs: Sequence[tuple[Run, Recipe]]) -> Iterator[Outcome]:
    """Trains open runs side by side; yields each finished epoch once it is recorded.

    The runs may differ in their seeds and in the numbers of their recipes, and in nothing else that
    training depends on. Each has its own records and checkpoints, as if it had trained alone, and
    ends on its own: with an error, or early with --patience. The seconds of its records are its
    share of the time. Resumed runs of different epochs train one after another.
    """
    trainees: dict[int, Trainee] = {}
    for index, (run, recipe) in enumerate(pairs):
        try:
            trainee = make_ready(run, recipe)
            epoch = restored_epoch(trainee)
        except UserError as error:
            yield Outcome(index, error)
            continue
        if epoch is not None:
            yield Outcome(index, epoch)
        if not trainee.ended:
            trainees[index] = trainee
    for steps in sorted({trainee.steps for trainee in trainees.values()}):
        yield from _train({n: each for n, each in trainees.items() if each.steps == steps})


def _train(trainees: dict[int, Trainee]) -> Iterator[Outcome]:
    """Trains runs that have taken the same number of steps; the rest go on after one has ended."""
    going = {number: make_recorder(trainee) for number, trainee in trainees.items()}
    with ExitStack() as stack:
        for recorder in going.values():
            stack.enter_context(save_on_interrupt(recorder.trainee.run, recorder.position))
        while going:
            ended: set[int] = set()
            chunks = _fit(list(going.values()))
            for chunk, seconds in progress.timed(chunks):
                # Interrupts wait until all are recorded, so that they find all at the same step.
                with defer_interrupts():
                    outcomes = list(_record_all(going, chunk, seconds / len(going)))
                ended = {each.number for each in outcomes if _has_ended(each)}
                for number in ended:
                    going.pop(number).position.saved = True  # an interrupt has nothing to save
                yield from outcomes
                if ended:
                    break
            chunks.close()


def _has_ended(outcome: Outcome) -> bool:
    """Returns whether an outcome is a run's last."""
    return isinstance(outcome.epoch, UserError) or outcome.epoch.last


def _fit(recorders: Sequence[Recorder]) -> Generator[Progress]:
    """Trains all runs from their positions on; after each epoch, they go on from where they are."""
    first = recorders[0].trainee
    recipe, shared = first.recipe, first.run.shared
    numbers = {
        name: np.repeat([each.trainee.recipe.numbers[name] for each in recorders], shared.replicas)
        for name in recipe.numbers
    }
    stack = partial(_stacked, replicas=shared.replicas)
    yield from train.fit(
        stack([each.position.state for each in recorders]),
        first.examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        totals=stack([each.position.totals for each in recorders]),
        chunk_steps=recipe.chunk_steps,
        drop_remainder=shared.drop_remainder,
        mesh=first.run.mesh,
        numbers=numbers,
        # They have observed the loss.
        revise=lambda _: stack([each.position.state for each in recorders]),
    )


def _record_all(
    recorders: Mapping[int, Recorder], chunk: Progress, seconds: float
) -> Iterator[Outcome]:
    """Records each run's part of a chunk; yields the finished epochs, and errors."""
    for place, (number, recorder) in enumerate(recorders.items()):
        own = _part(chunk, place, recorder.trainee.run.shared.replicas)
        with keep_interrupts():
            try:
                epoch = record_chunk(recorder, own, seconds)
                if epoch is not None and epoch.last:
                    verify(recorder)
            except UserError as error:
                epoch = error
        if epoch is not None:
            yield Outcome(number, epoch)


def _stacked(trees: Sequence[Any], *, replicas: int) -> Any:
    """Returns the trees of several runs as one with a leading axis, over all replicas of all."""
    join = jnp.stack if replicas == 1 else jnp.concatenate
    return jax.tree.map(lambda *leaves: join(leaves), *trees)


def _part(chunk: Progress, place: int, replicas: int) -> Progress:
    """Returns the part of a chunk that belongs to the run at a place."""
    first = place * replicas
    rows = first if replicas == 1 else slice(first, first + replicas)
    state, totals = jax.tree.map(lambda leaf: leaf[rows], (chunk.state, chunk.totals))
    return chunk._replace(state=state, totals=totals)
