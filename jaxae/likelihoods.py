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


def tanh_image(logits: Array) -> Array:
    """tanh(logits), moved from [-1, 1] to [0, 1]."""
    return (nn.tanh(logits) + 1) / 2


def clipped(logits: Array) -> Array:
    """relu(logits), cut at 1."""
    return jnp.clip(logits, 0, 1)


def sigmoid_error(logits: Array, pixels: Array) -> Array:
    """Squared error of sigmoid(logits), [B, ...] to [B]."""
    return losses.squared_error(nn.sigmoid(logits), pixels)


def tanh_error(logits: Array, pixels: Array) -> Array:
    """Squared error of tanh(logits), [B, ...] to [B]."""
    return losses.squared_error(nn.tanh(logits), pixels)


def relu_error(logits: Array, pixels: Array) -> Array:
    """Squared error of relu(logits), [B, ...] to [B]."""
    return losses.squared_error(nn.relu(logits), pixels)


# Independent Bernoulli pixels: cross-entropy in nats.
BERNOULLI = Likelihood(unscaled, nn.sigmoid, losses.bernoulli)

# Gaussians of fixed variance about an activation: squared errors, of pixels in [0, 1], [-1, 1] and
# [0, 1] with a mean that may exceed 1.
GAUSSIAN_SIGMOID = Likelihood(unscaled, nn.sigmoid, sigmoid_error)
GAUSSIAN_TANH = Likelihood(symmetric, tanh_image, tanh_error)
GAUSSIAN_RELU = Likelihood(unscaled, clipped, relu_error)

BY_NAME = {
    "bernoulli": BERNOULLI,
    "gaussian_sigmoid": GAUSSIAN_SIGMOID,
    "gaussian_tanh": GAUSSIAN_TANH,
    "gaussian_relu": GAUSSIAN_RELU,
}
