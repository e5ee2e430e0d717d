"""Reconstruction and a penalty on the code, or on how it hangs together with the image."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import xlogy

from jaxae.losses import sum_per_example
from jaxae.network import Network
from jaxae.train import Batch, Terms, Variables

_MARGIN = 1e-6  # by which mean activations are kept from 0 and 1


def sparse_l1(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    weight: float = 0.1,
) -> Terms:
    """Reconstruction and the sum of the code's absolute values.

    Nothing holds the decoder's scale: in time a smaller code and larger weights lower the penalty.
    """
    del key
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    l1 = sum_per_example(jnp.abs(z))
    return Terms(reconstruction + weight * l1, {"reconstruction": reconstruction, "l1": l1})


def sparse_kl(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    rate: float = 0.05,
    weight: float = 3.0,
) -> Terms:
    """Reconstruction and the KL divergence of a target rate to each number's mean over the batch.

    For codes between 0 and 1 (Ng 2011, CS294A lecture notes, section 3). "rate_kl", in nats, is
    summed over the code, a scalar.
    """
    del key
    z, reconstruction = encode_and_reconstruct(variables, batch, network=network)
    rate_kl = kl_of_rate(rate, mean_over_batch(z, batch.weights)).sum()
    return Terms(
        reconstruction + weight * rate_kl, {"reconstruction": reconstruction, "rate_kl": rate_kl}
    )


def mean_over_batch(z: Array, weights: Array) -> Array:
    """The mean of each number of codes [B, ...] over the examples with weight: float [D]."""
    codes = jnp.where(weights[:, None] > 0, z.reshape(z.shape[0], -1), 0)
    return jnp.sum(codes, axis=0) / jnp.sum(weights)


def kl_of_rate(rate: float, means: Array) -> Array:
    """KL(Bernoulli(rate) || Bernoulli(mean)) in nats of means [D] in [0, 1], finite at the ends."""
    means = _MARGIN + (1 - 2 * _MARGIN) * jnp.clip(means, 0, 1)
    negative_entropy = xlogy(rate, rate) + xlogy(1 - rate, 1 - rate)
    return negative_entropy - rate * jnp.log(means) - (1 - rate) * jnp.log1p(-means)


def contractive(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    weight: float = 0.1,
) -> Terms:
    """Reconstruction and the squared Frobenius norm of the code's Jacobian, computed exactly.

    By what the network reads, one row for each number of the code. Rifai et al. 2011 tie the
    decoder's weights to the encoder's; here nothing holds the decoder's scale, and in time a
    smaller code and larger weights lower the penalty.
    """
    del key
    z, squared_norms = encode_with_jacobian(variables, batch, network)
    rows = jnp.eye(z[0].size, dtype=z.dtype).reshape(-1, 1, *z.shape[1:])
    contraction = squared_norms(rows).sum(axis=0)
    return contracted(variables, z, contraction, batch, network, weight)


def contractive_estimate(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    weight: float = 0.1,
    probes: int = 1,
) -> Terms:
    """`contractive` by Hutchinson's unbiased estimate, from the mean over random directions.

    E |J^T v|^2 = |J|^2 for independent signs v, whose variance is the least (Hutchinson 1989).
    """
    z, squared_norms = encode_with_jacobian(variables, batch, network)
    signs = jax.random.rademacher(key, (probes, *z.shape), z.dtype)
    contraction = squared_norms(signs).mean(axis=0)
    return contracted(variables, z, contraction, batch, network, weight)


def encode_with_jacobian(
    variables: Variables, batch: Batch, network: Network
) -> tuple[Array, Callable[[Array], Array]]:
    """The codes z of a batch, and a function of their Jacobian J by what the network reads.

    It returns |J^T v|^2 of each example, float [N, B], for directions v, [N, *z.shape], or with an
    axis of 1 in place of the batch's. No example may depend on another.
    """

    def encode(x: Array) -> Array:
        return network.apply(variables, x, batch.labels, method="encode")

    z, pull_back = jax.vjp(encode, network.scale(batch.network_inputs))

    def squared_norm(direction: Array) -> Array:
        (product,) = pull_back(jnp.broadcast_to(direction, z.shape))
        return sum_per_example(jnp.square(product))

    # One by one: all at once, convolutions take three times the memory, and longer on a CPU.
    return z, lambda directions: lax.map(squared_norm, directions)


def contracted(
    variables: Variables,
    z: Array,
    contraction: Array,
    batch: Batch,
    network: Network,
    weight: float,
) -> Terms:
    """The terms of codes and their contraction."""
    reconstruction = network.distortion(variables, z, batch)
    return Terms(
        reconstruction + weight * contraction,
        {"reconstruction": reconstruction, "contraction": contraction},
    )


def rae_l2(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    code_weight: float = 0.1,
    decoder_weight: float = 1e-4,
) -> Terms:
    """Reconstruction, half the code's squared norm, and the decoder's parameters' squared norm.

    Ghosh et al. 2020, section 3. "decoder_norm", of kernels and biases, is a scalar.
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
    key: Array,
    batch: Batch,
    *,
    network: Network,
    code_weight: float = 0.1,
    gradient_weight: float = 0.1,
) -> Terms:
    """Reconstruction, half the code's squared norm, and the decoder's squared Jacobian.

    Ghosh et al. 2020, section 3. "decoder_gradient" is Hutchinson's unbiased estimate, from one
    random direction, of the squared Frobenius norm of the decoded image's Jacobian by the code.
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
) -> tuple[Array, Array]:
    """The codes of a batch, and the loss [B] of what they decode to."""
    z = network.encode(variables, batch.network_inputs, batch.labels)
    return z, network.distortion(variables, z, batch)
