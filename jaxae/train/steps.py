"""One training step as a pure function of a state, and the objectives that it minimizes.

An objective maps variables, a key and a batch to the loss of each example. A step averages it with
the batch's weights, differentiates, and updates. A guarded step that is not finite changes only the
counts of steps.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct
from jax import Array
from jaxtyping import Bool, Float, Key, Num

from jaxae.errors import UserError
from jaxae.train.batches import Batch, lists_to_arrays, order_and_noise_keys

Variables = Mapping[str, Any]
"""{"params": ...} and any collections without a gradient, as a Linen `model.init` returns them."""

Metrics = dict[str, Array]
"""Names to numbers: [B] or scalars in `Terms`, and scalars, or [R] with R replicas, elsewhere."""

RESERVED = ("loss", "weight", "skipped_steps")
"""Names of the sums that a step adds to the objective's metrics, which must not use them."""


@struct.dataclass
class Terms:
    """The result of an objective; values per example are averaged with the batch's weights.

    An objective is a function `(variables, key, batch) -> Terms`; see `Objective`.

    Attributes:
      loss: float [B], or a scalar if the loss is not a mean over examples.
      metrics: from names to floats [B] or scalars; the names "loss", "weight" and "skipped_steps"
        are reserved for the step.
      collections: new values of the state's collections, by name; others keep their values.
    """

    loss: Array
    metrics: Metrics = struct.field(default_factory=dict)
    collections: Variables = struct.field(default_factory=dict)


@runtime_checkable
class Objective(Protocol):
    """A function `(variables, key, batch) -> Terms`, which training minimizes.

    A plain function or a `functools.partial` is an objective; there is nothing to subclass.
    Computations that mix the examples of a batch must leave out those of weight 0. A schedule can
    count steps in a collection and return it updated; evaluation reads the count after training.
    """

    def __call__(self, variables: Variables, key: Key[Array, ""], batch: Batch, /) -> Terms:
        """Returns the loss of each example, metrics, and new values of collections.

        Args:
          variables: {"params": ...} and the state's other collections.
          key: typed PRNG key, different at each step; may be ignored.
          batch: B examples, of which padding has weight 0.
        """
        ...


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
    mean_loss = _next_loss(state, batch, objective=objective)
    (loss, terms), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    extra = _extra_arguments(optimizer, loss, gradient, mean_loss)
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
    totals = {**sums(terms, batch.weights), "skipped_steps": jnp.zeros(())}
    if guarded:
        finite = all_finite((loss, gradient, updates, terms.collections))
        skipped = replace(state, skipped=state.skipped + 1)
        new_state = _select(finite, new_state, skipped)
        nothing = {**jax.tree.map(jnp.zeros_like, totals), "skipped_steps": jnp.ones(())}
        totals = _select(finite, totals, nothing)
    return replace(new_state, step=state.step + 1), totals


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
    """Returns the mean loss and the terms of the state's next step, and the loss's gradient."""
    batch = lists_to_arrays(batch)
    mean_loss = _next_loss(state, batch, objective=objective)
    return jax.value_and_grad(mean_loss, has_aux=True)(state.params)


def _next_loss(state: State, batch: Batch, *, objective: Objective) -> _MeanLoss:
    """Returns the mean loss of the state's next step as a function of the parameters."""
    _, noise_key = order_and_noise_keys(state.key)
    step_key = jax.random.fold_in(noise_key, state.step)

    def mean_loss(params: Any) -> tuple[Array, Terms]:
        terms = terms_of(objective, {"params": params, **state.collections}, step_key, batch)
        return weighted_mean(terms.loss, batch.weights), terms

    return mean_loss


