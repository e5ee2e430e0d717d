"""Flax Linen autoencoders: building blocks, and the published networks by name."""

from jaxae.models.autoencoders import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Gaussian,
    HasPosterior,
    Shape,
    VariationalAutoencoder,
    check_labels,
    count_parameters,
    identity,
    is_dense,
)
from jaxae.models.bottlenecks import (
    FiniteScalarQuantizer,
    Quantizer,
    TopK,
    in_groups,
    straight_through,
)
from jaxae.models.codebooks import (
    Codebook,
    VectorQuantizer,
    count_uses,
    nearest,
    update_codebook,
)
from jaxae.models.descriptions import build, describe
from jaxae.models.design import Design, make_pair
from jaxae.models.layers import ConvLayer, PoolLayer, lecun, limited_scale, logistic
from jaxae.models.operations import (
    ACTIVATIONS,
    Operation,
    decoder_operations,
    encoder_operations,
)
from jaxae.models.published import conv, deep, denoise, fashion, latent2d, latent3d, vae
from jaxae.models.residual import ResidualDecoder, ResidualEncoder

__all__ = [
    "ACTIVATIONS",
    "Autoencoder",
    "Codebook",
    "ConvDecoder",
    "ConvEncoder",
    "ConvLayer",
    "DenseDecoder",
    "DenseEncoder",
    "Design",
    "FiniteScalarQuantizer",
    "Gaussian",
    "HasPosterior",
    "Operation",
    "PoolLayer",
    "Quantizer",
    "ResidualDecoder",
    "ResidualEncoder",
    "Shape",
    "TopK",
    "VariationalAutoencoder",
    "VectorQuantizer",
    "build",
    "check_labels",
    "conv",
    "count_parameters",
    "count_uses",
    "decoder_operations",
    "deep",
    "denoise",
    "describe",
    "encoder_operations",
    "fashion",
    "identity",
    "in_groups",
    "is_dense",
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
