"""Autoencoders in JAX and Flax.

`fit` trains a run on data of one's own, and `load` returns one that has trained; `UserError` is
raised for wrong input. These and the folders, such as `jaxae.models`, are imported on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jaxae import (
        checkpoint,
        convolutions,
        data,
        family,
        latents,
        likelihoods,
        losses,
        metrics,
        models,
        network,
        objectives,
        plots,
        priors,
        runs,
        train,
    )
    from jaxae.errors import UserError
    from jaxae.fitting import TrainedRun, fit, load

__version__ = "0.1.0"

__all__ = [
    "TrainedRun",
    "UserError",
    "checkpoint",
    "convolutions",
    "data",
    "family",
    "fit",
    "latents",
    "likelihoods",
    "load",
    "losses",
    "metrics",
    "models",
    "network",
    "objectives",
    "plots",
    "priors",
    "runs",
    "train",
]


_PLACES = {
    "TrainedRun": "jaxae.fitting",
    "UserError": "jaxae.errors",
    "fit": "jaxae.fitting",
    "load": "jaxae.fitting",
}
"""The modules of what is no module itself."""


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(importlib.import_module(_PLACES[name]), name)
    if name in __all__:
        return importlib.import_module(f"jaxae.{name}")
    raise AttributeError(f"module 'jaxae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
