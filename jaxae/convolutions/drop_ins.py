"""Flax's `Conv`, `ConvTranspose` and `max_pool`, made fast on the CPU, their gradients included.

The modules take Flax's arguments and have Flax's parameters, so weights move freely between them.
In a program compiled for a CPU, convolutions of images are computed as matrix products. XLA's own
convolution is used on other devices, for inputs of other ranks, for dilated kernels, for groups,
and if a precision is given.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.linear import canonicalize_padding
from jax import Array, lax
from jaxtyping import Float, Num

from jaxae.convolutions import products
from jaxae.convolutions.windows import transposed_padding, transposed_window, window

_Bilinear = Callable[[Array, Array], Array]

_MANY = 64  # taps; the program has an array for each tap, and more would make it too long

LARGE = 4_000_000  # gathered numbers; above, XLA is faster for values, but not for gradients

_IMAGES = lax.conv_dimension_numbers((1,) * 4, (1,) * 4, ("NHWC", "HWIO", "NHWC"))


def conv_general_dilated(
    lhs: Num[Array, "..."],
    rhs: Num[Array, "..."],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Num[Array, "..."]:
    """Computes `jax.lax.conv_general_dilated`, on a CPU with matrix products if they apply.

    They apply to NHWC images and HWIO kernels of one floating dtype, without groups or a dilated
    kernel, and with strides or a dilated input but not both.
    """
    by_convolutions = partial(
        lax.conv_general_dilated,
        window_strides=window_strides,
        padding=padding,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        precision=precision,
        preferred_element_type=preferred_element_type,
    )
    strides, dilation = tuple(window_strides), tuple(lhs_dilation or [1] * len(window_strides))
    # Raises lax's own errors for invalid arguments.
    shape = jax.eval_shape(by_convolutions, lhs, rhs).shape
    if (
        lhs.ndim != 4
        or 0 in shape
        or lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers) != _IMAGES
        or feature_group_count * batch_group_count > 1
        or set(rhs_dilation or [1]) != {1}
        or (set(dilation) != {1} and (set(strides) != {1} or isinstance(padding, str)))
        or not (precision is None and preferred_element_type is None)
        or not jnp.issubdtype(lhs.dtype, jnp.floating)
    ):
        return by_convolutions(lhs, rhs)
    by_products = partial(_images_by_products, strides=strides, padding=padding, dilation=dilation)
    if math.prod(shape[:3]) * math.prod(rhs.shape[:3]) > LARGE:
        by_products = partial(_value_by_convolutions, by_convolutions, by_products)
    return lax.platform_dependent(lhs, rhs, cpu=by_products, default=by_convolutions)


@partial(jax.custom_jvp, nondiff_argnums=(0, 1))
def _value_by_convolutions(
    by_convolutions: _Bilinear, by_products: _Bilinear, lhs: Array, rhs: Array
) -> Array:
    """Convolves with XLA, but computes derivatives with matrix products."""
    del by_products
    return by_convolutions(lhs, rhs)


@_value_by_convolutions.defjvp
def _value_by_convolutions_jvp(
    by_convolutions: _Bilinear,
    by_products: _Bilinear,
    primals: tuple[Array, Array],
    tangents: tuple[Array, Array],
) -> tuple[Array, Array]:
    """Applies the product rule."""
    (lhs, rhs), (lhs_tangent, rhs_tangent) = primals, tangents
    value = _value_by_convolutions(by_convolutions, by_products, lhs, rhs)
    return value, by_products(lhs_tangent, rhs) + by_products(lhs, rhs_tangent)


def _images_by_products(
    x: Float[Array, "batch height width channels"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    *,
    strides: tuple[int, ...],
    padding: str | Sequence[tuple[int, int]],
    dilation: tuple[int, ...],
) -> Float[Array, "batch new_height new_width features"]:
    """Convolves x, with strides or with a dilated input."""
    pads = [padding] * 2 if isinstance(padding, str) else padding
    sizes = zip(x.shape[1:3], kernel.shape[:2], strict=True)
    x = x.transpose(3, 1, 2, 0)
    if set(dilation) != {1}:
        rows, columns = (
            transposed_window(size, taps, stride, cast(tuple[int, int], pad))
            for (size, taps), stride, pad in zip(sizes, dilation, pads, strict=True)
        )
        y = products.correlate_transposed(x, kernel, (rows, columns))
    else:
        rows, columns = (
            window(size, taps, stride, pad)
            for (size, taps), stride, pad in zip(sizes, strides, pads, strict=True)
        )
        y = products.correlate(x, kernel, (rows, columns))
    return y.transpose(3, 1, 2, 0)


def max_pool(
    inputs: Num[Array, "..."],
    window_shape: Sequence[int],
    strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Num[Array, "..."]:
    """Computes `flax.linen.max_pool`; for images [N, H, W, C], its gradient is fast on a CPU."""
    strides = strides or (1,) * len(window_shape)
    by_windows = partial(
        nn.max_pool, window_shape=window_shape, strides=strides, padding=cast(Any, padding)
    )
    if (
        inputs.ndim != 4
        or len(window_shape) != 2
        or math.prod(window_shape) > _MANY
        or not jnp.issubdtype(inputs.dtype, jnp.floating)
    ):
        return by_windows(inputs)
    pads = [padding] * 2 if isinstance(padding, str) else padding

    def by_taps(x: Array) -> Array:
        rows, columns = map(window, x.shape[1:3], window_shape, strides, pads)
        return products.max_pool(x.transpose(3, 1, 2, 0), (rows, columns)).transpose(3, 1, 2, 0)

    return lax.platform_dependent(inputs, cpu=by_taps, default=by_windows)


Conv = partial(nn.Conv, conv_general_dilated=conv_general_dilated)
"""`flax.linen.Conv`, computed by `conv_general_dilated`."""


class ConvTranspose(nn.ConvTranspose):
    """`flax.linen.ConvTranspose`, computed by `conv_general_dilated`.

    Flax itself computes circular padding and transposed, masked or dilated kernels.
    """

    @nn.compact
    def __call__(self, inputs: Num[Array, "..."]) -> Num[Array, "..."]:
        simple = self.mask is None and not self.transpose_kernel and self.kernel_dilation is None
        size = self.kernel_size
        of_images = inputs.ndim == 4 and not isinstance(size, int) and len(size) == 2
        if not (of_images and simple) or self.padding == "CIRCULAR":
            return super().__call__(inputs)
        size = cast(Sequence[int], size)
        shape = (*size, inputs.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, self.param_dtype)
        bias = None
        if self.use_bias:
            bias = self.param("bias", self.bias_init, (self.features,), self.param_dtype)
        promoted = self.promote_dtype(inputs, kernel, bias, dtype=self.dtype)
        strides = np.broadcast_to(self.strides or 1, 2).tolist()
        padding = canonicalize_padding(self.padding, 2)
        pads = [padding] * 2 if isinstance(padding, str) else padding
        y = conv_general_dilated(
            cast(Array, promoted[0]),
            cast(Array, promoted[1]),
            (1, 1),
            [transposed_padding(*axis) for axis in zip(size, strides, pads, strict=True)],
            lhs_dilation=strides,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision=self.precision,
            preferred_element_type=self.preferred_element_type,
        )
        return y if promoted[2] is None else y + promoted[2][None, None, None]
