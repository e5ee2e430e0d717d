"""Objectives: functions (variables, key, batch) -> Terms, with a network bound by `partial`.

A variant changes the batch or a weight and calls another objective: denoising is reconstruction
from corrupted inputs, a beta-VAE is the ELBO with another weight. `jaxae.family` lists them all.
"""

from jaxae.objectives.corruptions import (
    add_gaussian_noise,
    add_salt_and_pepper,
    binarize,
    denoising,
    dynamically_binarized,
    mask_pixels,
)
from jaxae.objectives.discrepancy import info_vae, rbf, wasserstein
from jaxae.objectives.importance_weighted import ciwae, iwae, miwae, piwae
from jaxae.objectives.posterior import check_count, log_mean_exp, log_weights
from jaxae.objectives.quantized import vector_quantized
from jaxae.objectives.reconstruction import (
    make_reconstruction,
    reconstruction,
    with_image_errors,
)
from jaxae.objectives.regularized import (
    contractive,
    contractive_estimate,
    rae_gp,
    rae_l2,
    sparse_kl,
    sparse_l1,
)
from jaxae.objectives.total_correlation import beta_tc
from jaxae.objectives.variational import capacity_annealed, capacity_schedule, negative_elbo
from jaxae.objectives.warmup import kl_warmup, kl_warmup_schedule

__all__ = [
    "add_gaussian_noise",
    "add_salt_and_pepper",
    "beta_tc",
    "binarize",
    "capacity_annealed",
    "capacity_schedule",
    "check_count",
    "ciwae",
    "contractive",
    "contractive_estimate",
    "denoising",
    "dynamically_binarized",
    "info_vae",
    "iwae",
    "kl_warmup",
    "kl_warmup_schedule",
    "log_mean_exp",
    "log_weights",
    "make_reconstruction",
    "mask_pixels",
    "miwae",
    "negative_elbo",
    "piwae",
    "rae_gp",
    "rae_l2",
    "rbf",
    "reconstruction",
    "sparse_kl",
    "sparse_l1",
    "vector_quantized",
    "wasserstein",
    "with_image_errors",
]
