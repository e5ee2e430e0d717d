"""The objective that trains a codebook; other quantizers need only `reconstruction`."""

import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import entr
from jaxtyping import Float, Key

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
    key: Key[Array, ""],
    batch: Batch,
    *,
    network: Network,
    commitment: Float[Array, ""] | float = 0.25,
    decay: Float[Array, ""] | float = 0.99,
    threshold: float = 0.1,
) -> Terms:
    """Reconstruction plus commitment to a codebook that moving averages of the encoder update.

    van den Oord et al. 2017, eq. 3, with the moving averages of appendix A.1 instead of the second
    term. The metric "commitment_error" is the squared distance from the encoder's outputs to their
    codes, summed over the code just as "reconstruction" is summed over the image; "perplexity" is
    that of the batch's codes, a scalar. The collections hold the updated codebook; `decay` and
    `threshold` are those of `update_codebook`. Raises `UserError` unless the model's bottleneck is
    a `VectorQuantizer`.
    """
    codebook = _codebook_of(network, variables)
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
            "perplexity": _perplexity(count_uses(indices, batch.weights, size)),
        },
        {"codebook": {"bottleneck": dict(vars(updated))}},
    )


def _codebook_of(network: Network, variables: Variables) -> Codebook:
    """Returns the codebook in a network's variables; raises `UserError` if it has none."""
    if not isinstance(network.quantizer, VectorQuantizer):
        raise UserError(
            f"a quantizer of {network.quantizer!r} has no codebook to train: give an Autoencoder a "
            "VectorQuantizer, or train this network with objectives.reconstruction"
        )
    return Codebook(**variables["codebook"]["bottleneck"])


def _perplexity(counts: Float[Array, " size"]) -> Float[Array, ""]:
    """exp(entropy) of the codes' frequencies, from 1 to size."""
    return jnp.exp(entr(counts / counts.sum()).sum())
