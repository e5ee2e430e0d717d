"""Objectives, the terms that they return, and means over a batch's examples.

An objective maps variables, a key and a batch to the loss of each example, and to metrics.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from flax.errors import ModifyScopeVariableError
from jax import Array
from jaxtyping import Float, Key, Num

from jaxae.errors import UserError
from jaxae.train.batches import Batch

Variables = Mapping[str, Any]
"""{"params": ...} and any collections without a gradient, as a Linen `model.init` returns them."""

Metrics = dict[str, Array]
"""Names to numbers: [B] or scalars in `Terms`, and scalars, or [R] with R replicas, elsewhere."""

RESERVED = ("loss", "weight", "skipped_steps")
"""Names of the sums that a step adds to the objective's metrics, which must not use them."""


_RETURNED = (
    'y, changed = model.apply(variables, x, mutable=["batch_stats"]), and return '
    "train.Terms(loss, metrics, changed)"
)


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


def training_terms_of(
    objective: Objective, variables: Variables, key: Key[Array, ""], batch: Batch
) -> Terms:
    """Returns an objective's terms as `terms_of` does, for a training step.

    Also raises `UserError` if the objective lets a Linen module change a collection of the
    variables, and does not return it.
    """
    changed: set[str] = set()

    def note_mutable(method: Callable, args: Any, kwargs: Any, context: Any) -> Any:
        scope = context.module.scope
        if scope is not None:
            changed.update(filter(scope.is_mutable_collection, variables))
        return method(*args, **kwargs)

    try:
        with nn.intercept_methods(note_mutable):
            terms = terms_of(objective, variables, key, batch)
    except ModifyScopeVariableError as error:
        said = str(error).partition(". ")[0]
        raise UserError(
            f"the objective applies a module that changes a collection ({said}): write {_RETURNED}"
        ) from error
    forgotten = sorted(changed - {"params"} - terms.collections.keys())
    if forgotten:
        name = forgotten[0]
        raise UserError(
            f"the objective lets a module change the collection {name}, and does not return it: "
            f"write {_RETURNED}; to keep it as it is, return "
            f'train.Terms(loss, metrics, {{"{name}": variables["{name}"]}})'
        )
    return terms


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


def weighted_mean(
    values: Num[Array, "..."],
    weights: Float[Array, " batch"],
    whole: Float[Array, ""] | None = None,
) -> Float[Array, ""]:
    """Returns the weighted mean of values [B] or of a scalar.

    Of a tile, give the weight of the whole batch; the results of its tiles then add up to its mean.
    """
    total = _weighted_sum(values, weights)
    weight = jnp.sum(weights) if whole is None else whole
    return total / weight.astype(total.dtype)


def _weighted_sum(values: Num[Array, "..."], weights: Float[Array, " batch"]) -> Float[Array, ""]:
    """Returns the weighted sum of values [B] of any dtype, or of a scalar.

    An example of weight 0 adds 0, even if its value is NaN or infinite.
    """
    with jax.numpy_dtype_promotion("standard"):  # an objective may count, or compute in float64
        counted = jnp.where(weights == 0, 0, jnp.broadcast_to(values, weights.shape))
        return jnp.sum(counted * weights)


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
