"""The published networks by name, as functions of the image shape (H, W, C) and the code size.

The dense ones also take the shape (D,) of vectors. As in Flax, `dtype` is the dtype of the
computation; None promotes inputs and parameters. Sizes below 1, and vectors for convolutions, raise
`UserError`.
"""

import flax.linen as nn
from flax.typing import Dtype
from jax import Array
from jaxtyping import Float

from jaxae.errors import UserError
from jaxae.models.autoencoders import (
    Autoencoder,
    ConvDecoder,
    ConvEncoder,
    DenseDecoder,
    DenseEncoder,
    Shape,
    VariationalAutoencoder,
    check_image_shape,
    check_shape,
)
from jaxae.models.layers import ConvLayer, PoolLayer, halvings, keras, lecun, pytorch


def fashion(shape: Shape, latent: int = 20, *, dtype: Dtype | None = None) -> Autoencoder:
    """Dense 784-256-128-latent and back, ReLU, a linear code; 473,636 parameters at latent 20."""
    check_shape(shape)
    _check_latent(latent)
    return Autoencoder(
        DenseEncoder((256, 128), latent, initialization=keras, dtype=dtype),
        DenseDecoder((128, 256), shape, initialization=keras, dtype=dtype),
    )


def denoise(shape: Shape, *, dtype: Dtype | None = None) -> Autoencoder:
    """The convolutional denoiser: convolutions with pooling, then upsampling; 4,385 parameters.

    The code has 1/8 of the image's height and width, rounded up, and 8 channels. As published, a
    VALID convolution turns 16 pixels into 14, so that the sides go from 28 to 4 and back to 28.
    For images whose size that does not restore, the convolution is SAME, and each upsampling is
    cropped to the size before the pooling that it mirrors.
    """
    check_image_shape(shape)
    sizes = halvings(shape, 3)
    as_published = shape[0] % 8 == shape[1] % 8 == 4
    halve = PoolLayer(2, 2, "SAME")
    encoder = (ConvLayer(16, pool=halve), ConvLayer(8, pool=halve), ConvLayer(8, pool=halve))
    decoder = (
        ConvLayer(8, upsample=2, size=None if as_published else sizes[2]),
        ConvLayer(8, upsample=2, size=None if as_published else sizes[1]),
        ConvLayer(16, padding="VALID" if as_published else "SAME", upsample=2, size=sizes[0]),
        ConvLayer(shape[-1]),
    )
    return Autoencoder(
        ConvEncoder(encoder, initialization=keras, dtype=dtype),
        ConvDecoder(decoder, initialization=keras, dtype=dtype),
    )


def leaky_relu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """LeakyReLU with Keras's default slope, 0.3."""
    return nn.leaky_relu(x, negative_slope=0.3)


def latent2d(shape: Shape, latent: int = 2, *, dtype: Dtype | None = None) -> Autoencoder:
    """Strided and transposed convolutions, a 2-D code, LeakyReLU; 200,963 parameters."""
    check_image_shape(shape)
    _check_latent(latent)
    sizes = halvings(shape, 2)
    encoder = (ConvLayer(32), ConvLayer(64, stride=2), ConvLayer(64, stride=2), ConvLayer(64))
    decoder = (
        ConvLayer(64, transpose=True),
        ConvLayer(64, stride=2, transpose=True, size=sizes[1]),
        ConvLayer(32, stride=2, transpose=True, size=sizes[0]),
        ConvLayer(shape[-1], transpose=True),
    )
    start = (*sizes[2], 64)
    return Autoencoder(
        ConvEncoder(encoder, latent, activation=leaky_relu, initialization=keras, dtype=dtype),
        ConvDecoder(decoder, start, activation=leaky_relu, initialization=keras, dtype=dtype),
    )


def latent3d(shape: Shape, latent: int = 3, *, dtype: Dtype | None = None) -> Autoencoder:
    """Dense 784-128-64-12-latent and back, ReLU, a linear code; 219,891 parameters at latent 3."""
    check_shape(shape)
    _check_latent(latent)
    return Autoencoder(
        DenseEncoder((128, 64, 12), latent, initialization=pytorch, dtype=dtype),
        DenseDecoder((12, 64, 128), shape, initialization=pytorch, dtype=dtype),
    )


def conv(shape: Shape, *, dtype: Dtype | None = None) -> Autoencoder:
    """Strided convolutions and pooling, sides 28-10-5-3-2 and back 2-5-15-28; 5,729 parameters.

    It reproduces few other sizes: the code of 32 pixels, for example, also stands for 28.
    """
    check_image_shape(shape)
    encoder = (
        ConvLayer(16, stride=3, padding=1, pool=PoolLayer(2, 2, "VALID")),
        ConvLayer(8, stride=2, padding=1, pool=PoolLayer(2, 1, "VALID")),
    )
    decoder = (
        ConvLayer(16, stride=2, padding=0, transpose=True),
        ConvLayer(8, kernel_size=5, stride=3, padding=1, transpose=True),
        ConvLayer(shape[-1], kernel_size=2, stride=2, padding=1, transpose=True),
    )
    return Autoencoder(
        ConvEncoder(encoder, initialization=pytorch, dtype=dtype),
        ConvDecoder(decoder, initialization=pytorch, dtype=dtype),
    )


def deep(shape: Shape, latent: int = 196, *, dtype: Dtype | None = None) -> Autoencoder:
    """Dense 784-392-latent-392-784, ReLU on layers and code; 770,084 parameters at latent 196."""
    check_shape(shape)
    _check_latent(latent)
    return Autoencoder(
        DenseEncoder((392,), latent, latent_activation=nn.relu, initialization=lecun, dtype=dtype),
        DenseDecoder((392,), shape, initialization=lecun, dtype=dtype),
    )


def vae(shape: Shape, latent: int = 20, *, dtype: Dtype | None = None) -> VariationalAutoencoder:
    """Dense 784-500-latent-500-784, ReLU; 815,824 parameters at latent 20.

    Kingma and Welling 2014.
    """
    check_shape(shape)
    _check_latent(latent)
    return VariationalAutoencoder(
        DenseEncoder((500,), 2 * latent, initialization=lecun, dtype=dtype),
        DenseDecoder((500,), shape, initialization=lecun, dtype=dtype),
    )


def _check_latent(latent: int) -> None:
    """Raises `UserError` unless the code has at least one dimension."""
    if latent < 1:
        raise UserError(f"a latent of {latent} was given: a code has 1 or more dimensions")
