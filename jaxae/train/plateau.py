"""A learning rate that is halved when the loss of tests stops falling."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Float

from jaxae.train.steps import State

FACTOR = 0.5
"""Factor of the learning rate at the end of a plateau."""

PATIENCE = 5
"""Losses in a row without a new low, after which the rate falls."""

# Any new low counts: a relative margin would take a rise of a negative loss for a fall, and optax
# asks for some margin.
_reduce = optax.contrib.reduce_on_plateau(factor=FACTOR, patience=PATIENCE, rtol=0.0, atol=1e-30)


class PlateauState(NamedTuple):
    """The state of `on_plateau`: a type of its own, so that optax's own plateaus are left alone.

    Attributes:
      plateau: an `optax.contrib.ReduceLROnPlateauState`.
    """

    plateau: Any


def on_plateau(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """Halves an optimizer's updates after each five losses in a row without a new low.

    The losses are those that `observe_loss` is given.
    """

    def init(params: Any) -> PlateauState:
        return PlateauState(_reduce.init(params))

    def scale(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        factor = jnp.asarray(state.plateau.scale)
        return jax.tree.map(lambda leaf: leaf * factor.astype(leaf.dtype), updates), state

    return optax.chain(optimizer, optax.GradientTransformation(init, scale))


def observe_loss(state: State, loss: Float[ArrayLike, "*replicas"]) -> State:
    """Returns a state whose optimizer, if made by `on_plateau`, has seen a loss [], or [R].

    NaN is no new low.
    """
    losses = jnp.asarray(loss, jnp.float32)

    def observe(node: PlateauState, loss: Array) -> PlateauState:
        _, plateau = _reduce.update({}, node.plateau, value=loss)
        return PlateauState(plateau)

    def observed(node: Any) -> Any:
        if not isinstance(node, PlateauState):
            return node
        with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
            return jax.vmap(observe)(node, losses) if losses.ndim else observe(node, losses)

    def is_plateau(node: Any) -> bool:
        return isinstance(node, PlateauState)

    optimizer_state = jax.tree.map(observed, state.optimizer_state, is_leaf=is_plateau)
    return replace(state, optimizer_state=optimizer_state)
