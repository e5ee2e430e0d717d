"""Checks of what `fit` is given to train: a member of the family, or parts of the user's own."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import flax.linen as nn
import optax

from jaxae import family
from jaxae.commands import optimizers
from jaxae.errors import UserError


def check_member(name: str, parts: Sequence[str]) -> None:
    """Raises `UserError` for an unknown member, and for parts that a member makes itself."""
    if name not in family.FAMILY:
        nearest = difflib.get_close_matches(name, family.FAMILY, n=1)
        hint = f"did you mean {nearest[0]}? the members are" if nearest else "give one of"
        raise UserError(
            f"no member of the family is called {name!r}: {hint} {', '.join(family.FAMILY)}"
        )
    if "optimizer" in parts:
        raise UserError(
            f"an optimizer was given with the member {name}, which takes the name of one: give "
            f"{' or '.join(get_args(optimizers.OptimizerName))}, or an objective of your own"
        )
    if parts:
        raise UserError(
            f"{parts[0]} was given with the member {name}, which has its own: leave it out, or "
            "give an objective of your own, such as functools.partial(jaxae.objectives."
            "reconstruction, network=jaxae.network.Network(model, likelihood))"
        )


def check_objective(objective: Any) -> None:
    """Raises `UserError` unless an objective of the user's own can be called."""
    if not callable(objective) or isinstance(objective, type | nn.Module):
        raise UserError(
            f"an objective of type {type(objective).__name__} was given: give a member's name, "
            "such as 'vae', or a function (variables, key, batch) -> jaxae.train.Terms"
        )


def check_optimizer(
    optimizer: Any, options: Mapping[str, Any]
) -> optax.GradientTransformation | None:
    """Returns the optimizer for an objective of the user's own, None for Adam.

    Raises `UserError` if it is not optax's, or if another rate is given too.
    """
    if optimizer is None:
        return None
    if isinstance(optimizer, str):
        raise UserError(
            f"the optimizer {optimizer!r} was given by its name, as for the members of the family, "
            "and this objective is your own: give one of optax's, such as optax.adam(1e-3)"
        )
    if not isinstance(optimizer, optax.GradientTransformation):
        raise UserError(
            f"an optimizer of type {type(optimizer).__name__} was given: give one of optax's, such "
            "as optax.adam(1e-3)"
        )
    if "learning_rate" in options:
        raise UserError(
            "learning_rate is Adam's, and an optimizer was given: give the rate to the optimizer, "
            "and leave learning_rate out"
        )
    return optimizer
