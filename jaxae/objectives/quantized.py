"""The objective of codes from a codebook; other quantized codes need `reconstruction` alone."""

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import entr

from jaxae import losses
from jaxae.errors import UserError
from jaxae.models import (
    Codebook,
    VectorQuantizer,
    count_uses,
    in_groups,
    nearest,
    straight_through,
    update_codebook,
)
from jaxae.network import Network
from jaxae.train import Batch, Terms, Variables


def vector_quantized(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    network: Network,
    commitment: float = 0.25,
    decay: float = 0.99,
    threshold: float = 0.1,
) -> Terms:
    """Reconstruction and commitment to a codebook that follows the encoder by moving averages.

    van den Oord et al. 2017, eq. 3, whose second term appendix A.1 replaces by the averages.
    "commitment_error" is the squared distance of the encoder's outputs to their codes, summed over
    the code as "reconstruction" is over the image; "perplexity" is that of the batch's use of
    codes, a scalar. The collections have the updated codebook: see `update_codebook`, with decay
    and threshold. Raises UserError unless the model's bottleneck is a `VectorQuantizer`.
    """
    codebook = codebook_of(network, variables)
    size, dimension = codebook.vectors.shape
    x = network.scale(batch.network_inputs)
    features = network.apply(variables, x, batch.labels, method="features")
    outputs = in_groups(lax.stop_gradient(features), dimension)
    indices = nearest(codebook.vectors, outputs)
    codes = lax.stop_gradient(codebook.vectors[indices].reshape(features.shape))
    z = straight_through(features, codes)
    reconstruction = network.distortion(variables, z, batch)
    error = losses.squared_error(features, codes)
    updated = update_codebook(
        codebook, outputs, indices, batch.weights, key, decay=decay, threshold=threshold
    )
    return Terms(
        reconstruction + commitment * error,
        {
            "reconstruction": reconstruction,
            "commitment_error": error,
            "perplexity": perplexity(count_uses(indices, batch.weights, size)),
        },
        {"codebook": {"bottleneck": dict(vars(updated))}},
    )


def codebook_of(network: Network, variables: Variables) -> Codebook:
    """The codebook among a network's variables; UserError if its bottleneck has none."""
    if not isinstance(network.quantizer, VectorQuantizer):
        raise UserError(
            f"a quantizer of {network.quantizer!r} has no codebook to train: give an Autoencoder a "
            "VectorQuantizer, or train this network with objectives.reconstruction"
        )
    return Codebook(**variables["codebook"]["bottleneck"])


def perplexity(counts: Array) -> Array:
    """exp(entropy) of how often each code was used, float [size]: from 1 to size, a scalar."""
    return jnp.exp(entr(counts / counts.sum()).sum())
