"""The log-likelihood of images under a variational autoencoder, by importance sampling."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives import check_count, log_mean_exp, log_weights
from jaxae.train import Batch, Variables


@partial(jax.jit, static_argnames=("network", "samples", "chunk"))
def log_likelihood(
    variables: Variables,
    key: Array,
    images: Array,
    labels: Array | None = None,
    *,
    network: Network,
    samples: int,
    chunk: int = 16,
) -> Array:
    """Estimates log p(x), or log p(x | y), of images [B, H, W, C], in nats: float [B].

    The estimate is the log of the mean importance weight of posterior samples (Burda et al. 2016,
    eq. 8). On average it is too low, and less so with more samples. `chunk` samples are decoded at
    a time, which bounds memory to that of chunk * B images and does not change the result. The
    Bernoulli likelihood is a density for binary pixels only.

    Raises `UserError` for fewer than one sample, a model without a posterior, or a likelihood whose
    loss is not the negative log of a density.
    """
    check_count("samples", samples)
    check_count("chunk", chunk)
    _check_density(network)
    batch = Batch(images, labels, None, jnp.ones(len(images)))
    posterior = network.posterior(variables, images, labels)
    distortions = partial(network.distortions, variables, batch=batch)

    def weights(key: Array) -> Array:
        return log_weights(key[None], posterior, distortions)[0]

    keys = jax.random.split(key, samples)
    return log_mean_exp(jax.lax.map(weights, keys, batch_size=min(chunk, samples)))


def _check_density(network: Network) -> None:
    """Raises `UserError` if a network gives images no density."""
    if not network.has_posterior:
        raise UserError(
            f"a log-likelihood was asked for under {type(network.model).__name__}, which has no "
            "posterior: give a variational autoencoder"
        )
    if not network.likelihood.normalized:
        raise UserError(
            "a log-likelihood was asked for under a squared error, which leaves out the "
            "Gaussian's constant: train with a likelihood that is normalized, such as bernoulli"
        )
