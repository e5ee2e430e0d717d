"""The layers all networks are made of, and the one place that computes a convolution or a pooling.

Functions here are called inside a compact Linen method, where they add their parameters
(`kernel`, `bias`, laid out as Flax lays them out) to the calling module.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Initializer
from jax import Array

Activation = Callable[[Array], Array]

Initialization = Callable[[int], tuple[Initializer, Initializer]]
"""From a layer's fan-in to the initializers of its kernel and of its bias."""


def keras(fan_in: int) -> tuple[Initializer, Initializer]:
    """Keras's default: Glorot uniform kernels, zero biases (Glorot and Bengio 2010, eq. 16)."""
    del fan_in
    return nn.initializers.glorot_uniform(), nn.initializers.zeros


def pytorch(fan_in: int) -> tuple[Initializer, Initializer]:
    """PyTorch's default: kernel and bias uniform in ±1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def uniform(key: Array, shape, dtype=jnp.float32, out_sharding=None) -> Array:
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return uniform, uniform


def lecun(fan_in: int) -> tuple[Initializer, Initializer]:
    """Flax's default: variance scaling 1.0, fan-in, truncated normal; zero biases."""
    del fan_in
    return nn.initializers.lecun_normal(), nn.initializers.zeros


@dataclass(frozen=True)
class Pool:
    """A max-pool over squares; SAME pads at the borders as in Keras, VALID drops what is left."""

    window: int
    stride: int
    padding: Literal["SAME", "VALID"]


@dataclass(frozen=True)
class Conv:
    """A convolution and what follows its activation: a max-pool or an upsampling."""

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] | int = "SAME"  # a number: pixels on each side, as in PyTorch
    transpose: bool = False
    pool: Pool | None = None
    upsample: int = 1  # nearest neighbour


def dense(x: Array, features: int, initialization: Initialization) -> Array:
    """An affine map of the last axis, [..., D] to [..., features]."""
    kernel, bias = initialization(x.shape[-1])
    return nn.Dense(features, kernel_init=kernel, bias_init=bias)(x)


def convolve(x: Array, layer: Conv, initialization: Initialization) -> Array:
    """The convolution of `layer` alone, [B, H, W, C] to [B, H', W', features]."""
    area = layer.kernel_size**2
    size = (layer.kernel_size, layer.kernel_size)
    strides = (layer.stride, layer.stride)
    if layer.transpose:
        # PyTorch counts a transposed kernel's fan-in over its outputs; the others read shapes.
        kernel, bias = initialization(layer.features * area)
        padding = layer.padding
        if isinstance(padding, int):
            # PyTorch's padding crops the output; lax's pads the dilated input.
            around = layer.kernel_size - 1 - padding
            padding = [(around, around), (around, around)]
        module = nn.ConvTranspose(
            layer.features, size, strides, padding, kernel_init=kernel, bias_init=bias
        )
    else:
        kernel, bias = initialization(x.shape[-1] * area)
        module = nn.Conv(
            layer.features, size, strides, layer.padding, kernel_init=kernel, bias_init=bias
        )
    return module(x)


def resample(x: Array, layer: Conv) -> Array:
    """The max-pool or the nearest upsampling of `layer`, [B, H, W, C] to [B, H', W', C]."""
    if layer.pool is not None:
        window, stride = layer.pool.window, layer.pool.stride
        x = nn.max_pool(x, (window, window), (stride, stride), layer.pool.padding)
    if layer.upsample > 1:
        x = jnp.repeat(jnp.repeat(x, layer.upsample, axis=1), layer.upsample, axis=2)
    return x


def convolutions_loop_well() -> bool:
    """Whether XLA runs convolutions inside compiled loops as fast as outside them.

    On the CPU it does not (jax-ml/jax#12868): there a step a dispatch is several times faster.
    """
    return jax.default_backend() != "cpu"
