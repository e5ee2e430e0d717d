"""The training loop as pure functions of a state: step, epoch, evaluation, and a fit over epochs.

Nothing here knows a model: `steps` has what an objective is, and what a step makes of it. Every
random number follows from the state's key: the order of an epoch from the epoch's index, the noise
of a step from the step's index. So a restored state continues as if it had never stopped.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import Array
from jax.sharding import Mesh

from jaxae import devices
from jaxae.batches import (
    Batch,
    Examples,
    canonicalize,
    check_examples,
    epoch_order,
    gather,
    in_batches,
    steps_in_epoch,
)
from jaxae.data import Column
from jaxae.errors import UserError
from jaxae.feeding import CHUNK_STEPS, piece_bounds, resident, stream
from jaxae.loops import make_loop, zero_totals
from jaxae.steps import (
    Metrics,
    Objective,
    State,
    Terms,
    Variables,
    all_finite,
    averages,
    init,
    sums,
    take_step,
    terms_of,
    variables_of,
)

__all__ = [
    "Objective",
    "Progress",
    "State",
    "Terms",
    "Variables",
    "fit",
    "init",
    "make_epoch",
    "make_evaluation",
    "make_step",
    "variables_of",
]


class Progress(NamedTuple):
    """Where a fit stands: after some steps of an epoch, or after all of them."""

    state: State
    totals: Metrics  # sums over the epoch's examples so far, and their weight
    epoch: int  # from 1
    steps: int  # taken in this epoch
    steps_per_epoch: int

    @property
    def finished_epoch(self) -> bool:
        """Whether the epoch is complete."""
        return self.steps == self.steps_per_epoch

    @property
    def metrics(self) -> Metrics:
        """Means over the epoch's examples so far: the loss and the objective's metrics."""
        return averages(self.totals)


def training_step(
    index: Array | int,
    state: State,
    context: tuple[Examples, Array],
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    guarded: bool,
) -> tuple[State, Metrics]:
    """Step `index` of the epoch that the context gives: examples, and their order in batches."""
    examples, order = context
    batch = gather(examples, order[index])
    return take_step(state, batch, objective=objective, optimizer=optimizer, guarded=guarded)


def evaluation_step(
    index: Array | int,
    carry: None,
    context: tuple[Variables, Array, Examples, Array],
    *,
    objective: Objective,
) -> tuple[None, Metrics]:
    """The sums over batch `index` of what the context gives: variables, key, examples, order."""
    variables, key, examples, order = context
    batch = gather(examples, order[index])
    terms = terms_of(objective, variables, jax.random.fold_in(key, index), batch)
    return carry, sums(terms, batch.weights)


def no_totals(
    state: State,
    examples: Examples,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    batch_size: int,
) -> Metrics:
    """The totals of an epoch of canonical examples that has not begun, as `fit` carries them."""
    replicas = state.step.shape
    order = jnp.zeros((*replicas, 1, batch_size), jnp.int32)
    step = make_training_step(objective, optimizer, replicas=bool(replicas))
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), examples)
    return zero_totals(step, state, (shapes, order))


def steps_done(state: State) -> int:
    """The number of steps a state has taken, the same for all its replicas."""
    return int(np.asarray(state.step).reshape(-1)[0])


def make_training_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    replicas: bool,
    guarded: bool = True,
) -> Callable:
    """`training_step` of an objective, over replicas of state and order if there are any."""
    step = partial(training_step, objective=objective, optimizer=optimizer, guarded=guarded)
    return jax.vmap(step, in_axes=(None, 0, (None, 0))) if replicas else step


def make_order(
    size: int, batch_size: int, *, replicas: bool, mesh: Mesh | None
) -> Callable[[Array, int], Array]:
    """A jitted function from a state's key and an epoch's index to the epoch's order in batches."""
    order_of = partial(
        epoch_order, size=size, batch_size=batch_size, parts=1 if mesh is None else mesh.size
    )
    if replicas:
        order_of = jax.vmap(order_of, in_axes=(0, None))
    if mesh is None:
        return jax.jit(order_of)
    return jax.jit(order_of, out_shardings=devices.in_parts(mesh, 2 + replicas))


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """A compiled training step; its metrics are means over the batch.

    A function that brings its batch to canonical dtypes and calls one compiled program.
    """

    @jax.jit
    def compiled(state: State, batch: Batch) -> tuple[State, Metrics]:
        state, totals = take_step(state, batch, objective=objective, optimizer=optimizer)
        return state, averages(totals)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        """The state after a training step on a batch, and the batch's mean metrics."""
        return compiled(state, canonicalize(batch))

    return step


