"""Bounds on the evidence that use several weighted samples and are tighter than the ELBO.

Losses are per example, in nats, with the plain reparameterized gradient. With one sample, each loss
is the negative ELBO with a sampled KL term. The metrics are the negative bound, and the negative
ELBO of the same samples. `kl_weight` multiplies log p(z) - log q(z | x) in each log weight, and so
in both metrics.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Key

from jaxae.errors import UserError
from jaxae.network import Network
from jaxae.objectives.posterior import (
    check_count,
    is_known,
    log_mean_exp,
    log_weights,
)
from jaxae.train import Batch, Terms, Variables


def iwae(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    samples: int = 5,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """-log of the mean importance weight of the samples (Burda et al. 2016, eq. 8)."""
    return miwae(
        variables, key, batch, network=network, samples=samples, groups=1, kl_weight=kl_weight
    )


def miwae(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    groups: int = 8,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """The mean of the IWAE's loss over groups of `samples` samples each.

    MIWAE(groups, samples) of Rainforth et al. 2018.
    """
    weights = _grouped_log_weights(
        variables,
        key,
        batch,
        network=network,
        samples=samples,
        groups=groups,
        kl_weight=kl_weight,
    )
    return _bound_terms(_mean_bound(weights), weights)


def piwae(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    groups: int = 8,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """The IWAE's loss of all samples for the decoder, and the MIWAE's gradient for the encoder.

    PIWAE(groups, samples) of Rainforth et al. 2018. The decoder is the parameters of that name; all
    other parameters, including a conditional network's label images, belong to the encoder.
    """
    draw = partial(
        _grouped_log_weights,
        key=key,
        batch=batch,
        network=network,
        samples=samples,
        groups=groups,
        kl_weight=kl_weight,
    )
    weights = draw(_stop_gradient(variables, decoder=False))
    bound = log_mean_exp(weights.reshape(-1, weights.shape[-1]))
    encoder_bound = _mean_bound(draw(_stop_gradient(variables, decoder=True)))
    # The difference is 0, but its gradient is that of the encoder's bound.
    return _bound_terms(bound + (encoder_bound - jax.lax.stop_gradient(encoder_bound)), weights)


def ciwae(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    samples: int = 8,
    mixture: Float[Array, ""] | float = 0.5,
    kl_weight: Float[Array, ""] | float = 1.0,
) -> Terms:
    """mixture * negative ELBO + (1 - mixture) * the IWAE's loss, with the same samples.

    CIWAE of Rainforth et al. 2018. Raises `UserError` unless the mixture is in [0, 1].
    """
    if is_known(mixture) and not 0 <= mixture <= 1:
        raise UserError(f"mixture = {mixture} was given: give 0 (the IWAE) to 1 (the ELBO)")
    terms = iwae(variables, key, batch, network=network, samples=samples, kl_weight=kl_weight)
    elbo, bound = terms.metrics["negative_elbo"], terms.metrics["negative_bound"]
    return Terms(mixture * elbo + (1 - mixture) * bound, terms.metrics)


def _grouped_log_weights(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    samples: int,
    groups: int,
    kl_weight: Float[Array, ""] | float,
) -> Float[Array, "groups samples batch"]:
    """The log weights of samples from each posterior.

    The encoder runs once. Raises `UserError` for less than one sample or group.
    """
    check_count("samples", samples)
    check_count("groups", groups)
    posterior = network.posterior(variables, batch.network_inputs, batch.labels)
    distortions = partial(network.distortions, variables, batch=batch)
    keys = jax.random.split(key, groups * samples)
    weights = log_weights(keys, posterior, distortions, kl_weight=kl_weight)
    return weights.reshape(groups, samples, -1)


def _mean_bound(weights: Float[Array, "groups samples batch"]) -> Float[Array, " batch"]:
    """The mean of the groups' bounds, from log weights."""
    return jnp.mean(jax.vmap(log_mean_exp)(weights), axis=0)


def _bound_terms(
    bound: Float[Array, " batch"], weights: Float[Array, "groups samples batch"]
) -> Terms:
    """Returns the terms of a bound and of the log weights it comes from."""
    metrics = {"negative_bound": -bound, "negative_elbo": -jnp.mean(weights, axis=(0, 1))}
    return Terms(-bound, metrics)


def _stop_gradient(variables: Variables, *, decoder: bool) -> Variables:
    """Stops the gradient through the decoder's parameters, or through all others."""
    params = {
        name: jax.lax.stop_gradient(value) if (name == "decoder") == decoder else value
        for name, value in variables["params"].items()
    }
    return {**variables, "params": params}
