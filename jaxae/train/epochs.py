"""Epochs and evaluations as compiled loops over steps.

Every random number is derived from the state's key: an epoch's order with the epoch's index, and a
step's noise with the step's index. So a restored state continues as if it had never stopped.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.sharding import Mesh
from jax.stages import Wrapped

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
from jaxae.train.replicas import one_per_core
from jaxae.train.steps import State, next_terms, take_step, totals_of
from jaxae.train.terms import Metrics, Objective, Variables, averages, sums, terms_of


def _zero_totals(step: Callable, carry: Any, context: Any) -> Metrics:
    """Returns totals of zero, with the names and shapes of the metrics that `step` returns."""
    return _zeros_of(jax.eval_shape(step, 0, carry, context)[1])


def _zeros_of(shapes: Any) -> Metrics:
    """Returns zeros of these shapes and dtypes."""
    return jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes)


def make_loop(step: Callable, mesh: Mesh | None = None, *, replicas: bool = False) -> Callable:
    """Compiles a loop over a step (index, carry, context) -> (carry, sums) that adds up the sums.

    The loop takes (carry, totals, context, start, stop) and returns (carry, totals), replicated on
    the devices of a mesh. One program serves any start and stop. With replicas, carry, totals and
    the second of the two parts of the context have a leading axis. Replicas run one per core on a
    single CPU device, and elsewhere together, by `jax.vmap`.
    """
    if not replicas:
        return _compile_loop(step, mesh)
    together = _compile_loop(_over_replicas(step), mesh)
    apart = one_per_core(_compile_loop(step))

    def choose(
        carry: Any, totals: Metrics, context: tuple[Any, Any], start: int, stop: int
    ) -> tuple[Any, Metrics]:
        alone = mesh is None and devices.is_on_one_cpu((carry, context))
        loop = apart if alone else together
        return loop(carry, totals, context, start, stop)

    return choose


def _over_replicas(step: Callable) -> Callable:
    """Maps a step (index, carry, (shared, own)) over the replicas of carry and own."""
    return jax.vmap(step, in_axes=(None, 0, (None, 0)))


def _compile_loop(step: Callable, mesh: Mesh | None = None) -> Wrapped:
    """Compiles the loop of `make_loop` for a step as it is."""

    def loop(
        carry: Any, totals: Metrics, context: Any, start: int, stop: int
    ) -> tuple[Any, Metrics]:
        def body(index: Array, pair: tuple[Any, Metrics]) -> tuple[Any, Metrics]:
            carry, more = step(index, pair[0], context)
            return carry, jax.tree.map(jnp.add, pair[1], more)

        return jax.lax.fori_loop(start, stop, body, (carry, totals))

    return jax.jit(loop) if mesh is None else jax.jit(loop, out_shardings=devices.on_each(mesh))


def _training_step(
    index: Array | int,
    state: State,
    context: tuple[Examples, Array],
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    guarded: bool,
) -> tuple[State, Metrics]:
    """Takes step `index` of an epoch; the context holds examples and their order in batches."""
    examples, order = context
    batch = gather(examples, order[index])
    return take_step(state, batch, objective=objective, optimizer=optimizer, guarded=guarded)


def _evaluation_step(
    index: Array | int,
    carry: None,
    context: tuple[tuple[Array, Examples, Array], Variables],
    *,
    objective: Objective,
) -> tuple[None, Metrics]:
    """Sums the terms of batch `index`; the context holds key, examples and order, and variables."""
    (key, examples, order), variables = context
    batch = gather(examples, order[index])
    terms = terms_of(objective, variables, jax.random.fold_in(key, index), batch)
    return carry, sums(terms, batch.weights)


def no_totals(
    state: State, examples: Examples, *, objective: Objective, batch_size: int
) -> Metrics:
    """Returns the totals, all zero, from which `fit` starts an epoch of canonical examples."""

    def totals(state: State, examples: Examples) -> Metrics:
        batch = gather(examples, jnp.zeros(batch_size, jnp.int32))
        return totals_of(next_terms(state, batch, objective=objective), batch)

    if state.step.ndim == 1:
        totals = jax.vmap(totals, in_axes=(0, None))
    shapes = jax.tree.map(lambda array: jax.ShapeDtypeStruct(array.shape, array.dtype), examples)
    return _zeros_of(jax.eval_shape(totals, state, shapes))


def make_training_step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    *,
    replicas: bool,
    guarded: bool = True,
) -> Callable:
    """Returns a training step for an objective, mapped over replicas if there are any."""
    step = partial(_training_step, objective=objective, optimizer=optimizer, guarded=guarded)
    return _over_replicas(step) if replicas else step


def make_order(
    size: int, batch_size: int, *, replicas: bool, mesh: Mesh | None, drop_remainder: bool
) -> Callable[[Array, int], Array]:
    """Compiles a function from a state's key and an epoch's index to the epoch's order."""
    order_of = partial(
        epoch_order,
        size=size,
        batch_size=batch_size,
        parts=1 if mesh is None else mesh.size,
        drop_remainder=drop_remainder,
    )
    if replicas:
        order_of = jax.vmap(order_of, in_axes=(0, None))
    if mesh is None:
        return jax.jit(order_of)
    return jax.jit(order_of, out_shardings=devices.in_parts(mesh, 2 + replicas))


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """Returns a compiled training step, whose metrics are means over the batch.

    The step converts its batch to canonical dtypes, then calls one compiled program.
    """

    @jax.jit
    def compiled(state: State, batch: Batch) -> tuple[State, Metrics]:
        state, totals = take_step(state, batch, objective=objective, optimizer=optimizer)
        return state, averages(totals)

    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        """Takes a training step on a batch; returns the new state and the mean metrics."""
        return compiled(state, canonicalize(batch))

    return step


