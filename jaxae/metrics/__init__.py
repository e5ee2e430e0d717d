"""Metrics of images and codes.

The log-likelihood needs a network, so `jaxae.evaluate` estimates it.
"""

from jaxae.metrics.codes import active_units, perplexity
from jaxae.metrics.generation import (
    KernelDistance,
    PrecisionAndRecall,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_and_recall,
)
from jaxae.metrics.images import mse, psnr, r_squared, ssim
from jaxae.metrics.pca import PCA, fit_pca
from jaxae.metrics.probes import linear_probe_accuracy, neighbor_accuracy

__all__ = [
    "PCA",
    "KernelDistance",
    "PrecisionAndRecall",
    "active_units",
    "fit_pca",
    "frechet_distance",
    "inception_score",
    "kernel_distance",
    "linear_probe_accuracy",
    "mse",
    "neighbor_accuracy",
    "perplexity",
    "precision_and_recall",
    "psnr",
    "r_squared",
    "ssim",
]
