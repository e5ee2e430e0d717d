"""The linear-Gaussian autoencoder, whose posterior and evidence have closed forms.

z ~ N(0, I), x = W z + b + noise. The columns of W are orthogonal, so the dimensions of p(z | x) are
independent, as in the encoder's posterior.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae import models
from jaxae.likelihoods import Likelihood, unscaled
from jaxae.losses import sum_per_example
from jaxae.network import Network
from jaxae.train import Batch

SHAPE, LATENT, NOISE_VARIANCE = (2, 2, 1), 2, 0.3
WEIGHTS = np.array([[0.5, 0.3], [1.0, -0.6], [-0.5, 0.3], [0.4, 1.5]])  # [D, latent]
BIAS = np.array([0.1, -0.2, 0.3, 0.4])  # [D]


def _gaussian_loss(logits: Array, targets: Array) -> Array:
    """-log N(targets; logits, NOISE_VARIANCE) in nats, [B, ...] to [B]."""
    squares = jnp.square(targets - logits) / NOISE_VARIANCE
    return sum_per_example(squares + jnp.log(2 * jnp.pi * NOISE_VARIANCE)) / 2


_MODEL = models.VariationalAutoencoder(
    models.DenseEncoder((), 2 * LATENT), models.DenseDecoder((), SHAPE)
)
GAUSSIAN = Likelihood(unscaled, unscaled, _gaussian_loss, normalized=True)
NETWORK = Network(_MODEL, GAUSSIAN)


def exact_variables() -> dict[str, Any]:
    """Returns variables of the network whose posterior is p(z | x)."""
    variances = 1 / (1 + np.square(WEIGHTS).sum(axis=0) / NOISE_VARIANCE)
    to_mean = WEIGHTS * variances / NOISE_VARIANCE
    encoder = {
        "kernel": np.concatenate([to_mean, np.zeros_like(to_mean)], axis=1),
        "bias": np.concatenate([-BIAS @ to_mean, np.log(variances)]),
    }
    decoder = {"kernel": WEIGHTS.T, "bias": BIAS}
    params = {"encoder": {"Dense_0": encoder}, "decoder": {"Dense_0": decoder}}
    return {"params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), params)}


def mismatched_variables() -> dict[str, Any]:
    """Returns variables with the same decoder but another posterior."""
    variables = exact_variables()
    encoder = variables["params"]["encoder"]["Dense_0"]
    encoder["kernel"] += 0.1
    encoder["bias"] += jnp.array([0.1, -0.2, 0.6, 1.0])
    return variables


def images(count: int) -> Array:
    """Draws images from the model, float32 [count, 2, 2, 1]."""
    random = np.random.default_rng(0)
    codes, noise = random.normal(size=(count, LATENT)), random.normal(size=(count, len(BIAS)))
    flat = codes @ WEIGHTS.T + BIAS + NOISE_VARIANCE**0.5 * noise
    return jnp.asarray(flat.reshape(count, *SHAPE), jnp.float32)


def log_evidence(images: Array) -> np.ndarray:
    """log p(x) = log N(x; b, W W^T + NOISE_VARIANCE I) of images, float64 [B]."""
    covariance = WEIGHTS @ WEIGHTS.T + NOISE_VARIANCE * np.eye(len(BIAS))
    residual = np.asarray(images, np.float64).reshape(len(images), -1) - BIAS
    squares = (residual @ np.linalg.inv(covariance) * residual).sum(axis=1)
    return -(squares + np.linalg.slogdet(2 * np.pi * covariance)[1]) / 2


def batch_of(images: Array) -> Batch:
    """Returns a batch of images without padding."""
    return Batch(images, None, None, jnp.ones(len(images)))