def make_epoch(
    objective: Objective, optimizer: optax.GradientTransformation, batch_size: int
) -> Callable[[State, Examples], tuple[State, Metrics]]:
    """Returns a compiled epoch: every example once, shuffled with the state's key.

    The function converts its examples to canonical dtypes, then calls one compiled program; it is
    fastest on canonical examples that `jax.device_put` has moved to the device. Its state must be
    at the start of an epoch. The metrics are means over the epoch's examples, each computed with
    the parameters of its step.
    """
    step = make_training_step(objective, optimizer, replicas=False)
    loop = make_loop(step)

    @jax.jit
    def compiled(state: State, examples: Examples) -> tuple[State, Metrics]:
        size = examples.images.shape[0]
        index = state.step // steps_in_epoch(size, batch_size)
        order = epoch_order(state.key, index, size, batch_size)
        context = (examples, order)
        totals = _zero_totals(step, state, context)
        state, totals = loop(state, totals, context, 0, order.shape[0])
        return state, averages(totals)

    def epoch(state: State, examples: Examples) -> tuple[State, Metrics]:
        """Trains for an epoch; returns the new state and the mean metrics."""
        return compiled(state, canonicalize(examples))

    return epoch


def make_evaluation(
    objective: Objective, batch_size: int, *, replicas: bool = False, mesh: Mesh | None = None
) -> Callable[[Variables, Array, Examples], Metrics]:
    """Returns a function of variables, key and examples that computes means over all examples.

    The means are exact. Examples are read in their own order, so evaluations are comparable. With
    replicas, variables and metrics have a leading axis. The devices of a mesh share each batch.
    Raises `UserError` for a batch size below 1, and the function for bad examples.
    """
    if batch_size < 1:
        raise UserError(f"a batch size of {batch_size} was given: give 1 or more")
    step = partial(_evaluation_step, objective=objective)
    loop = make_loop(step, mesh, replicas=replicas)
    zeros = jax.jit(partial(_zero_totals, _over_replicas(step) if replicas else step))
    parts = 1 if mesh is None else mesh.size

    def evaluate(variables: Variables, key: Array, examples: Examples) -> Metrics:
        examples = check_examples(examples, 1)
        indices = jnp.arange(examples.images.shape[0])
        order = in_batches(indices, batch_size, parts=parts)
        examples = devices.put(examples, mesh)
        if mesh is not None:
            variables, key = devices.place((variables, key), devices.on_each(mesh))
            order = devices.place(order, devices.in_parts(mesh, 2))
        context = ((key, examples, order), variables)
        _, totals = loop(None, zeros(None, context), context, 0, order.shape[0])
        return averages(totals)

    return evaluate
