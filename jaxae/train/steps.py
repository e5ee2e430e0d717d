"""One training step as a pure function of a state.

A step averages an objective's loss with the batch's weights, differentiates, and updates. A guarded
step that is not finite changes only the counts of steps.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array, lax
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Key

from jaxae.errors import UserError
from jaxae.train.batches import Batch, lists_to_arrays, order_and_noise_keys
from jaxae.train.terms import (
    Metrics,
    Objective,
    Terms,
    Variables,
    sums,
    training_terms_of,
    weighted_mean,
)
from jaxae.train.tiles import ByExample, check_by_example, in_tiles, tile_count

NUMBERS = "numbers"
"""Name of the collection with the numbers of a fit that a compiled program takes as values."""

_MeanLoss = Callable[[Any], tuple[Array, Terms]]
"""A function from parameters to the mean loss of a batch and the objective's terms."""


@struct.dataclass
class State:
    """Everything that a training step reads or changes; with replicas, leaves have a leading axis.

    Attributes:
      params: pytree of float arrays, the parameters that have a gradient.
      collections: Linen's other collections by name, without a gradient, such as a codebook; often
        empty.
      optimizer_state: the state of the optax optimizer.
      step: int32 scalar, the number of steps taken.
      key: typed PRNG key, the same for the whole run.
      skipped: int32 scalar, the number of non-finite steps in a row up to the latest step.
    """

    params: Any
    collections: dict[str, Any]
    optimizer_state: optax.OptState
    step: Array
    key: Array
    skipped: Array


def init(
    key: Key[Array, ""], variables: Variables, optimizer: optax.GradientTransformation
) -> State:
    """Returns the state before the first step.

    The typed PRNG key serves the whole run. Variables are {"params": ...} and any other
    collections, as `model.init` returns them. Raises `UserError` without "params".
    """
    if "params" not in variables:
        raise UserError('variables without "params" were given: give {"params": parameters}')
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    zero = jnp.zeros((), jnp.int32)
    return State(params, others, optimizer.init(params), zero, key, zero)


def with_numbers(state: State, numbers: Mapping[str, Float[ArrayLike, "*replicas"]]) -> State:
    """Returns a state whose collection "numbers" has these, as float32, [R] with R replicas.

    Objectives find them in the variables. One called learning_rate is given to the optimizer's
    update, as an argument of that name. No numbers change nothing.
    """
    if not numbers:
        return state
    arrays = {
        name: jnp.broadcast_to(jnp.asarray(number, jnp.float32), state.step.shape)
        for name, number in numbers.items()
    }
    return replace(state, collections={**state.collections, NUMBERS: arrays})


def without_numbers(state: State) -> State:
    """Returns a state without the collection that `with_numbers` adds."""
    others = {name: value for name, value in state.collections.items() if name != NUMBERS}
    return replace(state, collections=others)


def variables_of(state: State) -> Variables:
    """Returns the variables of a state, as objectives and `model.apply` take them."""
    return {"params": state.params, **state.collections}


def take_step(
    state: State,
    batch: Batch,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    guarded: bool = True,
) -> tuple[State, Metrics]:
    """Takes one step; the metrics are sums over the batch's examples, and "weight", their number.

    A step is not finite if its loss, gradient, update or a collection is NaN or infinite. With the
    guard, a non-finite step is discarded, left out of the metrics, and counted in "skipped_steps".
    The guard costs a dense network a tenth of its speed on a CPU.
    """
    batch = lists_to_arrays(batch)
    (loss, terms), gradient = loss_and_gradient(state, batch, objective=objective)
    mean_loss = _next_loss(state, batch, objective=objective)
    extra = _extra_arguments(optimizer, loss, gradient, mean_loss)
    extra |= _learning_rate(state)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
        updates, optimizer_state = optimizer.update(
            gradient, state.optimizer_state, state.params, **extra
        )
        params = optax.apply_updates(state.params, updates)
    new_state = replace(
        state,
        params=params,
        collections={**state.collections, **terms.collections},
        optimizer_state=optimizer_state,
        skipped=jnp.zeros_like(state.skipped),
    )
    totals = totals_of(terms, batch)
    if guarded:
        finite = all_finite((loss, gradient, updates, terms.collections))
        skipped = replace(state, skipped=state.skipped + 1)
        new_state = _select(finite, new_state, skipped)
        nothing = {**jax.tree.map(jnp.zeros_like, totals), "skipped_steps": jnp.ones(())}
        totals = _select(finite, totals, nothing)
    return replace(new_state, step=state.step + 1), totals


