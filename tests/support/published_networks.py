"""Facts about each published network."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from jaxae import models
from jaxae.models import Shape


class PublishedNetwork(NamedTuple):
    """Facts about a published network, for images of 28x28x1 and its default code size."""

    make: Callable[..., nn.Module]
    parameters: int
    code: tuple[int, ...]
    path: str  # shapes between layers, without repetitions
    activations: str  # after each layer but the last: (R)eLU, (L)eakyReLU 0.3, (I)dentity
    framework: str  # whose default initialization it uses
    works: tuple[Shape, ...]  # other image shapes that it reproduces
    fails: tuple[Shape, ...]  # image shapes that it does not reproduce


_ANY = ((5, 7, 3), (32, 32, 3), (1, 1, 1), (30,))


NETWORKS = {
    "fashion": PublishedNetwork(
        models.fashion, 473_636, (20,), "784 256 128 20 128 256 784", "RRIRR", "keras", _ANY, ()
    ),
    "denoise": PublishedNetwork(
        models.denoise,
        4_385,
        (4, 4, 8),
        "28x28x1 28x28x16 14x14x16 14x14x8 7x7x8 4x4x8 8x8x8 16x16x8 14x14x16 28x28x16 28x28x1",
        "RRRRRR",
        "keras",
        ((32, 32, 3), (20, 12, 1), (8, 16, 1), (30, 45, 3), (28, 32, 1), (28, 27, 1), (1, 1, 1)),
        (),
    ),
    "latent2d": PublishedNetwork(
        models.latent2d,
        200_963,
        (2,),
        "28x28x1 28x28x32 14x14x64 7x7x64 3136 2 3136 7x7x64 14x14x64 28x28x32 28x28x1",
        "LLLLIILLL",
        "keras",
        ((8, 12, 3), (32, 32, 3), (30, 28, 1), (27, 27, 1), (30, 45, 3), (1, 1, 1)),
        (),
    ),
    "latent3d": PublishedNetwork(
        models.latent3d,
        219_891,
        (3,),
        "784 128 64 12 3 12 64 128 784",
        "RRRIRRR",
        "pytorch",
        _ANY,
        (),
    ),
    "conv": PublishedNetwork(
        models.conv,
        5_729,
        (2, 2, 8),
        "28x28x1 10x10x16 5x5x16 3x3x8 2x2x8 5x5x16 15x15x8 28x28x1",
        "RRRR",
        "pytorch",
        ((28, 40, 3), (16, 16, 1)),
        ((32, 32, 3), (4, 4, 1)),
    ),
    "deep": PublishedNetwork(
        models.deep, 770_084, (196,), "784 392 196 392 784", "RRR", "lecun", _ANY, ()
    ),
    "vae": PublishedNetwork(
        models.vae, 815_824, (20,), "784 500 40 20 500 784", "RIR", "lecun", _ANY, ()
    ),
}  # fmt: skip


every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS.keys())


MNIST = (28, 28, 1)


def some_variables(model: nn.Module, shape: Shape = MNIST) -> dict[str, Any]:
    """Returns random variables of a network, scaled to keep its activations near 1."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *shape)))

    def values(leaf: jax.ShapeDtypeStruct) -> Array:
        scale = math.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return jnp.asarray(scale * random.normal(size=leaf.shape), jnp.float32)

    return jax.tree.map(values, dict(shapes))