def terms_of(
    objective: Objective, variables: Variables, key: Key[Array, ""], batch: Batch
) -> Terms:
    """Returns an objective's terms; raises `UserError` for wrong types, shapes and names.

    Types, shapes and names are known while JAX traces, so compiled programs check nothing.
    """
    terms = objective(variables, key, batch)
    if not isinstance(terms, Terms):
        raise UserError(
            f"the objective returned {_kind(terms)}: return train.Terms(loss), with the loss of "
            "each example [B]"
        )
    for field in ("metrics", "collections"):
        given = getattr(terms, field)
        if not isinstance(given, Mapping):
            raise UserError(
                f"the objective returned {_kind(given)} as {field}: return a dict from names to "
                "values"
            )
    for name in terms.metrics:
        if not isinstance(name, str):
            raise UserError(
                f"the objective returned a metric called {name!r}: give metrics names of text"
            )
        if name in RESERVED:
            raise UserError(
                f"the objective returned a metric called {name}: a step reports "
                f"{', '.join(RESERVED)} itself; give the metric another name"
            )
    size = batch.weights.shape[0]
    for name, value in {"loss": terms.loss, **terms.metrics}.items():
        if not (hasattr(value, "shape") or isinstance(value, int | float)):
            raise UserError(
                f"the objective returned {_kind(value)} as {name}: return an array with one number "
                f"for each example, [{size}], or one for all, []; jnp.stack makes one of a list"
            )
        dtype = value.dtype if hasattr(value, "dtype") else jnp.result_type(value)
        if not (jnp.issubdtype(dtype, np.floating) or jnp.issubdtype(dtype, np.integer)):
            raise UserError(f"the objective returned {name} of type {dtype}: return real numbers")
        if jnp.shape(value) not in ((), (size,)):
            raise UserError(
                f"the objective returned {name} of shape {list(jnp.shape(value))} for a batch of "
                f"{size}: return one number for each example, [{size}], or one for all, []; sum or "
                "average over the other axes"
            )
    if "params" in terms.collections:
        raise UserError(
            "the objective returned params among the collections: only the optimizer updates them"
        )
    unknown = sorted(map(str, terms.collections.keys() - variables.keys()))
    if unknown:
        raise UserError(
            f"the objective returned a collection called {unknown[0]}, which the state does not "
            "hold: give its initial value to train.init, among the variables"
        )
    return terms


def _kind(value: Any) -> str:
    """Returns "an array", which may be traced, or the name of another type."""
    return "an array" if isinstance(value, Array | np.ndarray) else type(value).__name__


def _select(condition: Bool[Array, ""], tree: Any, other: Any) -> Any:
    """Returns the first of two trees if the condition holds, else the second."""
    return jax.tree.map(partial(jnp.where, condition), tree, other)


def weighted_mean(values: Num[Array, "..."], weights: Float[Array, " batch"]) -> Float[Array, ""]:
    """Returns the weighted mean of values [B] or of a scalar."""
    total = _weighted_sum(values, weights)
    return total / jnp.sum(weights).astype(total.dtype)


def _weighted_sum(values: Num[Array, "..."], weights: Float[Array, " batch"]) -> Float[Array, ""]:
    """Returns the weighted sum of values [B] of any dtype, or of a scalar."""
    with jax.numpy_dtype_promotion("standard"):  # an objective may count, or compute in float64
        return jnp.sum(jnp.broadcast_to(values, weights.shape) * weights)


def sums(terms: Terms, weights: Float[Array, " batch"]) -> Metrics:
    """Sums the loss and the metrics over a batch with its weights; also returns the weight."""
    named = {"loss": terms.loss, **terms.metrics}
    totals = {
        name: _weighted_sum(jax.lax.stop_gradient(value), weights) for name, value in named.items()
    }
    return {**totals, "weight": jnp.sum(weights)}


def averages(totals: Metrics) -> Metrics:
    """Divides sums by their weight; leaves the count of skipped steps unchanged."""
    return {
        name: value if name == "skipped_steps" else value / totals["weight"].astype(value.dtype)
        for name, value in totals.items()
        if name != "weight"
    }