def totals_of(terms: Terms, batch: Batch) -> Metrics:
    """Returns a finite step's sums over the batch's examples, "weight" and "skipped_steps"."""
    return {**sums(terms, batch.weights), "skipped_steps": jnp.zeros(())}


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Returns whether all floats in a pytree are finite."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def _extra_arguments(
    optimizer: optax.GradientTransformation, loss: Array, gradient: Any, mean_loss: _MeanLoss
) -> dict[str, Any]:
    """Returns the extra arguments that an optimizer's update takes, under optax's names.

    They are the step's loss, its gradient, and the loss of the same batch and noise as a function
    of the parameters, for a line search. Most optimizers take none of them.
    """

    def value_fn(params: Any) -> Array:
        return mean_loss(params)[0]

    known = {"value": loss, "grad": gradient, "value_fn": value_fn}
    taken = inspect.signature(optimizer.update).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in taken.values()):
        return known
    return {name: value for name, value in known.items() if name in taken}


def loss_and_gradient(
    state: State, batch: Batch, *, objective: Objective
) -> tuple[tuple[Float[Array, ""], Terms], Any]:
    """Returns the mean loss and the terms of the state's next step, and the loss's gradient.

    On a CPU, a large batch of a `ByExample` objective is split into tiles.
    """
    batch = lists_to_arrays(batch)
    at_once = partial(_at_once, objective=objective)
    count = tile_count(batch.weights.shape[0]) if isinstance(objective, ByExample) else 1
    if count == 1:
        return at_once(state, batch)
    by_tiles = partial(_by_tiles, objective=objective, count=count)
    return lax.platform_dependent(state, batch, cpu=by_tiles, default=at_once)


def _at_once(
    state: State, batch: Batch, *, objective: Objective
) -> tuple[tuple[Float[Array, ""], Terms], Any]:
    """Computes `loss_and_gradient` of the whole batch."""
    mean_loss = _next_loss(state, batch, objective=objective)
    return jax.value_and_grad(mean_loss, has_aux=True)(state.params)


def _by_tiles(
    state: State, batch: Batch, *, objective: Objective, count: int
) -> tuple[tuple[Float[Array, ""], Terms], Any]:
    """Computes `loss_and_gradient` in `count` tiles."""
    whole = jnp.sum(batch.weights)

    def loss_of(params: Any, tile: Batch) -> tuple[Array, Terms]:
        return _next_loss(state, tile, objective=objective, whole=whole)(params)

    return in_tiles(loss_of, state.params, batch, count)


def _learning_rate(state: State) -> dict[str, Any]:
    """Returns the learning rate among a state's numbers as an extra argument, if there is one."""
    numbers = state.collections.get(NUMBERS, {})
    return {name: value for name, value in numbers.items() if name == "learning_rate"}


def _next_loss(
    state: State, batch: Batch, *, objective: Objective, whole: Array | None = None
) -> _MeanLoss:
    """Returns the `weighted_mean` loss of the state's next step as a function of the parameters."""

    def mean_loss(params: Any) -> tuple[Array, Terms]:
        terms = next_terms(replace(state, params=params), batch, objective=objective)
        return weighted_mean(terms.loss, batch.weights, whole), terms

    return mean_loss


def next_terms(state: State, batch: Batch, *, objective: Objective) -> Terms:
    """Returns the objective's terms in the state's next step."""
    _, noise_key = order_and_noise_keys(state.key)
    step_key = jax.random.fold_in(noise_key, state.step)
    terms = training_terms_of(objective, variables_of(state), step_key, batch)
    if isinstance(objective, ByExample):
        check_by_example(terms, batch.weights.shape[0])
    return terms


def _select(condition: Bool[Array, ""], tree: Any, other: Any) -> Any:
    """Returns the first of two trees if the condition holds, else the second."""
    return jax.tree.map(partial(jnp.where, condition), tree, other)
