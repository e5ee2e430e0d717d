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
    """An estimate of log p(x), or log p(x | y), of images [B, H, W, C], in nats: float [B].

    The log of the mean weight of samples from the posterior, which is on average too low, and less
    so with more samples (Burda et al. 2016, eq. 8). `chunk` samples are decoded at a time, so that
    memory is that of chunk * B images; the result is the same for any.
    Raises UserError for less than one sample, a model without a posterior, and a likelihood whose
    loss is not the logarithm of a density. The Bernoulli is one of binary pixels alone.
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
    """UserError if a network gives images no density."""
    if not network.has_posterior:
        raise UserError(
            f"the log-likelihood of a {type(network.model).__name__} was asked for: only a "
            "variational autoencoder, whose codes have a posterior, has one"
        )
    if not network.likelihood.normalized:
        raise UserError(
            "a log-likelihood was asked for under a squared error, which leaves out its Gaussian's "
            "constant: train with a likelihood that is normalized, such as bernoulli"
        )
