"""The training loop as pure functions of a state: step, epoch, evaluation, and a fit over epochs.

Nothing here knows a model. An objective maps variables, a key and a batch to the loss of each
example; this module averages it with the batch's true weights, differentiates, and loops. Every
random number follows from the state's key: the order of an epoch from the epoch's index, the noise
of a step from the step's index. So a restored state continues as if it had never stopped.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from jaxae.batches import (
    Batch,
    Examples,
    check_examples,
    epoch_order,
    gather,
    in_batches,
    order_and_noise_keys,
    steps_in_epoch,
)
from jaxae.errors import UserError
from jaxae.loops import make_loop, zero_totals

Variables = Mapping[str, Any]
"""What a Linen `model.init` returns: {"params": ...} and any collections without a gradient."""

Metrics = dict[str, Array]


@struct.dataclass
class Terms:
    """What an objective returns; whatever is per example is averaged with the batch's weights."""

    loss: Array  # [B], or a scalar where the loss is not a mean over examples
    metrics: Metrics = struct.field(default_factory=dict)  # name to [B] or scalar
    collections: Variables = struct.field(default_factory=dict)  # new values of the state's


Objective = Callable[[Variables, Array, Batch], Terms]
"""From variables, a key and a batch to terms; the key may go unused.

What mixes the examples of a batch must leave out those of weight 0. A schedule can count steps in a
collection of its own, which it returns updated; evaluation then reads the count that training left.
"""


@struct.dataclass
class State:
    """Everything a training step changes or reads; with replicas, each leaf has a leading axis."""

    params: Any  # the pytree that has a gradient
    collections: dict[str, Any]  # Linen's others, without a gradient: a codebook; often empty
    optimizer_state: optax.OptState
    step: Array  # int32 scalar, the number of steps taken
    key: Array  # typed PRNG key, the same for the whole run


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


