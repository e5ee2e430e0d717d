"""Residual encoders and decoders: the convolutional networks of today's image autoencoders.

Each layer is followed by a residual block of two 3x3 convolutions (He et al. 2016, "identity
mappings"), and group norm and an activation come before each convolution of a block, as in the
first stages of latent diffusion (Rombach et al. 2022, appendix E), but without attention.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype
from flax.typing import Dtype
from jax import Array, lax
from jaxtyping import Float

from jaxae import convolutions
from jaxae.models import stacks
from jaxae.models.autoencoders import Shape, check_image_shape, identity
from jaxae.models.layers import Activation, ConvLayer, Initialization, dense, lecun
from jaxae.models.stacks import Parameters

EPSILON = 1e-6


class ResidualEncoder(nn.Module):
    """Residual blocks from images to codes.

    Codes are vectors of size `latent`, or feature maps if it is None. Each layer is followed by a
    block, except for the last one if codes are feature maps.
    """

    layers: tuple[ConvLayer, ...]
    latent: int | None = None
    activation: Activation = nn.silu
    latent_activation: Activation = identity
    initialization: Initialization = lecun
    dtype: Dtype | None = None

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch *code"]:
        check_image_shape(x.shape[1:])
        *layers, last = self.layers
        if self.latent is None:
            x = convolve(x, layers, last, self.activation, self.initialization, self.dtype)
        else:
            x = convolve(x, self.layers, None, self.activation, self.initialization, self.dtype)
            x = dense(x.reshape(x.shape[0], -1), self.latent, self.initialization, self.dtype)
        return self.latent_activation(x)


class ResidualDecoder(nn.Module):
    """Residual blocks from codes to logits; each layer but the last is followed by a block.

    With `start`, codes are vectors, which a dense layer first maps to feature maps of this shape.
    Without it, codes are feature maps. A layer's upsampling follows its block.
    """

    layers: tuple[ConvLayer, ...]
    start: Shape | None = None
    activation: Activation = nn.silu
    initialization: Initialization = lecun
    dtype: Dtype | None = None

    @nn.compact
    def __call__(self, z: Float[Array, "batch *code"]) -> Float[Array, "batch height width logits"]:
        if self.start is not None:
            z = dense(z, math.prod(self.start), self.initialization, self.dtype)
            z = z.reshape(z.shape[0], *self.start)
        *layers, last = self.layers
        return convolve(z, layers, last, self.activation, self.initialization, self.dtype)


class _ScaleAndBias(nn.Module):
    """The parameters of a group norm, named as Flax's module names them."""

    features: int

    @nn.compact
    def __call__(self) -> tuple[Float[Array, " features"], Float[Array, " features"]]:
        return (
            self.param("scale", nn.initializers.ones, (self.features,), jnp.float32),
            self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32),
        )


def convolve(
    x: Float[Array, "batch height width channels"],
    layers: Sequence[ConvLayer],
    last: ConvLayer | None,
    activation: Activation,
    initialization: Initialization,
    dtype: Dtype | None,
) -> Float[Array, "batch new_height new_width features"]:
    """Applies layers, each followed by a block, then group norm, the activation and a last layer.

    The parameters are Conv_0, GroupNorm_0 and so on, in the order of use. As in `stacks.convolve`,
    a program that is compiled for a CPU computes matrix products.
    """
    flat = _convolutions(layers, last)
    kernels = stacks.declare(flat, x.shape[-1], initialization)
    widths = [layer.features for layer in layers for _ in range(2)] + [layers[-1].features]
    norms = [
        _ScaleAndBias(features, name=f"GroupNorm_{number}")()
        for number, features in enumerate(widths)
    ]
    leaves, structure = jax.tree.flatten((x, kernels))
    x, kernels = jax.tree.unflatten(structure, promote_dtype(*leaves, dtype=dtype))
    settings = {"layers": tuple(layers), "last": last, "activation": activation}
    size = stacks.tile_size(x.shape, kernels, flat)

    def by_tiles(x: Array, kernels: Parameters, norms: Parameters) -> Array:
        def apply(tile: Array, parameters: tuple[Parameters, Parameters]) -> Array:
            return by_products(tile, *parameters, **settings)

        return convolutions.map_tiles(apply, x, (kernels, norms), size)

    return lax.platform_dependent(
        x,
        kernels,
        norms,
        cpu=by_tiles,
        default=partial(by_convolutions, **settings),
    )


