"""What a decoder's logits mean: how they become an image, and how they are compared with one."""

from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jax import Array

from jaxae import losses


@dataclass(frozen=True)
class Likelihood:
    """p(image | logits), as three pure functions."""

    scale: Callable[[Array], Array]  # pixels in [0, 1] to the range the network reads
    image: Callable[[Array], Array]  # logits [B, ...] to pixels in [0, 1], same shape
    loss: Callable[[Array, Array], Array]  # logits and scaled pixels [B, ...] to [B], summed


def unscaled(pixels: Array) -> Array:
    """Pixels in [0, 1] as they are."""
    return pixels


def symmetric(pixels: Array) -> Array:
    """Pixels in [0, 1] as [-1, 1]."""
    return 2 * pixels - 1


def bernoulli() -> Likelihood:
    """Independent Bernoulli pixels: sigmoid images, cross-entropy in nats."""
    return Likelihood(unscaled, nn.sigmoid, losses.bernoulli)


def gaussian_sigmoid() -> Likelihood:
    """Fixed-variance Gaussian about sigmoid(logits): the squared error of pixels in [0, 1]."""
    return Likelihood(
        unscaled, nn.sigmoid, lambda logits, x: losses.squared_error(nn.sigmoid(logits), x)
    )


def gaussian_tanh() -> Likelihood:
    """Fixed-variance Gaussian about tanh(logits): the squared error of pixels in [-1, 1]."""
    return Likelihood(
        symmetric,
        lambda logits: (nn.tanh(logits) + 1) / 2,
        lambda logits, x: losses.squared_error(nn.tanh(logits), x),
    )


def gaussian_relu() -> Likelihood:
    """Fixed-variance Gaussian about relu(logits): the squared error of pixels in [0, 1].

    The mean is not bounded above; the image is cut at 1.
    """
    return Likelihood(
        unscaled,
        lambda logits: jnp.clip(logits, 0, 1),
        lambda logits, x: losses.squared_error(nn.relu(logits), x),
    )
