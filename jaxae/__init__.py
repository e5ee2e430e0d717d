"""Autoencoders in JAX and Flax."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from jaxae.network import Trained

__version__ = "0.1.0"


def load(
    folder: str | Path, step: int | Literal["best"] | None = None, *, replica: int = 0
) -> Trained:
    """The network that a run has trained: `jaxae.runs.load`, which is imported only here."""
    from jaxae import runs

    return runs.load(folder, step, replica=replica)
