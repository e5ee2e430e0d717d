"""Objectives that draw all codes of a batch together to the prior N(0, 1)."""

import flax.linen as nn
import jax
from jax import Array

from jaxae import losses
from jaxae.discrepancies import Kernel, imq, mmd
from jaxae.errors import UserError
from jaxae.likelihoods import Likelihood
from jaxae.objectives.regularized import encode_and_reconstruct
from jaxae.objectives.variational import distortion_of, draw, posterior_of
from jaxae.train import Batch, Terms, Variables


def wasserstein(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    weight: float = 100.0,
    kernel: Kernel = imq,
) -> Terms:
    """Reconstruction and the MMD between codes and prior (Tolstikhin et al. 2018, algorithm 2).

    The weight is in units of the likelihood's loss: the paper's 10 for MNIST is of a squared error
    an image, and 500 under Gaussian pixels with a standard deviation of 0.1.
    """
    z, reconstruction = encode_and_reconstruct(variables, batch, model=model, likelihood=likelihood)
    discrepancy = to_prior(key, z, batch, kernel)
    return Terms(
        reconstruction + weight * discrepancy,
        {"reconstruction": reconstruction, "discrepancy": discrepancy},
    )


def info_vae(
    variables: Variables,
    key: Array,
    batch: Batch,
    *,
    model: nn.Module,
    likelihood: Likelihood,
    alpha: float = 0.5,
    strength: float = 100.0,
    kernel: Kernel = imq,
) -> Terms:
    """Reconstruction, (1 - alpha) KL, and (alpha + strength - 1) times the MMD of codes and prior.

    Zhao et al. 2019, eq. 6, whose lambda is the strength. Raises UserError where the discrepancy's
    weight is below 0.
    """
    if alpha + strength < 1:
        raise UserError(
            f"alpha = {alpha} and strength = {strength} were given: their sum is 1 or more, or the "
            "discrepancy would be maximized"
        )
    code_key, prior_key = jax.random.split(key)
    posterior = posterior_of(variables, batch, model=model, likelihood=likelihood)
    z = draw(code_key, posterior)
    reconstruction = distortion_of(variables, z, batch, model=model, likelihood=likelihood)
    kl = losses.kl_to_standard_normal(posterior.mean, posterior.log_variance)
    discrepancy = to_prior(prior_key, z, batch, kernel)
    return Terms(
        reconstruction + (1 - alpha) * kl + (alpha + strength - 1) * discrepancy,
        {"reconstruction": reconstruction, "kl": kl, "discrepancy": discrepancy},
    )


def to_prior(key: Array, z: Array, batch: Batch, kernel: Kernel) -> Array:
    """The MMD between codes [B, ...] and as many draws from the prior, a scalar."""
    codes = z.reshape(z.shape[0], -1)
    return mmd(codes, jax.random.normal(key, codes.shape), batch.weights, kernel=kernel)
