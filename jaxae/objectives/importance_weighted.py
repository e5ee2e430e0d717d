"""Bounds on the evidence from several weighted samples, tighter than the ELBO.

All are per example, in nats, with the plain reparameterized gradient; with one sample each is the
negative ELBO with its KL term sampled. Metrics: the bound, and the ELBO of the same samples.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array

from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import (
    check_count,
    log_mean_exp,
    log_weights,
)
from jaxae.train import Batch, Terms, Variables


def iwae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    samples: int = 5,
) -> Terms:
    """-log of the mean weight of a number of samples (Burda et al. 2016, eq. 8)."""
    return miwae(variables, key, batch, network=network, samples=samples, groups=1)


def miwae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    groups: int = 8,
) -> Terms:
    """The mean of the IWAE's loss over groups of samples; `samples` are those of one group.

    MIWAE(groups, samples) of Rainforth et al. 2018.
    """
    weights = grouped_log_weights(
        variables, key, batch, network=network, samples=samples, groups=groups
    )
    return terms_of(mean_bound(weights), weights)


def piwae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    groups: int = 8,
) -> Terms:
    """The IWAE's loss of all samples, whose gradient for the encoder is that of the MIWAE.

    PIWAE(groups, samples) of Rainforth et al. 2018. The decoder is the parameters of that
    name, the encoder all others, a conditional network's label images among them.
    """
    draw = partial(
        grouped_log_weights,
        key=key,
        batch=batch,
        network=network,
        samples=samples,
        groups=groups,
    )
    weights = draw(hold(variables, decoder=False))
    bound = log_mean_exp(weights.reshape(-1, weights.shape[-1]))
    encoder_bound = mean_bound(draw(hold(variables, decoder=True)))
    # The difference is 0, with the gradient of its first part.
    return terms_of(bound + (encoder_bound - jax.lax.stop_gradient(encoder_bound)), weights)


def ciwae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    mixture: float = 0.5,
) -> Terms:
    """mixture * negative ELBO + (1 - mixture) * the IWAE's loss, of the same samples.

    CIWAE of Rainforth et al. 2018. Raises UserError unless the mixture is in [0, 1].
    """
    if not 0 <= mixture <= 1:
        raise UserError(f"mixture = {mixture} was given: give 0 (the IWAE) to 1 (the ELBO)")
    terms = iwae(variables, key, batch, network=network, samples=samples)
    elbo, bound = terms.metrics["negative_elbo"], terms.metrics["negative_bound"]
    return Terms(mixture * elbo + (1 - mixture) * bound, terms.metrics)


def grouped_log_weights(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    samples: int,
    groups: int,
) -> Array:
    """The log weights of samples from each posterior, float [groups, samples, B].

    The encoder runs once. Raises UserError for less than one sample or group.
    """
    check_count("samples", samples)
    check_count("groups", groups)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    distortions = partial(network.distortions, variables, batch=batch)
    keys = jax.random.split(key, groups * samples)
    weights = log_weights(keys, posterior, distortions)
    return weights.reshape(groups, samples, -1)


def mean_bound(weights: Array) -> Array:
    """The mean over groups of their bounds, from log weights [groups, samples, B] to [B]."""
    return jnp.mean(jax.vmap(log_mean_exp)(weights), axis=0)


def terms_of(bound: Array, weights: Array) -> Terms:
    """The loss of a bound [B], and the metrics of log weights [groups, samples, B]."""
    metrics = {"negative_bound": -bound, "negative_elbo": -jnp.mean(weights, axis=(0, 1))}
    return Terms(-bound, metrics)


def hold(variables: Variables, *, decoder: bool) -> Variables:
    """The same variables, where no gradient goes through the decoder, or through all but it."""
    params = {
        name: jax.lax.stop_gradient(value) if (name == "decoder") == decoder else value
        for name, value in variables["params"].items()
    }
    return {**variables, "params": params}
