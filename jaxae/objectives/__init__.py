"""Objectives: from (variables, key, batch) to terms; `functools.partial` gives them their model.

A variant changes the batch or a weight and calls another: denoising is reconstruction from
corrupted inputs, a beta-VAE is the ELBO with another weight.
"""

from jaxae.objectives.corruptions import (
    add_gaussian_noise,
    binarize,
    denoising,
    dynamically_binarized,
)
from jaxae.objectives.deterministic import reconstruction, with_image_errors
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
from jaxae.objectives.variational import negative_elbo

__all__ = [
    "add_gaussian_noise",
    "binarize",
    "call",
    "condition",
    "decode",
    "denoising",
    "dynamically_binarized",
    "encode",
    "inputs_of",
    "negative_elbo",
    "network_input",
    "reconstruct",
    "reconstruction",
    "targets_of",
    "with_image_errors",
]
