"""Layers of the networks, and the initialization of their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype, Initializer
from jax import Array, lax
from jaxtyping import Float

Activation = Callable[[Array], Array]

Initialization = Callable[[int], tuple[Initializer, Initializer]]
"""Maps a layer's fan-in to the initializers of its kernel and its bias."""


def keras(fan_in: int) -> tuple[Initializer, Initializer]:
    """Keras's default: Glorot uniform kernels, zero biases (Glorot and Bengio 2010, eq. 16)."""
    del fan_in
    return nn.initializers.glorot_uniform(), nn.initializers.zeros


def pytorch(fan_in: int) -> tuple[Initializer, Initializer]:
    """PyTorch's default: kernel and bias uniform in ±1/sqrt(fan_in)."""
    bound = fan_in**-0.5

    def uniform(
        key: Array, shape: Any, dtype: Any = jnp.float32, out_sharding: Any = None
    ) -> Array:
        del out_sharding
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return uniform, uniform


def lecun(fan_in: int) -> tuple[Initializer, Initializer]:
    """Flax's default: variance scaling 1.0, fan-in, truncated normal; zero biases."""
    del fan_in
    return nn.initializers.lecun_normal(), nn.initializers.zeros


def logistic(fan_in: int) -> tuple[Initializer, Initializer]:
    """Glorot uniform kernels times 4, for layers of logistic units; zero biases.

    The slope of the logistic function is 1/4 at 0 (LeCun et al. 1998; Glorot and Bengio 2010).
    """
    del fan_in
    return nn.initializers.variance_scaling(16.0, "fan_avg", "uniform"), nn.initializers.zeros


def limited_scale(x: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
    """Scales the last axis down to a root mean square of 2, if it is larger."""
    limit = 2.0  # a hyperbolic tangent still has a slope there
    mean_square = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x * limit * lax.rsqrt(jnp.maximum(mean_square, limit**2))


@dataclass(frozen=True)
class PoolLayer:
    """A max-pool over squares; SAME pads the borders as Keras does, VALID drops the remainder."""

    window: int
    stride: int
    padding: Literal["SAME", "VALID"]


@dataclass(frozen=True)
class ConvLayer:
    """A convolution, and a max-pool or an upsampling that follows its activation.

    A transposed or upsampling layer multiplies the height and the width. With `size`, it undoes a
    step that rounded them up: a transposed layer is the adjoint of the strided convolution of
    images of this size, and an upsampling leaves out the last rows and columns.
    """

    features: int
    kernel_size: int = 3
    stride: int = 1
    padding: Literal["SAME", "VALID"] | int = "SAME"  # an int: pixels on each side, as in PyTorch
    transpose: bool = False
    pool: PoolLayer | None = None
    upsample: int = 1  # nearest neighbor
    size: tuple[int, int] | None = None  # height and width of the output; None: all of it


def halvings(shape: tuple[int, ...], count: int) -> list[tuple[int, int]]:
    """Returns the height and width of an image, and after each of `count` halvings, rounded up."""
    height, width = shape[:2]
    return [(-(-height // 2**n), -(-width // 2**n)) for n in range(count + 1)]


def dense(
    x: Float[Array, "*batch inputs"],
    features: int,
    initialization: Initialization,
    dtype: Dtype | None = None,
) -> Float[Array, "*batch {features}"]:
    """Applies a dense layer to the last axis of x, inside a compact Linen method."""
    kernel, bias = initialization(x.shape[-1])
    return nn.Dense(features, dtype=dtype, kernel_init=kernel, bias_init=bias)(x)
