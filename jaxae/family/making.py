"""The networks and objectives of members, made by name from their settings."""

from collections.abc import Callable
from functools import partial
from typing import Any

import flax.linen as nn
from jax import Array

from jaxae.errors import UserError
from jaxae.family.members import Context
from jaxae.family.settings import Settings, fill_settings
from jaxae.family.table import FAMILY
from jaxae.models import Design
from jaxae.network import Network
from jaxae.train import NUMBERS, Batch, Objective, Terms, Variables


def choose_settings(name: str, given: Settings) -> dict[str, Any]:
    """Returns all settings of a member: those given, and the defaults of the others.

    Raises `UserError` for an unknown member, for a setting that the member does not have, and for a
    value out of range.
    """
    if name not in FAMILY:
        raise UserError(f"no objective is called {name}: choose one of {', '.join(FAMILY)}")
    return fill_settings(name, FAMILY[name].all_settings, given)


def make_model(name: str, design: Design, settings: Settings, *, classes: int) -> nn.Module:
    """Makes a member's network; `classes` is the number of classes of the dataset."""
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.model_settings}
    return member.make_model(design, classes, chosen)


def make_objective(name: str, network: Network, settings: Settings, *, images: int) -> Objective:
    """Makes a member's objective; `images` is the number of training images.

    Settings that may be any number are replaced by those of the same name in the variables'
    collection "numbers", if there is one.
    """
    member = FAMILY[name]
    chosen = {key: settings[key] for key in member.settings}

    def make(settings: Settings) -> Objective:
        return member.make_objective(Context(network, images, settings))

    usual = make(chosen)  # which raises an error that its network calls for
    if not numbers_of(name, settings):
        return usual
    return partial(_with_numbers, make=make, settings=chosen)


def numbers_of(name: str, settings: Settings) -> dict[str, float]:
    """Returns the settings of a member's objective that may be any number, and not only whole."""
    own = FAMILY[name].settings
    return {key: settings[key] for key, setting in own.items() if setting.kind is float}


def _with_numbers(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    make: Callable[[Settings], Callable[..., Terms]],
    settings: Settings,
    kl_weight: Array | None = None,
) -> Terms:
    """Applies the objective that is made with the settings, of which the variables have some."""
    given = variables.get(NUMBERS, {})
    objective = make({name: given.get(name, value) for name, value in settings.items()})
    if kl_weight is None:
        return objective(variables, key, batch)
    return objective(variables, key, batch, kl_weight=kl_weight)
