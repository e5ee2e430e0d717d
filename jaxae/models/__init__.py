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
    count_parameters,
)
from jaxae.models.bottlenecks import FiniteScalarQuantizer, TopK, VectorQuantizer
from jaxae.models.layers import Conv, Pool
from jaxae.models.pairs import Design, make_pair
from jaxae.models.published import conv, deep, denoise, fashion, latent2d, latent3d, vae

__all__ = [
    "Autoencoder",
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
    "conv",
    "count_parameters",
    "deep",
    "denoise",
    "fashion",
    "latent2d",
    "latent3d",
    "make_pair",
    "vae",
]
