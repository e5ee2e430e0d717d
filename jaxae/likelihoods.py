"""Likelihoods p(image | logits), which turn logits into images and score images against them.

Those that are not bounded also suit vectors [B, D], whose numbers may have any range.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from jaxae import losses
from jaxae.errors import UserError


@dataclass(frozen=True)
class Likelihood:
    """p(image | logits) as three pure functions.

    Logits have k numbers per channel: [B, ..., k C] for images [B, ..., C]. If k is 2, the first C
    channels hold means and the last C hold spreads.
    """

    scale: Callable[[Array], Array]  # pixels in [0, 1] to the network's range
    image: Callable[[Array], Array]  # logits [B, ..., k C] to pixels [B, ..., C]
    loss: Callable[[Array, Array], Array]  # logits and scaled pixels to [B], summed over pixels
    logits_per_channel: int = 1  # k
    normalized: bool = False  # whether the loss is -log p in nats of a p that sums to one
    bounded: bool = True  # whether pixels and images are in [0, 1]; else they are any numbers
    unit: str = ""  # of the loss; a normalized one is in nats, and of others it may be unknown

    @property
    def loss_unit(self) -> str:
        """The unit of the loss of an image, or nothing if it is not known."""
        return "nats" if self.normalized else self.unit


def unscaled(pixels: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns pixels unchanged."""
    return pixels


