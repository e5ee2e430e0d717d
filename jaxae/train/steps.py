"""One training step as a pure function of a state, and what an objective gives it.

An objective maps variables, a key and a batch to the loss of each example; a step averages it with
the batch's true weights, differentiates, and updates. A guarded step that is not finite changes
nothing but the counts of steps.
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
from jax import Array

from jaxae.errors import UserError
from jaxae.train.batches import Batch, order_and_noise_keys

Variables = Mapping[str, Any]
"""What a Linen `model.init` returns: {"params": ...} and any collections without a gradient."""

Metrics = dict[str, Array]

RESERVED = ("loss", "weight", "skipped_steps")
"""The names under which a step reports, besides the objective's metrics, sums of its own."""


@struct.dataclass
class Terms:
    """What an objective returns; whatever is per example is averaged with the batch's weights."""

    loss: Array  # [B], or a scalar where the loss is not a mean over examples
    metrics: Metrics = struct.field(default_factory=dict)  # name (not of RESERVED) to [B] or scalar
    collections: Variables = struct.field(default_factory=dict)  # new values of the state's


Objective = Callable[[Variables, Array, Batch], Terms]
"""From variables, a key and a batch to terms; the key may go unused.

What mixes the examples of a batch must leave out those of weight 0. A schedule can count steps in a
collection of its own, which it returns updated; evaluation then reads the count that training left.
"""

MeanLoss = Callable[[Any], tuple[Array, Terms]]
"""From parameters to the mean loss of a batch, and the terms that it is made of."""


@struct.dataclass
class State:
    """Everything a training step changes or reads; with replicas, each leaf has a leading axis."""

    params: Any  # the pytree that has a gradient
    collections: dict[str, Any]  # Linen's others, without a gradient: a codebook; often empty
    optimizer_state: optax.OptState
    step: Array  # int32 scalar, the number of steps taken
    key: Array  # typed PRNG key, the same for the whole run
    skipped: Array  # int32 scalar, how many steps in a row, up to now, were not finite


def init(key: Array, variables: Variables, optimizer: optax.GradientTransformation) -> State:
    """The state before the first step.

    Variables are what `model.init` returns, {"params": ...} and other collections; the typed PRNG
    key is that of the whole run.
    """
    if "params" not in variables:
        raise UserError('variables without "params" were given: give {"params": parameters}')
    others = {name: value for name, value in variables.items() if name != "params"}
    params = variables["params"]
    zero = jnp.zeros((), jnp.int32)
    return State(params, others, optimizer.init(params), zero, key, zero)


def variables_of(state: State) -> Variables:
    """What an objective and `model.apply` take."""
    return {"params": state.params, **state.collections}


def take_step(
    state: State,
    batch: Batch,
    *,
    objective: Objective,
    optimizer: optax.GradientTransformation,
    guarded: bool = True,
) -> tuple[State, Metrics]:
    """One update; the metrics are sums over the batch's examples, and "weight", their number.

    Where the loss, its gradient, the update or a collection is NaN or infinite nothing of it is
    applied, the batch counts for nothing in the metrics, and 1 in "skipped_steps". Without the
    guard, which costs a dense network a tenth of its speed on a CPU, all is applied.
    """
    mean_loss = next_loss(state, batch, objective=objective)
    (loss, terms), gradient = jax.value_and_grad(mean_loss, has_aux=True)(state.params)
    extra = extra_arguments(optimizer, loss, gradient, mean_loss)
    updates, optimizer_state = optimizer.update(
        gradient, state.optimizer_state, state.params, **extra
    )
    new_state = replace(
        state,
        params=optax.apply_updates(state.params, updates),
        collections={**state.collections, **terms.collections},
        optimizer_state=optimizer_state,
        skipped=jnp.zeros_like(state.skipped),
    )
    totals = {**sums(terms, batch.weights), "skipped_steps": jnp.zeros(())}
    if guarded:
        finite = all_finite((loss, gradient, updates, terms.collections))
        skipped = replace(state, skipped=state.skipped + 1)
        new_state = select(finite, new_state, skipped)
        nothing = {**jax.tree.map(jnp.zeros_like, totals), "skipped_steps": jnp.ones(())}
        totals = select(finite, totals, nothing)
    return replace(new_state, step=state.step + 1), totals


def all_finite(tree: Any) -> Array:
    """Whether no float in a pytree is NaN or infinite, a boolean scalar."""
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.floating)]
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in floats]).all()


def extra_arguments(
    optimizer: optax.GradientTransformation, loss: Array, gradient: Any, mean_loss: MeanLoss
) -> dict[str, Any]:
    """What an optimizer's update takes besides gradient, state and parameters, as optax names it.

    That is the step's loss, its gradient, and the loss of the same batch and noise as a function of
    the parameters: for a line search, say. Most optimizers take none of them.
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
) -> tuple[tuple[Array, Terms], Any]:
    """The mean loss of the state's next step, the objective's terms, and the loss's gradient."""
    mean_loss = next_loss(state, batch, objective=objective)
    return jax.value_and_grad(mean_loss, has_aux=True)(state.params)


def next_loss(state: State, batch: Batch, *, objective: Objective) -> MeanLoss:
    """The mean loss of the state's next step as a function of its parameters."""
    _, noise_key = order_and_noise_keys(state.key)
    step_key = jax.random.fold_in(noise_key, state.step)

    def mean_loss(params: Any) -> tuple[Array, Terms]:
        terms = terms_of(objective, {"params": params, **state.collections}, step_key, batch)
        return weighted_mean(terms.loss, batch.weights), terms

    return mean_loss


def terms_of(objective: Objective, variables: Variables, key: Array, batch: Batch) -> Terms:
    """An objective's terms; UserError for shapes that are no batch's, and for names that clash.

    Shapes and names are known while JAX traces, so that compiled programs check nothing.
    """
    terms = objective(variables, key, batch)
    if not isinstance(terms, Terms):
        raise UserError(
            f"the objective returned {type(terms).__name__}: return train.Terms, with the loss of "
            "each example"
        )
    for name in terms.metrics:
        if name in RESERVED:
            raise UserError(
                f"the objective returned a metric called {name}: a step reports "
                f"{', '.join(RESERVED)} itself; give the metric another name"
            )
    size = batch.weights.shape[0]
    for name, value in {"loss": terms.loss, **terms.metrics}.items():
        if jnp.shape(value) not in ((), (size,)):
            raise UserError(
                f"the objective returned {name} of shape {list(jnp.shape(value))} for a batch of "
                f"{size}: return one number for each example, [{size}], or one for all, []; sum or "
                "average over the other axes"
            )
    unknown = sorted(terms.collections.keys() - (variables.keys() - {"params"}))
    if unknown:
        raise UserError(
            f"the objective returned a collection called {unknown[0]}, which the state does not "
            "hold: give its first value to train.init, among the variables"
        )
    return terms


def select(condition: Array, tree: Any, other: Any) -> Any:
    """The first of two trees where a scalar condition holds, else the second."""
    return jax.tree.map(partial(jnp.where, condition), tree, other)


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
    """Means from sums and their weight; the count of skipped steps stays what it is."""
    return {
        name: value if name == "skipped_steps" else value / totals["weight"]
        for name, value in totals.items()
        if name != "weight"
    }
