"""Reconstruction with a penalty on the code, or on the Jacobian of the encoder or decoder."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import xlogy
from jaxtyping import Float, Key

from jaxae.losses import sum_per_example
from jaxae.network import Network
from jaxae.train import Batch, Terms, Variables

_MARGIN = 1e-6  # keeps mean activations away from 0 and 1


def sparse_l1(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    weight: Float[Array, ""] | float = 0.1,
) -> Terms:
    """Reconstruction plus the sum of the code's absolute values.

    Nothing constrains the decoder's scale: over time, training can lower the penalty by shrinking
    the code and growing the decoder's weights.
    """
    del key
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    l1 = sum_per_example(jnp.abs(z))
    return Terms(reconstruction + weight * l1, {"reconstruction": reconstruction, "l1": l1})


def sparse_kl(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    rate: Float[Array, ""] | float = 0.05,
    weight: Float[Array, ""] | float = 3.0,
) -> Terms:
    """Reconstruction plus the KL divergence from a target rate to each unit's mean activation.

    Codes must lie between 0 and 1; means are over the batch (Ng 2011, CS294A lecture notes, section
    3). The metric "rate_kl", in nats, is a scalar, summed over the code.
    """
    del key
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    rate_kl = kl_of_rate(rate, mean_over_batch(z, batch.weights)).sum()
    return Terms(
        reconstruction + weight * rate_kl, {"reconstruction": reconstruction, "rate_kl": rate_kl}
    )


def mean_over_batch(
    z: Float[Array, "batch *shape"], weights: Float[Array, " batch"]
) -> Float[Array, " dimension"]:
    """The mean of each number of the codes over the examples of weight 1."""
    codes = jnp.where(weights[:, None] > 0, z.reshape(z.shape[0], -1), 0)
    return jnp.sum(codes, axis=0) / jnp.sum(weights)


def kl_of_rate(
    rate: Float[Array, ""] | float, means: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """KL(Bernoulli(rate) || Bernoulli(mean)) in nats, for means in [0, 1]; finite at both ends."""
    means = _MARGIN + (1 - 2 * _MARGIN) * jnp.clip(means, 0, 1)
    negative_entropy = xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)
    return negative_entropy - rate * jnp.log(means) - (1 - rate) * jnp.log1p(-means)


def contractive(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    weight: Float[Array, ""] | float = 0.1,
) -> Terms:
    """Reconstruction plus the squared Frobenius norm of the encoder's Jacobian, computed exactly.

    The Jacobian is taken with respect to the network's input, one row per number of the code. Rifai
    et al. 2011 tie the decoder's weights to the encoder's. Here nothing constrains the decoder's
    scale: over time, training can lower the penalty by shrinking the code and growing the decoder's
    weights.
    """
    del key
    z, squared_norms = _encode_with_jacobian(variables, batch, network)
    rows = jnp.eye(z[0].size, dtype=z.dtype).reshape(-1, 1, *z.shape[1:])
    contraction = squared_norms(rows).sum(axis=0)
    return _contractive_terms(variables, z, contraction, batch, network, weight)


def contractive_estimate(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    weight: Float[Array, ""] | float = 0.1,
    probes: int = 1,
) -> Terms:
    """`contractive` with Hutchinson's unbiased estimate of the norm, averaged over random probes.

    E |J^T v|^2 = |J|^2 for vectors v of independent random signs, which have the least variance
    (Hutchinson 1989).
    """
    z, squared_norms = _encode_with_jacobian(variables, batch, network)
    signs = jax.random.rademacher(key, (probes, *z.shape), z.dtype)
    contraction = squared_norms(signs).mean(axis=0)
    return _contractive_terms(variables, z, contraction, batch, network, weight)


def _encode_with_jacobian(
    variables: Variables, batch: Batch, network: Network
) -> tuple[Array, Callable[[Array], Array]]:
    """Returns the codes z of a batch, and a function that probes their Jacobian in directions.

    For directions v, [N, *z.shape] or with a batch axis of 1, the function returns |J^T v|^2 of
    each example, float [N, B]. The Jacobian J is taken with respect to the network's input, and no
    example's code may depend on another example.
    """

    def encode(x: Array) -> Array:
        return network.apply(variables, x, batch.labels, method="encode")

    z, pull_back = jax.vjp(encode, network.scale(batch.network_inputs))

    def squared_norm(direction: Array) -> Array:
        (product,) = pull_back(jnp.broadcast_to(direction, z.shape))
        return sum_per_example(jnp.square(product))

    # A loop, because vmap takes three times the memory with convolutions, and longer on a CPU.
    return z, lambda directions: lax.map(squared_norm, directions)


def _contractive_terms(
    variables: Variables,
    z: Array,
    contraction: Array,
    batch: Batch,
    network: Network,
    weight: Float[Array, ""] | float,
) -> Terms:
    """Returns the terms for codes and their contraction [B]."""
    reconstruction = network.distortion(variables, z, batch)
    return Terms(
        reconstruction + weight * contraction,
        {"reconstruction": reconstruction, "contraction": contraction},
    )


def rae_l2(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    code_weight: Float[Array, ""] | float = 0.1,
    decoder_weight: Float[Array, ""] | float = 1e-4,
) -> Terms:
    """Reconstruction plus half the code's squared norm and the decoder parameters' squared norm.

    Ghosh et al. 2020, section 3. The metric "decoder_norm", over kernels and biases, is a scalar.
    """
    del key
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    code_norm = sum_per_example(jnp.square(z)) / 2
    leaves = jax.tree.leaves(variables["params"]["decoder"])
    decoder_norm = sum((jnp.sum(jnp.square(leaf)) for leaf in leaves), jnp.zeros(()))
    return Terms(
        reconstruction + code_weight * code_norm + decoder_weight * decoder_norm,
        {
            "reconstruction": reconstruction,
            "code_norm": code_norm,
            "decoder_norm": decoder_norm,
        },
    )


def rae_gp(
    variables: Variables,
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    code_weight: Float[Array, ""] | float = 0.1,
    gradient_weight: Float[Array, ""] | float = 0.1,
) -> Terms:
    """Reconstruction plus half the code's squared norm and the decoder's squared Jacobian norm.

    Ghosh et al. 2020, section 3. The metric "decoder_gradient" is Hutchinson's unbiased estimate,
    from one random direction, of the squared Frobenius norm of the decoded image's Jacobian with
    respect to the code.
    """
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)

    def decode(z: Array) -> Array:
        return network.decode(variables, z, batch.labels)

    images, pull_back = jax.vjp(decode, z)
    (gradients,) = pull_back(jax.random.rademacher(key, images.shape, images.dtype))
    code_norm = sum_per_example(jnp.square(z)) / 2
    decoder_gradient = sum_per_example(jnp.square(gradients))
    return Terms(
        reconstruction + code_weight * code_norm + gradient_weight * decoder_gradient,
        {
            "reconstruction": reconstruction,
            "code_norm": code_norm,
            "decoder_gradient": decoder_gradient,
        },
    )


def encode_and_reconstruct(
    variables: Variables, batch: Batch, *, network: Network
) -> tuple[Float[Array, "batch *shape"], Float[Array, " batch"]]:
    """Returns the codes of a batch, and the loss of their reconstructions."""
    z = network.encode(variables, batch.network_inputs, batch.labels)
    return z, network.distortion(variables, z, batch)
