"""Estimates of what a sweep takes, from a few steps of each program."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import jax

from jaxae import data, runs, train
from jaxae.commands import train as command
from jaxae.models import count_parameters
from jaxae.sweeps.cells import Cell

_STEPS = 20  # of a measurement
_REPEATS = 3  # measurements, of which the fastest counts


@dataclass(frozen=True)
class Estimate:
    """What each cell of a group takes.

    Attributes:
      parameters: the number of parameters of its network.
      seconds: its share of the training time of the group, without tests and pictures.
    """

    parameters: int
    seconds: float


def estimate(group: Sequence[Cell], dataset: data.Dataset) -> Estimate:
    """Trains the cells of a group for a few steps, of which nothing is kept, and times them.

    Raises `UserError` if they cannot be trained.
    """
    command.check_member(group[0].options)
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
    seconds = fastest * steps_per_epoch * shared.epochs / len(group)
    return Estimate(count_parameters(runs.first_replica(state)), seconds)
