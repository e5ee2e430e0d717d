"""Objectives: from (variables, key, batch) to terms; `functools.partial` gives them their model.

A variant changes the batch or a weight and calls another: denoising is reconstruction from
corrupted inputs, a beta-VAE is the ELBO with another weight. `jaxae.family` lists them all.
"""

from jaxae.objectives.corruptions import (
    add_gaussian_noise,
    add_salt_and_pepper,
    binarize,
    denoising,
    dynamically_binarized,
    mask_pixels,
)
from jaxae.objectives.deterministic import reconstruction, with_image_errors
from jaxae.objectives.discrepancy import info_vae, wasserstein
from jaxae.objectives.importance_weighted import ciwae, iwae, miwae, piwae
from jaxae.objectives.networks import (
    call,
    condition,
    decode,
    encode,
    inputs_of,
    network_input,
    reconstruct,
    targets_of,
)
from jaxae.objectives.quantized import vector_quantized
from jaxae.objectives.regularized import (
    contractive,
    contractive_estimate,
    rae_gp,
    rae_l2,
    sparse_kl,
    sparse_l1,
)
from jaxae.objectives.total_correlation import beta_tc
from jaxae.objectives.variational import (
    capacity_annealed,
    capacity_schedule,
    distortions_of,
    negative_elbo,
    posterior_of,
)

__all__ = [
    "add_gaussian_noise",
    "add_salt_and_pepper",
    "beta_tc",
    "binarize",
    "call",
    "capacity_annealed",
    "capacity_schedule",
    "ciwae",
    "condition",
    "contractive",
    "contractive_estimate",
    "decode",
    "denoising",
    "distortions_of",
    "dynamically_binarized",
    "encode",
    "info_vae",
    "inputs_of",
    "iwae",
    "mask_pixels",
    "miwae",
    "negative_elbo",
    "network_input",
    "piwae",
    "posterior_of",
    "rae_gp",
    "rae_l2",
    "reconstruct",
    "reconstruction",
    "sparse_kl",
    "sparse_l1",
    "targets_of",
    "vector_quantized",
    "wasserstein",
    "with_image_errors",
]
