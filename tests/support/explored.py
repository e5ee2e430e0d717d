"""Untrained networks of the family, and pages of them, for tests of the explorer."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import data, evaluate, family, likelihoods
from jaxae.explore import Exploration, explore
from jaxae.models import Design, Shape
from jaxae.network import Network, Trained

CLASSES = 3
SMALL: dict[str, dict[str, Any]] = {
    "top-k": {"active": 3},
    "vq": {"codebook": 6, "dimension": 4},
    "fsq": {"levels": (4, 3)},
}


def untrained(
    member: str,
    shape: Shape,
    *,
    kind: Any = "dense",
    likelihood: str = "bernoulli",
    latent: int = 8,
    hidden: tuple[int, ...] | None = None,
) -> Trained:
    """Returns a network of a member with random variables, none of them zero."""
    chosen = likelihoods.named(likelihood)
    per_channel = chosen.logits_per_channel
    design = Design(shape, latent, kind, hidden, logits_per_channel=per_channel)
    settings = family.choose_settings(member, SMALL.get(member, {}))
    model = family.make_model(member, design, settings, classes=CLASSES)
    labels = () if member != "conditional" else (jnp.zeros(1, jnp.int32),)
    variables = model.init(jax.random.key(0), jnp.zeros((1, *shape)), *labels)
    generator = np.random.default_rng(1)

    def disturbed(leaf: jax.Array) -> jax.Array:
        return leaf + jnp.asarray(0.1 * generator.normal(size=leaf.shape), leaf.dtype)

    return Trained(Network(model, chosen), jax.tree.map(disturbed, variables))


def images_of(shape: Shape, count: int = 40) -> evaluate.Images:
    """Returns a dataset of random images with labels, as many of training as of test images."""
    generator = np.random.default_rng(0)

    def split() -> data.Split:
        pixels = generator.integers(0, 256, (count, *shape), np.uint8)
        return data.Split(pixels, np.arange(count, dtype=np.int32) % CLASSES)

    names = ("zero", "<one>", "two & a half")
    return evaluate.make_images(data.assemble("random", split(), split(), names), "none")


def exploration_of(trained: Trained, shape: Shape, count: int = 40) -> Exploration:
    """Returns the exploration of a network on random images."""
    return explore(trained, images_of(shape, count), title="A <b>run</b>", subtitle="2 epochs")