def _convolutions(layers: Sequence[ConvLayer], last: ConvLayer | None) -> list[ConvLayer]:
    """Returns all convolutions in the order of use; a layer's upsampling follows its block."""
    convolutions = []
    for layer in layers:
        features, factor = layer.features, layer.upsample
        first = layer if factor == 1 else replace(layer, upsample=1, size=None)
        after = None if factor == 1 else layer.size
        convolutions += [
            first,
            ConvLayer(features),
            ConvLayer(features, upsample=factor, size=after),
        ]
    return convolutions if last is None else [*convolutions, last]


def by_convolutions(
    x: Float[Array, "batch height width channels"],
    kernels: Parameters,
    norms: Parameters,
    *,
    layers: Sequence[ConvLayer],
    last: ConvLayer | None,
    activation: Activation,
) -> Float[Array, "batch new_height new_width features"]:
    """Applies residual layers with XLA's convolutions, for GPUs and TPUs."""
    return _forward(x, kernels, norms, layers, last, activation, stacks.convolution, axis=3)


def by_products(
    x: Float[Array, "batch height width channels"],
    kernels: Parameters,
    norms: Parameters,
    *,
    layers: Sequence[ConvLayer],
    last: ConvLayer | None,
    activation: Activation,
) -> Float[Array, "batch new_height new_width features"]:
    """Applies residual layers with matrix products, for CPUs: the batch goes last."""
    x = x.transpose(3, 1, 2, 0)
    x = _forward(x, kernels, norms, layers, last, activation, stacks.product, axis=0)
    return x.transpose(3, 1, 2, 0)


def _forward(
    x: Array,
    kernels: Parameters,
    norms: Parameters,
    layers: Sequence[ConvLayer],
    last: ConvLayer | None,
    activation: Activation,
    convolution: Callable[[Array, Array, ConvLayer, int], Array],
    *,
    axis: int,
) -> Array:
    """Applies residual layers to images whose channels are along `axis`, 0 or 3."""
    remaining_kernels, remaining_norms = iter(kernels), iter(norms)

    def convolve(x: Array, layer: ConvLayer, factor: int = 1) -> Array:
        kernel, bias = next(remaining_kernels)
        return convolutions.keep(convolution(x, kernel, layer, factor) + _along(axis, bias))

    def normalize(x: Array) -> Array:
        return activation(group_norm(x, *next(remaining_norms), axis=axis))

    factor = 1  # x still has to be upsampled by this factor
    for layer in layers:
        x = convolve(x, layer, factor)
        y = convolve(normalize(x), ConvLayer(layer.features))
        x = x + convolve(normalize(y), ConvLayer(layer.features))
        x, factor = stacks.defer_upsampling(x, layer)
    x = normalize(x)  # of each pixel, so it may precede the upsampling
    return x if last is None else convolve(x, last, factor)


def group_norm(
    x: Float[Array, "first height width last"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    *,
    axis: int,
) -> Float[Array, "first height width last"]:
    """Normalizes each example's groups of channels, then scales and shifts each channel.

    Wu and He 2018. Channels are along `axis`, 0 or 3, and the batch is along the other. Means and
    variances are float32 or wider.
    """
    channels = x.shape[axis]
    groups = groups_of(channels)
    wide = x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)
    grouped = wide.reshape(*x.shape[:axis], groups, channels // groups, *x.shape[axis + 1 :])
    within = (1, 2, 3) if axis == 0 else (1, 2, 4)  # all but the batch and the groups
    centered = grouped - grouped.mean(within, keepdims=True)
    variance = jnp.square(centered).mean(within, keepdims=True)
    normal = (centered * lax.rsqrt(variance + EPSILON)).reshape(x.shape)
    scale, bias = (_along(axis, each.astype(wide.dtype)) for each in (scale, bias))
    return (normal * scale + bias).astype(x.dtype)


def groups_of(channels: int) -> int:
    """Returns the groups of a norm: up to 32, of 4 channels or more where that divides them."""
    return math.gcd(channels, min(32, max(1, channels // 4)))


def _along(axis: int, values: Float[Array, " channels"]) -> Float[Array, "..."]:
    """Reshapes one value per channel to broadcast with images whose channels are along `axis`."""
    return values.reshape((-1, 1, 1, 1) if axis == 0 else (1, 1, 1, -1))
