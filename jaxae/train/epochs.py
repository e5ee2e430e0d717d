"""Epochs and evaluations as compiled loops over steps.

Every random number follows from the state's key: the order of an epoch from the epoch's index, the
noise of a step from the step's index. So a restored state continues as if it had never stopped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh

from jaxae import devices
from jaxae.errors import UserError
from jaxae.train.batches import (
    Batch,
    Examples,
    canonicalize,
    check_examples,
    epoch_order,
    gather,
    in_batches,
    steps_in_epoch,
)
from jaxae.train.steps import (
    Metrics,
    Objective,
    State,
    Variables,
    averages,
    sums,
    take_step,
    terms_of,
)


def zero_totals(step: Callable, carry: Any, context: Any) -> Metrics:
    """Metrics of no steps yet, with the names and shapes that `step` adds to them."""
    _, shapes = jax.eval_shape(step, 0, carry, context)
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def make_loop(step: Callable, mesh: Mesh | None = None) -> Callable:
    """From (index, carry, context) -> (carry, sums) to a compiled loop that adds up the sums.

    The loop takes (carry, totals, context, start, stop) and returns (carry, totals), on each device
    of the mesh if there is one; it is one program for any start and stop.
    """

    def loop(
        carry: Any, totals: Metrics, context: Any, start: int, stop: int
    ) -> tuple[Any, Metrics]:
        def body(index: Array, pair: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            carry, more = step(index, pair[0], context)
            return carry, jax.tree.map(jnp.add, pair[1], more)

        return jax.lax.fori_loop(start, stop, body, (carry, totals))

    return jax.jit(loop) if mesh is None else jax.jit(loop, out_shardings=devices.on_each(mesh))


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
