"""The recipes that the page of results shows, and the figures of the same ones in PyTorch."""

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jaxae import files
from jaxae.files import Count


@dataclass(frozen=True)
class Wanted:
    """A recipe as the page shows it."""

    name: str  # of the run's folder
    experiment: str
    arguments: str = ""
    peer: str | None = None  # name of the same recipe in PyTorch
    source: str = ""  # what the source prints for its own run


RECIPES = {
    wanted.name: wanted
    for wanted in (
        Wanted("fashion", "fashion", peer="fashion"),
        Wanted("denoise", "denoise", "--fixed-noise", peer="denoise"),
        Wanted("denoise-fresh", "denoise"),
        Wanted("latent2d", "latent2d", peer="latent2d"),
        Wanted(
            "latent3d",
            "latent3d",
            peer="latent3d",
            source="loss 109.05, 95.47, 89.84, 107.56, 92.21 at epochs 20, 40, 60, 80, 100, each "
            "of the last training batch only",
        ),
        Wanted(
            "conv",
            "conv",
            peer="conv",
            source="loss 101.23, 86.24 at epochs 20, 40, each of the last training batch only",
        ),
        Wanted("deep", "deep", peer="deep"),
        Wanted(
            "vae",
            "vae",
            source="test loss near 104 nats after 10 epochs, on statically binarized MNIST "
            "(Flax's example of the same network)",
        ),
    )
}


def published_epochs(experiment: str) -> int:
    """Returns the epochs of an experiment's recipe, which are its default."""
    return importlib.import_module(experiment).Options().run.epochs


@dataclass(frozen=True)
class PeerFigures:
    """The figures of one training in PyTorch that the page shows."""

    dataset: str
    epochs: Count
    train_loss: float
    test_loss: float
    test_mse: float
    framework: str


Peers = Mapping[str, Sequence[PeerFigures]]
"""The figures of each recipe's seeds."""


def read_peers(path: Path) -> Peers:
    """Reads the figures of PyTorch; none without a file. Raises `UserError` if it is invalid."""
    if not path.exists():
        return {}
    values = files.read_json(path)
    try:
        seeds = files.convert(dict[str, dict[str, PeerFigures]], values, "it")
    except ValueError as error:
        raise files.unfit(path, error) from None
    return {recipe: tuple(each.values()) for recipe, each in seeds.items()}
