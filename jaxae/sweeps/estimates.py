"""Estimates of the time that a sweep takes, from a few steps of each program."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax

from jaxae import data, runs, train
from jaxae.commands import train as command
from jaxae.errors import UserError
from jaxae.models import count_parameters
from jaxae.sweeps.cells import Cell
from jaxae.sweeps.groups import split_by_memory

_STEPS = 20  # of a measurement
_REPEATS = 3  # measurements, of which the fastest counts


@dataclass(frozen=True)
class Estimate:
    """The size of a cell, and the time that it takes.

    Attributes:
      parameters: the number of parameters of its network.
      seconds: its share of the time that its group takes for an epoch of training.
      error: why it cannot be trained; the numbers are 0 then.
    """

    parameters: int = 0
    seconds: float = 0.0
    error: str | None = None


def estimate(
    group: Sequence[Cell], dataset: data.Dataset, most: int | None = None
) -> dict[str, Estimate]:
    """Returns what each cell of a group takes, by its name.

    They are trained for a few steps, of which nothing is kept. `most` is that of `group_cells`.
    """
    found, sound = {}, []
    for cell in group:
        try:
            _check(cell, dataset)
            sound.append(cell)
        except UserError as error:
            found[cell.name] = Estimate(error=str(error))
    for part in split_by_memory(sound, dataset, most) if sound else ():
        found |= dict.fromkeys((cell.name for cell in part), _measure(part, dataset))
    return found


def _check(cell: Cell, dataset: data.Dataset) -> None:
    """Raises `UserError` if a cell cannot be trained, without compiling anything."""
    command.check_member(cell.options)
    recipe, shared = command.make_recipe(cell.options, dataset), cell.options.run
    make = partial(
        runs.seeded_state,
        model=recipe.network.model,
        optimizer=recipe.optimizer,
        shape=dataset.train.images.shape[1:],
        collections=recipe.collections,
    )
    examples = recipe.examples or runs.of_split(dataset.train)
    train.no_totals(
        jax.eval_shape(make, 0),
        train.check_examples(examples, shared.batch_size),
        objective=recipe.objective,
        batch_size=shared.batch_size,
    )


def _measure(group: Sequence[Cell], dataset: data.Dataset) -> Estimate:
    """Returns what each of some cells takes that train side by side."""
    recipe, shared = command.make_recipe(group[0].options, dataset), group[0].options.run
    count = len(group) * shared.replicas
    shape = dataset.train.images.shape[1:]
    state = runs.initial_state(
        runs.RunOptions(shared.epochs, shared.batch_size, shared.learning_rate, replicas=count),
        recipe.network.model,
        recipe.optimizer,
        shape,
        recipe.collections,
    )
    examples = recipe.examples or runs.of_split(dataset.train)
    steps_per_epoch = train.steps_in_epoch(
        len(examples.images), shared.batch_size, drop_remainder=shared.drop_remainder
    )
    size = min(_STEPS, steps_per_epoch)
    chunks = train.fit(
        state,
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=2 + _REPEATS,
        batch_size=shared.batch_size,
        chunk_steps=size,
        drop_remainder=shared.drop_remainder,
        numbers=recipe.numbers,
    )
    first = jax.block_until_ready(next(chunks))  # compiles
    fastest, done = math.inf, train.steps_done(first.state)
    for _ in range(_REPEATS):
        started = time.perf_counter()
        chunk = jax.block_until_ready(next(chunks))
        taken = time.perf_counter() - started
        steps = train.steps_done(chunk.state) - done
        fastest, done = min(fastest, taken / steps), done + steps
    seconds = fastest * steps_per_epoch / len(group)
    return Estimate(count_parameters(runs.first_replica(state)), seconds)
