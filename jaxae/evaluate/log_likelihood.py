"""The log-likelihood of images under a variational autoencoder, by importance sampling."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.evaluate.images import Images, as_floats, parts, take
from jaxae.likelihoods import BERNOULLI
from jaxae.network import Network, Trained
from jaxae.objectives import check_count, log_mean_exp, log_weights
from jaxae.train import Batch, Variables

LIKELIHOOD = "Log-likelihood"  # its name among what an evaluation leaves out
WEIGHED_AT_ONCE = 100  # images, each with several samples at a time

_SAMPLES_AT_ONCE = 4  # of each of these images; more are hardly faster


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
    chunk = min(chunk, samples)
    _check_density(network)
    batch = Batch(images, labels, None, jnp.ones(len(images)))
    posterior = network.posterior(variables, images, labels)
    distortions = partial(network.distortions, variables, batch=batch)

    def weights(keys: Array) -> Array:
        return log_weights(keys, posterior, distortions)

    # Not `map`'s batch_size, which would vmap the decoder and slow its convolutions down.
    keys = jax.random.split(key, samples)
    whole = samples - samples % chunk
    chunks = jax.lax.map(weights, keys[:whole].reshape(-1, chunk)).reshape(whole, -1)
    rest = [weights(keys[whole:])] if whole < samples else []
    return log_mean_exp(jnp.concatenate([chunks, *rest]))


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


def negative_log_likelihood(
    trained: Trained,
    key: Array,
    split: Split,
    *,
    samples: int,
    advance: Callable[[int], object],
) -> float:
    """Returns the mean of -log p(x) over a split, in nats, by importance sampling.

    `advance` is called with the number of images that are done since its last call.
    """
    estimates = []
    for start in range(0, len(split.images), WEIGHED_AT_ONCE):
        part = take(split, slice(start, start + WEIGHED_AT_ONCE))
        estimate = log_likelihood(
            trained.variables,
            jax.random.fold_in(key, start),
            part.images,
            part.labels,
            network=trained.network,
            samples=samples,
            chunk=_SAMPLES_AT_ONCE,
        )
        estimates.append(np.asarray(estimate))
        advance(len(part.images))
    return -float(np.concatenate(estimates).mean(dtype=float))


def why_no_likelihood(trained: Trained, images: Images) -> str | None:
    """Returns why importance sampling cannot estimate the likelihood of images; None if it can.

    It cannot for gray pixels under the Bernoulli likelihood, which is a cross-entropy there and not
    a density.
    """
    if not trained.network.has_posterior:
        return "the network has no posterior"
    if not trained.network.likelihood.normalized:
        return "the network's loss is no density"
    if trained.network.likelihood is BERNOULLI and not _are_binary(images.test):
        return "under the Bernoulli likelihood gray pixels have no density"
    return None


def _are_binary(split: Split) -> bool:
    """Returns whether all pixels are black or white."""
    return all(np.isin(as_floats(part.images), (0, 1)).all() for part in parts(split))
