"""The objective of codes from a codebook; other quantized codes need `reconstruction` alone."""

import flax.linen as nn
import jax.numpy as jnp
from jax import Array, lax
from jax.scipy.special import entr

from jaxae import losses
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.models import (
    Codebook,
    VectorQuantizer,
    count_uses,
    in_groups,
    nearest,
    straight_through,
    update_codebook,
)
from jaxae.objectives.networks import call, condition, network_input
from jaxae.objectives.variational import distortion_of
from jaxae.train import Batch, Terms, Variables


def vector_quantized(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
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
    codebook = codebook_of(model, variables)
    size, dimension = codebook.vectors.shape
    x = network_input(batch, likelihood)
    features = call(model, variables, x, *condition(model, batch.labels), method="features")
    outputs = in_groups(lax.stop_gradient(features), dimension)
    indices = nearest(codebook.vectors, outputs)
    codes = lax.stop_gradient(codebook.vectors[indices].reshape(features.shape))
    z = straight_through(features, codes)
    reconstruction = distortion_of(variables, z, batch, model=model, likelihood=likelihood)
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


def codebook_of(model: nn.Module, variables: Variables) -> Codebook:
    """The codebook among a model's variables; UserError where its bottleneck has none."""
    bottleneck = getattr(model, "bottleneck", None)
    if not isinstance(bottleneck, VectorQuantizer):
        raise UserError(
            f"a bottleneck of {bottleneck!r} has no codebook to train: give an Autoencoder a "
            "VectorQuantizer, or train this network with objectives.reconstruction"
        )
    return Codebook(**variables["codebook"]["bottleneck"])


def perplexity(counts: Array) -> Array:
    """exp(entropy) of how often each code was used, float [size]: from 1 to size, a scalar."""
    return jnp.exp(entr(counts / counts.sum()).sum())
