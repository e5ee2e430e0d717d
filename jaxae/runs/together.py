"""Training of several runs side by side in one compiled program, as if they were replicas."""

from collections.abc import Iterator, Mapping, Sequence
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
from jaxae.runs.interrupts import keep_interrupts
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
    """Trains runs that have taken the same number of steps."""
    recorders = {index: make_recorder(trainee) for index, trainee in trainees.items()}
    states = {index: trainee.state for index, trainee in trainees.items()}
    going = dict(recorders)
    chunks = _fit(list(trainees.values()), states)
    with ExitStack() as stack:
        for recorder in recorders.values():
            stack.enter_context(save_on_interrupt(recorder.trainee.run, recorder.position))
        for chunk, seconds in progress.timed(chunks):
            share = seconds / len(going)
            for place, (index, recorder) in enumerate(recorders.items()):
                own = _part(chunk, place, recorder.trainee.run.shared.replicas)
                states[index] = own.state
                if index not in going:
                    continue
                outcome = _record(recorder, own, share)
                states[index] = recorder.position.state  # which has observed the loss
                if isinstance(outcome, UserError) or (outcome is not None and outcome.last):
                    del going[index]
                    recorder.position.saved = True  # nothing is to be saved on an interrupt
                if isinstance(outcome, Epoch) and outcome.last:
                    verify(recorder)
                if outcome is not None:
                    yield Outcome(index, outcome)
            if not going:
                break


def _fit(trainees: Sequence[Trainee], states: Mapping[int, train.State]) -> Iterator[Progress]:
    """Trains all runs; after each epoch, they go on from the states that are then in `states`."""
    first, shared = trainees[0], trainees[0].run.shared
    recipe = first.recipe
    numbers = {
        name: np.repeat([each.recipe.numbers[name] for each in trainees], shared.replicas)
        for name in recipe.numbers
    }
    stack = partial(_stacked, replicas=shared.replicas)
    return train.fit(
        stack([each.state for each in trainees]),
        first.examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        totals=stack([each.totals for each in trainees]),
        chunk_steps=recipe.chunk_steps,
        drop_remainder=shared.drop_remainder,
        numbers=numbers,
        revise=lambda _: stack(list(states.values())),
    )


def _record(recorder: Recorder, chunk: Progress, seconds: float) -> Epoch | UserError | None:
    """Records a run's part of a chunk, as `record_chunk` does; returns an error instead."""
    with keep_interrupts():
        try:
            return record_chunk(recorder, chunk, seconds)
        except UserError as error:
            return error


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