def init(key: Array, variables: Variables, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step.

    Variables are what `model.init` returns, {"params": ...} and other collections; the typed PRNG
    key is that of the whole run.
    """
    if "params" not in variables:
        raise UserError('variables without "params" were given: give {"params": parameters}')
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    return State(params, others, optimizer.init(params), jnp.zeros((), jnp.int32), key)


def variables_of(state: State) -> Variables:
    """What an objective and `model.apply` take."""
    return {"params": state.params, **state.collections}


def take_step(
    state: State, batch: Batch, *, objective: Objective, optimizer: optax.GradientTransformation
) -> tuple[State, Metrics]:
    """One update; the metrics are sums over the batch's examples, and "weight", their number."""
    _, noise_key = order_and_noise_keys(state.key)
    step_key = jax.random.fold_in(noise_key, state.step)

    def mean_loss(params: Any) -> tuple[Array, Terms]:
        terms = objective({"params": params, **state.collections}, step_key, batch)
        return weighted_mean(terms.loss, batch.weights), terms

    gradient, terms = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, optimizer_state = optimizer.update(gradient, state.optimizer_state, state.params)
    new_state = replace(
        state,
        params=optax.apply_updates(state.params, updates),
        collections={**state.collections, **terms.collections},
        optimizer_state=optimizer_state,
        step=state.step + 1,
    )
    return new_state, sums(terms, batch.weights)


def weighted_mean(values: Array, weights: Array) -> Array:
    """The mean of values [B], or of a scalar, over the examples with weight."""
    return jnp.sum(jnp.broadcast_to(values, weights.shape) * weights) / jnp.sum(weights)


def sums(terms: Terms, weights: Array) -> Metrics:
    """Weighted sums of the loss and the metrics over a batch, and their weight."""
    named = {"loss": terms.loss, **terms.metrics}
    totals = {
        name: jnp.sum(jnp.broadcast_to(jax.lax.stop_gradient(value), weights.shape) * weights)
        for name, value in named.items()
    }
    return {**totals, "weight": jnp.sum(weights)}


def averages(totals: Metrics) -> Metrics:
    """Means from sums and their weight."""
    return {name: value / totals["weight"] for name, value in totals.items() if name != "weight"}


def training_step(
    index: Array | int,
    state: State,
    context: tuple[Examples, Array],
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
) -> tuple[State, Metrics]:
    """Step `index` of the epoch that the context gives: examples, and their order in batches."""
    examples, order = context
    return take_step(
        state, gather(examples, order[index]), objective=objective, optimizer=optimizer
    )


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
    return carry, sums(objective(variables, jax.random.fold_in(key, index), batch), batch.weights)


def no_totals(
    state: State,
    examples: Examples,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
) -> Metrics:
    """The totals of an epoch that has not begun, as `fit` carries them."""
    replicas = state.step.shape
    order = jnp.zeros((*replicas, 1, 1), jnp.int32)
    step = make_training_step(objective, optimizer, replicas=bool(replicas))
    return zero_totals(step, state, (examples, order))


def steps_done(state: State) -> int:
    """The number of steps a state has taken, the same for all its replicas."""
    return int(state.step.reshape(-1)[0])


def make_training_step(
    objective: Objective, optimizer: optax.GradientTransformation, *, replicas: bool
) -> Callable:
    """`training_step` of an objective, over replicas of state and order if there are any."""
    step = partial(training_step, objective=objective, optimizer=optimizer)
    return jax.vmap(step, in_axes=(None, 0, (None, 0))) if replicas else step


def make_step(
    objective: Objective, optimizer: optax.GradientTransformation
) -> Callable[[State, Batch], tuple[State, Metrics]]:
    """A jitted training step; its metrics are means over the batch."""

    @jax.jit
    def step(state: State, batch: Batch) -> tuple[State, Metrics]:
        state, totals = take_step(state, batch, objective=objective, optimizer=optimizer)
        return state, averages(totals)

    return step


def make_epoch(
    objective: Objective, optimizer: optax.GradientTransformation, batch_size: int
) -> Callable[[State, Examples], tuple[State, Metrics]]:
    """A jitted epoch, one compiled program: every example once, in the order the state's key gives.

    For states between two epochs, and examples that `jax.device_put` has moved to the device. The
    metrics are means over the epoch's examples, each under the parameters of its step.
    """
    step = make_training_step(objective, optimizer, replicas=False)
    loop = make_loop(step)

    @jax.jit
    def epoch(state: State, examples: Examples) -> tuple[State, Metrics]:
        size = examples.images.shape[0]
        index = state.step // steps_in_epoch(size, batch_size)
        order = epoch_order(state.key, index, size, batch_size)
        context = (examples, order)
        totals = zero_totals(step, state, context)
        state, totals = loop(state, totals, context, 0, order.shape[0])
        return state, averages(totals)

    return epoch


def make_evaluation(
    objective: Objective, batch_size: int, *, replicas: bool = False
) -> Callable[[Variables, Array, Examples], Metrics]:
    """A function of variables, key and examples: exact means over all examples.

    Examples are read in their own order, so that nothing moves from one evaluation to the next.
    With replicas, variables have a leading axis, and so have the metrics.
    """
    step = partial(evaluation_step, objective=objective)
    if replicas:
        step = jax.vmap(step, in_axes=(None, None, (0, None, None, None)), out_axes=(None, 0))
    loop = make_loop(step)
    zeros = jax.jit(partial(zero_totals, step))

    def evaluate(variables: Variables, key: Array, examples: Examples) -> Metrics:
        examples = jax.tree.map(jnp.asarray, examples)
        order = in_batches(jnp.arange(examples.images.shape[0]), batch_size)
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
) -> Iterator[Progress]:
    """Trains from the state's step to the end of the last epoch; yields after each chunk of steps.

    A chunk ends with the epoch, and where the step is a multiple of `chunk_steps` if that is given.
    A state that stopped within an epoch goes on from there, with the totals it had. A state with a
    leading axis trains that many replicas at once on the same examples, each in its own order.
    Raises UserError for examples or a batch size that cannot be trained on.
    """
    size = check_examples(examples, batch_size)
    steps_per_epoch = steps_in_epoch(size, batch_size)
    replicas = state.step.ndim == 1
    step = make_training_step(objective, optimizer, replicas=replicas)
    loop = make_loop(step)
    order_of = partial(epoch_order, size=size, batch_size=batch_size)
    if replicas:
        order_of = jax.vmap(order_of, in_axes=(0, None))
    order_of = jax.jit(order_of)
    examples = jax.tree.map(jnp.asarray, examples)

    done = steps_done(state)
    order = None
    if totals is None:
        totals = no_totals(state, examples, objective=objective, optimizer=optimizer)
    so_far, zeros = totals, jax.tree.map(jnp.zeros_like, totals)
    while done < epochs * steps_per_epoch:
        epoch, start = divmod(done, steps_per_epoch)
        if order is None or start == 0:
            order = order_of(state.key, epoch)
        if start == 0:
            so_far = zeros
        stop = steps_per_epoch
        if chunk_steps is not None:
            stop = min(stop, start + chunk_steps - done % chunk_steps)
        state, so_far = loop(state, so_far, (examples, order), start, stop)
        done += stop - start
        yield Progress(state, so_far, epoch + 1, stop, steps_per_epoch)