def _symmetric(pixels: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Scales pixels from [0, 1] to [-1, 1]."""
    return 2 * pixels - 1


# Activations and their squared errors.


def _tanh_image(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """tanh(logits), scaled from [-1, 1] to [0, 1]."""
    return (nn.tanh(logits) + 1) / 2


def _clipped(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """relu(logits), clipped at 1."""
    return jnp.clip(logits, 0, 1)


def _sigmoid_error(
    logits: Float[Array, "batch *shape"], pixels: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """Squared error of sigmoid(logits)."""
    return losses.squared_error(nn.sigmoid(logits), pixels)


def _tanh_error(
    logits: Float[Array, "batch *shape"], pixels: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """Squared error of tanh(logits)."""
    return losses.squared_error(nn.tanh(logits), pixels)


def _relu_error(
    logits: Float[Array, "batch *shape"], pixels: Float[Array, "batch *shape"]
) -> Float[Array, " batch"]:
    """Squared error of relu(logits)."""
    return losses.squared_error(nn.relu(logits), pixels)


# Densities with one logit per channel.


def _continuous_bernoulli_mean(logits: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The mean of each pixel's density, which is closer to 1/2 than sigmoid(logits).

    As in any exponential family, the loss has zero gradient where the target equals the mean.
    """
    slope = jax.grad(lambda x: losses.continuous_bernoulli_log_normalizer(x).sum())(logits)
    return nn.sigmoid(logits) - slope


@dataclass(frozen=True)  # equal standard deviations compare equal, so they compile once
class _GaussianLoss:
    """-log N(pixels; activation(logits), standard_deviation^2) in nats."""

    standard_deviation: float
    activation: Callable[[Array], Array] = nn.sigmoid

    def __call__(
        self, logits: Float[Array, "batch *shape"], pixels: Float[Array, "batch *shape"]
    ) -> Float[Array, " batch"]:
        log_variance = jnp.full_like(logits, 2 * math.log(self.standard_deviation))
        return losses.gaussian(self.activation(logits), log_variance, pixels)


def gaussian(standard_deviation: float) -> Likelihood:
    """Gaussian pixels with one fixed standard deviation, in units of pixels in [0, 1].

    Raises `UserError` unless it is finite and above zero.
    """
    return Likelihood(unscaled, nn.sigmoid, _gaussian_loss(standard_deviation), normalized=True)


def gaussian_identity(standard_deviation: float) -> Likelihood:
    """Gaussian numbers of any range, whose means are the logits, with one fixed standard deviation.

    Raises `UserError` unless it is finite and above zero.
    """
    loss = _gaussian_loss(standard_deviation, unscaled)
    return Likelihood(unscaled, unscaled, loss, normalized=True, bounded=False)


def _gaussian_loss(
    standard_deviation: float, activation: Callable[[Array], Array] = nn.sigmoid
) -> _GaussianLoss:
    """Returns the loss; raises `UserError` unless the standard deviation is finite and positive."""
    if not 0 < standard_deviation < math.inf:
        raise UserError(
            f"a standard deviation of {standard_deviation} was given: it is a finite number above 0"
        )
    return _GaussianLoss(float(standard_deviation), activation)


# Two logits per channel: a mean and a spread.

_LOG_VARIANCE_BOUND = 12.0  # standard deviations from 0.0025, less than a gray level, to 400
_LOG_SCALE_BOUND = 8.0  # the smallest scale, a twelfth of a level, puts 99 % of the mass on one


def _means_and_spreads(
    logits: Float[Array, "*shape channels"],
) -> tuple[Float[Array, "*shape half"], Float[Array, "*shape half"]]:
    """Splits the last axis in half, [B, ..., 2 C] to two arrays [B, ..., C].

    Raises `UserError` if the number of channels is odd or logits have no batch axis.
    """
    if logits.ndim < 2 or logits.shape[-1] % 2:
        raise UserError(
            f"logits of shape {logits.shape} were given to a likelihood that reads two per "
            "channel, a mean and a spread: give a decoder twice the channels that its images have"
        )
    mean, spread = jnp.split(logits, 2, axis=-1)
    return mean, spread


def _soft_clip(values: Array, bound: float) -> Array:
    """bound tanh(values / bound): nearly unchanged near zero, and always within ±bound."""
    return bound * nn.tanh(values / bound)


def _mean_image(logits: Float[Array, "*shape logits"]) -> Float[Array, "*shape channels"]:
    """sigmoid of the means, [B, ..., 2 C] to [B, ..., C]."""
    return nn.sigmoid(_means_and_spreads(logits)[0])


def _gaussian_learned_loss(
    logits: Float[Array, "batch *shape logits"], pixels: Float[Array, "batch *shape channels"]
) -> Float[Array, " batch"]:
    """-log N(pixels; sigmoid(mean), exp(spread)) in nats.

    The log variance is softly clipped to ±12. Otherwise the density of a pixel that never changes,
    such as a black corner, would grow without bound.
    """
    mean, spread = _means_and_spreads(logits)
    log_variance = _soft_clip(spread, _LOG_VARIANCE_BOUND)
    return losses.gaussian(nn.sigmoid(mean), log_variance, pixels)


def _means(logits: Float[Array, "*shape logits"]) -> Float[Array, "*shape channels"]:
    """The means, [B, ..., 2 C] to [B, ..., C]."""
    return _means_and_spreads(logits)[0]


def _gaussian_identity_learned_loss(
    logits: Float[Array, "batch *shape logits"], values: Float[Array, "batch *shape channels"]
) -> Float[Array, " batch"]:
    """-log N(values; mean, exp(spread)) in nats; the log variance is softly clipped to ±12."""
    mean, spread = _means_and_spreads(logits)
    return losses.gaussian(mean, _soft_clip(spread, _LOG_VARIANCE_BOUND), values)


def _discretized_logistic_loss(
    logits: Float[Array, "batch *shape logits"], pixels: Float[Array, "batch *shape channels"]
) -> Float[Array, " batch"]:
    """-log P(level of each pixel) in nats, for a logistic located at sigmoid(mean).

    The spread is the log scale, softly clipped to ±8.
    """
    mean, spread = _means_and_spreads(logits)
    return losses.discretized_logistic(
        nn.sigmoid(mean), _soft_clip(spread, _LOG_SCALE_BOUND), pixels
    )


# Independent Bernoulli pixels: cross-entropy in nats. Normalized for binary pixels; for gray pixels
# the loss has no density.
BERNOULLI = Likelihood(unscaled, nn.sigmoid, losses.bernoulli, normalized=True)

# Densities of pixels in [0, 1]. The images are their means, which minimize the squared error.
CONTINUOUS_BERNOULLI = Likelihood(
    unscaled, _continuous_bernoulli_mean, losses.continuous_bernoulli, normalized=True
)
GAUSSIAN = gaussian(0.1)  # variance 0.01, a small autoencoder's squared error per pixel on MNIST
GAUSSIAN_LEARNED = Likelihood(
    unscaled, _mean_image, _gaussian_learned_loss, logits_per_channel=2, normalized=True
)

# Probabilities of 256 gray levels. The image shows the locations, which are the medians.
DISCRETIZED_LOGISTIC = Likelihood(
    unscaled, _mean_image, _discretized_logistic_loss, logits_per_channel=2, normalized=True
)

# Gaussians of fixed variance around an activation, without their constants: squared errors of
# pixels in [0, 1], [-1, 1], and [0, 1] with a mean that may exceed 1.
GAUSSIAN_SIGMOID = Likelihood(unscaled, nn.sigmoid, _sigmoid_error, unit="squared error")
GAUSSIAN_TANH = Likelihood(_symmetric, _tanh_image, _tanh_error, unit="squared error")
GAUSSIAN_RELU = Likelihood(unscaled, _clipped, _relu_error, unit="squared error")

# Densities of numbers in any range, such as a table's. A deviation of 1 suits standardized ones.
GAUSSIAN_IDENTITY = gaussian_identity(1.0)
GAUSSIAN_IDENTITY_LEARNED = Likelihood(
    unscaled,
    _means,
    _gaussian_identity_learned_loss,
    logits_per_channel=2,
    normalized=True,
    bounded=False,
)

BY_NAME = {
    "bernoulli": BERNOULLI,
    "continuous_bernoulli": CONTINUOUS_BERNOULLI,
    "gaussian": GAUSSIAN,
    "gaussian_learned": GAUSSIAN_LEARNED,
    "discretized_logistic": DISCRETIZED_LOGISTIC,
    "gaussian_sigmoid": GAUSSIAN_SIGMOID,
    "gaussian_tanh": GAUSSIAN_TANH,
    "gaussian_relu": GAUSSIAN_RELU,
    "gaussian_identity": GAUSSIAN_IDENTITY,
    "gaussian_identity_learned": GAUSSIAN_IDENTITY_LEARNED,
}

WITH_DEVIATION = {"gaussian": gaussian, "gaussian_identity": gaussian_identity}
"""The likelihoods of `BY_NAME` that are made with a standard deviation, and how."""


def name_of(likelihood: Likelihood) -> str | None:
    """The name for which `named` returns this likelihood; None if this file does not define it."""
    for name, known in BY_NAME.items():
        if likelihood == known:
            return name
    if isinstance(likelihood.loss, _GaussianLoss):
        deviation = likelihood.loss.standard_deviation
        for name, make in WITH_DEVIATION.items():
            if likelihood == make(deviation):
                return f"{name} {deviation}"
    return None


def named(name: str) -> Likelihood:
    """Returns the likelihood with a name of `BY_NAME`, or of a standard deviation S.

    The latter are named "gaussian S" and "gaussian_identity S". Raises `KeyError` for any other
    name.
    """
    kind, _, standard_deviation = name.partition(" ")
    if kind not in WITH_DEVIATION or not standard_deviation:
        return BY_NAME[name]
    try:
        return WITH_DEVIATION[kind](float(standard_deviation))
    except ValueError:
        raise KeyError(name) from None
