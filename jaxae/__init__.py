"""Autoencoders in JAX and Flax.

`load` returns the network that a run has trained; `UserError` is the error for wrong input. The
folders, such as `jaxae.models` and `jaxae.train`, are imported on first use.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

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
    from jaxae.network import Trained

__version__ = "0.1.0"

__all__ = [
    "UserError",
    "checkpoint",
    "convolutions",
    "data",
    "family",
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


def load(
    folder: str | Path, step: int | Literal["best"] | None = None, *, replica: int = 0
) -> Trained:
    """Loads the network that a run has trained: `encode`, `decode` and `reconstruct` of images.

    Args:
      folder: the run's folder.
      step: the step of a checkpoint, or "best" for the lowest test loss; by default the latest.
      replica: the replica to load, if the run has several.

    Raises `UserError` as `jaxae.runs.load` does.
    """
    from jaxae import runs

    return runs.load(folder, step, replica=replica)


def __getattr__(name: str) -> ModuleType | type[UserError]:
    if name == "UserError":
        return importlib.import_module("jaxae.errors").UserError
    if name in __all__:
        return importlib.import_module(f"jaxae.{name}")
    raise AttributeError(f"module 'jaxae' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
