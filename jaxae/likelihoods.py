"""What a decoder's logits mean: how they become an image, and how they are compared with one."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array

from jaxae import losses
from jaxae.errors import UserError


@dataclass(frozen=True)
class Likelihood:
    """p(image | logits), as three pure functions.

    Logits have k numbers a channel: [B, ..., k C] for images [B, ..., C]. Where k is 2, the first C
    channels are for the means, and the last C for the spreads.
    """

    scale: Callable[[Array], Array]  # pixels in [0, 1] to the range the network reads
    image: Callable[[Array], Array]  # logits [B, ..., k C] to pixels [B, ..., C] in [0, 1]
    loss: Callable[[Array, Array], Array]  # logits and scaled pixels to [B], summed over pixels
    logits_per_channel: int = 1  # k
    normalized: bool = False  # the loss is -log p in nats, of a p that sums or integrates to one


def unscaled(pixels: Array) -> Array:
    """Pixels in [0, 1] as they are."""
    return pixels


def symmetric(pixels: Array) -> Array:
    """Pixels in [0, 1] as [-1, 1]."""
    return 2 * pixels - 1


# Activations and their squared errors.


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


# Densities with one logit a channel.


def continuous_bernoulli_mean(logits: Array) -> Array:
    """The mean of each pixel's density, which is nearer to 1/2 than sigmoid(logits) is.

    As in any exponential family, the mean is where the loss has no slope by the logit.
    """
    slope = jax.grad(lambda x: losses.continuous_bernoulli_log_normalizer(x).sum())(logits)
    return nn.sigmoid(logits) - slope


@dataclass(frozen=True)  # so that two of one standard deviation are equal, and compiled once
class GaussianLoss:
    """-log N(pixels; sigmoid(logits), standard_deviation^2) in nats, [B, ...] to [B]."""

    standard_deviation: float

    def __call__(self, logits: Array, pixels: Array) -> Array:
        log_variance = jnp.full_like(logits, 2 * math.log(self.standard_deviation))
        return losses.gaussian(nn.sigmoid(logits), log_variance, pixels)


def gaussian(standard_deviation: float) -> Likelihood:
    """Gaussian pixels of one fixed standard deviation, in units of pixels in [0, 1].

    UserError unless it is above zero and finite.
    """
    if not 0 < standard_deviation < math.inf:
        raise UserError(
            f"a standard deviation of {standard_deviation} was given: it is a finite number above 0"
        )
    loss = GaussianLoss(float(standard_deviation))
    return Likelihood(unscaled, nn.sigmoid, loss, normalized=True)


# Two logits a channel: a mean and a spread.

LOG_VARIANCE_BOUND = 12.0  # standard deviations from 0.0025, below a level of grey, to 400
LOG_SCALE_BOUND = 8.0  # the least, a twelfth of a level, puts 99 % of the mass on one level


def means_and_spreads(logits: Array) -> tuple[Array, Array]:
    """The two halves of the channels, [B, ..., 2 C] to two of [B, ..., C]; else UserError."""
    if logits.ndim < 2 or logits.shape[-1] % 2:
        raise UserError(
            f"logits of shape {logits.shape} were given to a likelihood that reads two a channel, "
            "a mean and a spread: give a decoder twice the channels that its images have"
        )
    mean, spread = jnp.split(logits, 2, axis=-1)
    return mean, spread


def bounded(values: Array, bound: float) -> Array:
    """Small values nearly as they are, large ones within ±bound: bound tanh(values / bound)."""
    return bound * nn.tanh(values / bound)


def mean_image(logits: Array) -> Array:
    """sigmoid of the means, [B, ..., 2 C] to [B, ..., C]."""
    return nn.sigmoid(means_and_spreads(logits)[0])


def gaussian_learned_loss(logits: Array, pixels: Array) -> Array:
    """-log N(pixels; sigmoid(mean), exp(spread)) in nats, [B, ..., 2 C] to [B].

    The log variance is held within ±12, so that the density of a pixel that never changes, black
    at an edge say, does not grow for ever.
    """
    mean, spread = means_and_spreads(logits)
    return losses.gaussian(nn.sigmoid(mean), bounded(spread, LOG_VARIANCE_BOUND), pixels)


def discretized_logistic_loss(logits: Array, pixels: Array) -> Array:
    """-log P(level of each pixel) in nats, about sigmoid(mean), [B, ..., 2 C] to [B].

    The log of the scale is the spread, held within ±8.
    """
    mean, spread = means_and_spreads(logits)
    return losses.discretized_logistic(nn.sigmoid(mean), bounded(spread, LOG_SCALE_BOUND), pixels)


# Independent Bernoulli pixels: cross-entropy in nats. Normalized for binary pixels; for grey ones
# it is a loss without a density.
BERNOULLI = Likelihood(unscaled, nn.sigmoid, losses.bernoulli, normalized=True)

# Densities of pixels in [0, 1]. Images are their means, which have the least squared error.
CONTINUOUS_BERNOULLI = Likelihood(
    unscaled, continuous_bernoulli_mean, losses.continuous_bernoulli, normalized=True
)
GAUSSIAN = gaussian(0.1)  # a variance of 0.01: a small autoencoder's squared error a pixel of MNIST
GAUSSIAN_LEARNED = Likelihood(
    unscaled, mean_image, gaussian_learned_loss, logits_per_channel=2, normalized=True
)

# A probability of 256 levels of grey. The image is of the locations, which are the medians.
DISCRETIZED_LOGISTIC = Likelihood(
    unscaled, mean_image, discretized_logistic_loss, logits_per_channel=2, normalized=True
)

# Gaussians of fixed variance about an activation, without their constants: squared errors, of
# pixels in [0, 1], [-1, 1] and [0, 1] with a mean that may exceed 1.
GAUSSIAN_SIGMOID = Likelihood(unscaled, nn.sigmoid, sigmoid_error)
GAUSSIAN_TANH = Likelihood(symmetric, tanh_image, tanh_error)
GAUSSIAN_RELU = Likelihood(unscaled, clipped, relu_error)

BY_NAME = {
    "bernoulli": BERNOULLI,
    "continuous_bernoulli": CONTINUOUS_BERNOULLI,
    "gaussian": GAUSSIAN,
    "gaussian_learned": GAUSSIAN_LEARNED,
    "discretized_logistic": DISCRETIZED_LOGISTIC,
    "gaussian_sigmoid": GAUSSIAN_SIGMOID,
    "gaussian_tanh": GAUSSIAN_TANH,
    "gaussian_relu": GAUSSIAN_RELU,
}


def name_of(likelihood: Likelihood) -> str | None:
    """What `named` takes to give the likelihood again; None for one that is not of this file."""
    for name, known in BY_NAME.items():
        if likelihood == known:
            return name
    if isinstance(likelihood.loss, GaussianLoss):
        return f"gaussian {likelihood.loss.standard_deviation}"
    return None


def named(name: str) -> Likelihood:
    """One of BY_NAME, or "gaussian S" with a standard deviation S; KeyError for any other name."""
    kind, _, standard_deviation = name.partition(" ")
    if kind != "gaussian" or not standard_deviation:
        return BY_NAME[name]
    try:
        return gaussian(float(standard_deviation))
    except ValueError:
        raise KeyError(name) from None
