"""The checker of types, shapes and dtypes in jaxae's signatures."""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, FrozenDict, beartype
from jax import Array

ANNOTATED = (
    "convolutions.products",
    "convolutions.windows",
    "losses",
    "likelihoods",
    "models",
    "objectives",
    "metrics",
    "latents",
    "priors",
)
"""The folders and files of jaxae whose signatures are checked."""

# A setting that is declared as a float may also be an int, or a scalar array under `jax.jit`.
_CHECKED = BeartypeConf(hint_overrides=FrozenDict({float: int | float | Array}))


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a function check its annotations, except for the methods of models and of pytrees.

    Flax calls modules' methods with placeholders, and JAX builds pytrees from them.
    """
    is_method = "." in function.__qualname__.rpartition("<locals>.")[2]
    if is_method and function.__module__.startswith("jaxae.models"):
        return function
    return beartype(conf=_CHECKED)(function)
