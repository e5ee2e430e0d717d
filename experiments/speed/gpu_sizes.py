"""The sizes that gpu.py measures, and its images."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from experiment_files import default_workload
from jaxae import data, family
from speed_workloads import CHUNKS

RECIPES = ("fashion", "latent3d", "deep", "denoise", "latent2d", "conv")


@dataclass(frozen=True)
class Sizes:
    """The networks to measure, and the sizes of each part."""

    recipes: tuple[str, ...] = RECIPES
    members: tuple[str, ...] = tuple(family.FAMILY)
    recipe_losses: int = 20
    member_losses: int = 3
    chunk: int = 500  # steps that are timed together
    pairs: int = 5  # chunks of jaxae and of PyTorch, in turns
    images: int = 60_000
    epochs: int = 100  # of Fashion-MNIST
    growing: tuple[str, ...] = ("fashion", "conv")
    replicas: tuple[int, ...] = (1, 8, 64)
    batches: tuple[int, ...] = (512, 1024, 2048, 4096, 8192, 16_384)
    memory_replicas: int = 64


TINY = Sizes(
    recipes=("fashion",),
    members=("iwae", "rae-gp"),
    recipe_losses=3,
    member_losses=2,
    chunk=2,
    pairs=2,
    images=2_000,
    epochs=2,
    growing=("fashion",),
    replicas=(1, 2),
    batches=(1024,),
    memory_replicas=2,
)


def only(sizes: Sizes, networks: Collection[str]) -> Sizes:
    """Returns the sizes with only these networks."""

    def chosen(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name in networks)

    return replace(
        sizes,
        recipes=chosen(sizes.recipes),
        members=chosen(sizes.members),
        growing=chosen(sizes.growing),
    )


def tiled(count: int, dataset: str = "mnist_mini", split: str = "train") -> np.ndarray:
    """Returns `count` bundled images, uint8 [count, 28, 28, 1], repeated if there are fewer."""
    images = getattr(data.load(dataset), split).images
    return np.resize(images, (count, *images.shape[1:]))


def image_count(recipe: str, sizes: Sizes) -> int:
    """Returns a recipe's number of images without those of an incomplete last batch.

    With one batch size PyTorch compiles once, and all parts share JAX's compiled programs.
    """
    workload = default_workload(recipe, CHUNKS)
    count = min(sizes.images, workload.images)
    return count // workload.batch_size * workload.batch_size