def make_epoch(
    objective: Objective, optimizer: optax.GradientTransformation, batch_size: int
) -> Callable[[State, Examples], tuple[State, Metrics]]:
    """A compiled epoch: every example once, in the order the state's key gives.

    A function that brings its examples to canonical dtypes and calls one compiled program. It takes
    states between two epochs, and is fastest on canonical examples that `jax.device_put` has moved
    to the device. The metrics are means over the epoch's examples, each under the parameters of its
    step.
    """
    step = make_training_step(objective, optimizer, replicas=False)
    loop = make_loop(step)

    @jax.jit
    def compiled(state: State, examples: Examples) -> tuple[State, Metrics]:
        size = examples.images.shape[0]
        index = state.step // steps_in_epoch(size, batch_size)
        order = epoch_order(state.key, index, size, batch_size)
        context = (examples, order)
        totals = zero_totals(step, state, context)
        state, totals = loop(state, totals, context, 0, order.shape[0])
        return state, averages(totals)

    def epoch(state: State, examples: Examples) -> tuple[State, Metrics]:
        """The state after an epoch over the examples, and their mean metrics."""
        return compiled(state, canonicalize(examples))

    return epoch


def make_evaluation(
    objective: Objective, batch_size: int, *, replicas: bool = False, mesh: Mesh | None = None
) -> Callable[[Variables, Array, Examples], Metrics]:
    """A function of variables, key and examples: exact means over all examples.

    Examples are read in their own order, so that nothing moves from one evaluation to the next.
    With replicas, variables have a leading axis, and so have the metrics. The devices of a mesh
    share each batch.
    """
    if batch_size < 1:
        raise UserError(f"a batch size of {batch_size} was given: give 1 or more")
    step = partial(evaluation_step, objective=objective)
    if replicas:
        step = jax.vmap(step, in_axes=(None, None, (0, None, None, None)), out_axes=(None, 0))
    loop = make_loop(step, mesh)
    zeros = jax.jit(partial(zero_totals, step))
    parts = 1 if mesh is None else mesh.size

    def evaluate(variables: Variables, key: Array, examples: Examples) -> Metrics:
        examples = check_examples(examples, 1)
        indices = jnp.arange(examples.images.shape[0])
        order = in_batches(indices, batch_size, parts=parts)
        examples = devices.put(examples, mesh)
        if mesh is not None:
            variables, key = devices.place((variables, key), devices.on_each(mesh))
            order = devices.place(order, devices.in_parts(mesh, 2))
        context = (variables, key, examples, order)
        _, totals = loop(None, zeros(None, context), context, 0, order.shape[0])
        return averages(totals)

    return evaluate


def fit(
    state: State,
    examples: Examples,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    epochs: int,
    batch_size: int,
    totals: Metrics | None = None,
    chunk_steps: int | None = None,
    mesh: Mesh | None = None,
) -> Iterator[Progress]:
    """Trains from the state's step to the end of the last epoch; yields after each chunk of steps.

    A chunk ends with the epoch, and where the step is a multiple of `chunk_steps` if that is given.
    A state that stopped within an epoch goes on from there, with the totals it had. A state with a
    leading axis trains that many replicas at once on the same examples, each in its own order.
    The devices of a mesh (`devices.data_mesh`) share each batch, whose size need not divide.
    A step that is not finite is left out, as `steps.take_step` says, for which each chunk is waited
    for; but not a step whose loss is finite and whose gradient the optimizer makes so, as
    `optax.clip` does of infinity. Examples that are streamed (`streaming.Column`) are read while a
    chunk computes.
    Raises UserError for examples or a batch size that cannot be trained on.
    """
    if epochs < 1 or (chunk_steps is not None and chunk_steps < 1):
        raise UserError(
            f"{epochs} epochs in chunks of {chunk_steps} steps were asked for: give 1 or more of "
            "each, or no chunk_steps"
        )
    examples = check_examples(examples, batch_size)
    size = examples.images.shape[0]
    steps_per_epoch = steps_in_epoch(size, batch_size)
    replicas = state.step.ndim == 1
    # Training goes without the guard, and once more with it over a chunk that ends in NaN.
    loop, guarded_loop = (
        make_loop(
            make_training_step(objective, optimizer, replicas=replicas, guarded=guarded), mesh
        )
        for guarded in (False, True)
    )
    is_finite = jax.jit(all_finite)
    if totals is None:
        totals = no_totals(
            state, examples, objective=objective, optimizer=optimizer, batch_size=batch_size
        )
    if mesh is not None:
        state, totals = devices.place((state, totals), devices.on_each(mesh))
    order_of = partial(make_order(size, batch_size, replicas=replicas, mesh=mesh), state.key)
    bounds = piece_bounds(steps_done(state), epochs, steps_per_epoch, chunk_steps)
    if isinstance(examples.images, Column):
        pieces = stream(examples, bounds, order_of, chunk_steps or CHUNK_STEPS, mesh)
    else:
        pieces = resident(examples, bounds, order_of, mesh)

    so_far, zeros = totals, jax.tree.map(jnp.zeros_like, totals)
    for piece in pieces:
        if piece.start == 0:
            so_far = zeros
        context = (piece.examples, piece.order)
        rows = (piece.first, piece.first + piece.stop - piece.start)
        start = (state, so_far)
        state, so_far = loop(*start, context, *rows)
        if not is_finite((state, so_far)):
            state, so_far = guarded_loop(*start, context, *rows)
        yield Progress(state, so_far, piece.epoch + 1, piece.stop, steps_per_epoch)
