"""Flax Linen autoencoders: building blocks, and the published networks by name."""

from jaxae.models.autoencoders import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Gaussian,
    Shape,
    VariationalAutoencoder,
    check_labels,
    count_parameters,
)
from jaxae.models.bottlenecks import (
    Codebook,
    FiniteScalarQuantizer,
    TopK,
    VectorQuantizer,
    count_uses,
    in_groups,
    nearest,
    straight_through,
    update_codebook,
)
from jaxae.models.descriptions import build, describe
from jaxae.models.layers import Conv, Pool, lecun, limited_scale, logistic
from jaxae.models.pairs import Design, make_pair
from jaxae.models.published import conv, deep, denoise, fashion, latent2d, latent3d, vae

__all__ = [
    "Autoencoder",
    "Codebook",
    "Conv",
    "ConvDecoder",
    "ConvEncoder",
    "DenseDecoder",
    "DenseEncoder",
    "Design",
    "FiniteScalarQuantizer",
    "Gaussian",
    "Pool",
    "Shape",
    "TopK",
    "VariationalAutoencoder",
    "VectorQuantizer",
    "build",
    "check_labels",
    "conv",
    "count_parameters",
    "count_uses",
    "deep",
    "denoise",
    "describe",
    "fashion",
    "in_groups",
    "latent2d",
    "latent3d",
    "lecun",
    "limited_scale",
    "logistic",
    "make_pair",
    "nearest",
    "straight_through",
    "update_codebook",
    "vae",
]
