"""Convolutions as matrix products, for the CPU, where XLA's own are slow (jax-ml/jax#12868).

Images are [C, H, W, N], with the batch last, so that copies move whole rows of N. A convolution
gathers the pixels that each tap of its kernel reads (im2col), then computes one matrix product. JAX
transposes products to products and gathers to scatters, so derivatives of any order and mode,
`vmap` and all floating dtypes work as with `jax.lax`, half precision within its rounding. Only the
maximum defines its own derivative.
"""

import math
from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from jaxae.convolutions.tiles import keep
from jaxae.convolutions.windows import Window, Windows, gather, join_phases, pieces, scatter, shift


def correlate(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    windows: Windows,
) -> Float[Array, "features new_height new_width batch"]:
    """Convolves x with a kernel."""
    rows, columns = windows
    channels, features = kernel.shape[2:]
    if features < channels and rows.stride == columns.stride == 1:
        # Summing the taps after the products moves fewer numbers than gathering them before.
        summands = [
            _shift_both(y, (rows.low - i, columns.low - j), (rows.outputs, columns.outputs))
            for (i, j), y in zip(_taps(windows), _products_by_tap(x, kernel), strict=True)
        ]
        return reduce(jnp.add, summands)
    return _contract(kernel.reshape(-1, features), jnp.concatenate(gather(x, windows)))


def correlate_transposed(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    windows: Windows,
) -> Float[Array, "features new_height new_width batch"]:
    """Computes `lax.conv_transpose` of x and a kernel.

    The windows belong to the convolution that this transposes: they slide over the output.
    """
    return scatter(_products_by_tap(x, kernel[::-1, ::-1]), windows)


def correlate_and_pool(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    windows: Windows,
    pool: Windows,
) -> Float[Array, "features new_height new_width batch"]:
    """Max-pools the result of `correlate`, with one convolution for all taps of the pool.

    That convolution has the strides of both steps, and one copy of the kernel for each tap. It
    gathers fewer pixels than the two steps in turn if the windows of neighboring pixels overlap.
    """
    spans = [w.stride * (p.taps - 1) for w, p in zip(windows, pool, strict=True)]
    height, width = (w.taps + span for w, span in zip(windows, spans, strict=True))
    copies = [
        _shift_both(kernel, (windows[0].stride * i, windows[1].stride * j), (height, width), axis=0)
        for i, j in _taps(pool)
    ]
    rows, columns = (
        Window(w.taps + span, w.stride * p.stride, w.low + w.stride * p.low, w.inputs, p.outputs)
        for w, p, span in zip(windows, pool, spans, strict=True)
    )
    y = correlate(x, jnp.concatenate(copies, axis=-1), (rows, columns))
    y = y.reshape(len(copies), kernel.shape[-1], *y.shape[1:])
    return _largest(_hide_padding(y, pool))


def _hide_padding(
    x: Float[Array, "taps channels height width batch"], pool: Windows
) -> Float[Array, "taps channels height width batch"]:
    """Sets the pixels that the taps of a pool read from the padding to -inf."""
    taps = np.array(_taps(pool))
    for axis, window in enumerate(pool):
        reads = window.stride * np.arange(window.outputs) + taps[:, axis, None] - window.low
        inside = (reads >= 0) & (reads < window.inputs)
        if not inside.all():
            shape = [len(taps), 1, 1, 1, 1]
            shape[2 + axis] = window.outputs
            x = jnp.where(jnp.asarray(inside).reshape(shape), x, -jnp.inf)
    return x


def upsample_and_correlate(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
    windows: Windows,
    factor: int,
) -> Float[Array, "features new_height new_width batch"]:
    """Applies `correlate` to the nearest-neighbor upsampling of x, without upsampling x.

    In each phase of the output, every `factor`-th row and column, several taps read the same
    pixel, so their weights are summed first. One convolution of x then computes all phases.
    """
    (row_taps, row_starts, rows), (column_taps, column_starts, columns) = (
        _low_resolution(window, factor) for window in windows
    )
    row_taps, column_taps = row_taps.astype(kernel.dtype), column_taps.astype(kernel.dtype)
    summed = jnp.einsum("phi,qwj,ijco->hwcpqo", row_taps, column_taps, kernel)
    y = correlate(x, summed.reshape(*summed.shape[:3], -1), (rows, columns))
    y = y.reshape(factor, factor, kernel.shape[-1], *y.shape[1:])
    lengths = (-(-windows[0].outputs // factor), -(-windows[1].outputs // factor))
    phases = [
        [
            _shift_both(phase, (-row, -column), lengths)
            for column, phase in zip(column_starts, pieces(of_row), strict=True)
        ]
        for row, of_row in zip(row_starts, pieces(y), strict=True)
    ]
    joined = [join_phases(of_row, 2, windows[1].outputs) for of_row in phases]
    return join_phases(joined, 1, windows[0].outputs)


def _low_resolution(window: Window, factor: int) -> tuple[np.ndarray, list[int], Window]:
    """Maps a window of stride 1 over an upsampled axis to a window over the original axis.

    Returns which old taps each new tap sums, 1 or 0 [phase, new tap, tap]; the new window's first
    output in each phase; and the new window.
    """
    reads = (np.arange(factor)[:, None] + np.arange(window.taps) - window.low) // factor
    first = reads.min(axis=1)
    number = reads - first[:, None]
    new_taps = number.max() + 1
    summed = (number[:, None, :] == np.arange(new_taps)[:, None]).astype(np.float32)
    starts = first - first.min()
    outputs = -(-window.outputs // factor) + starts.max()
    new = Window(int(new_taps), 1, -int(first.min()), window.inputs // factor, int(outputs))
    return summed, starts.tolist(), new


def max_pool(
    x: Float[Array, "channels height width batch"], windows: Windows
) -> Float[Array, "channels new_height new_width batch"]:
    """Returns the largest pixel of each window.

    Padding is -inf. If pixels are equal, the first gets the gradient, as with `lax.reduce_window`.
    """
    return _largest(jnp.stack(gather(x, windows, -jnp.inf)))


@jax.custom_jvp
def _largest(arrays: Float[Array, "count *shape"]) -> Float[Array, "*shape"]:
    """Returns the maximum along the first axis; among equals, the first gets the gradient."""
    return reduce(jnp.maximum, pieces(arrays))


@_largest.defjvp
def _largest_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    """Selects the tangent of the largest; the gradient needs to store only that choice."""
    (arrays,), (array_tangents,) = primals, tangents
    number_type = np.min_scalar_type(len(arrays))
    chosen, *rest = pieces(arrays)
    choice = jnp.zeros(chosen.shape, number_type)
    for number, array in enumerate(rest, start=1):
        stays = chosen >= array
        chosen = jnp.where(stays, chosen, array)
        choice = jnp.where(stays, choice, number_type.type(number))
    choice = keep(choice)
    numbers = np.arange(len(arrays), dtype=number_type).reshape(-1, *[1] * choice.ndim)
    tangent = jnp.where(choice[None] == numbers, array_tangents, 0).sum(0)
    return _largest(arrays), tangent


def _taps(windows: Windows) -> list[tuple[int, int]]:
    """Returns the taps (row, column) of two windows, in the order of `gather`."""
    rows, columns = windows
    return list(product(range(rows.taps), range(columns.taps)))


def _products_by_tap(
    x: Float[Array, "channels height width batch"],
    kernel: Float[Array, "kernel_height kernel_width channels features"],
) -> list[Float[Array, "features height width batch"]]:
    """Multiplies x by each tap of a kernel."""
    height, width, channels, features = kernel.shape
    by_channel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    return pieces(_contract(by_channel, x).reshape(height * width, features, *x.shape[1:]))


def _contract(
    matrix: Float[Array, "inputs outputs"], x: Float[Array, "inputs *shape"]
) -> Float[Array, "outputs *shape"]:
    """Contracts the first axes."""
    columns = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    transposed = matrix.T
    if matrix.shape[0] < matrix.shape[1]:
        # With the barrier, the matrix's gradient is a product with its longer side first, which is
        # faster; XLA would otherwise swap the sides.
        transposed = lax.optimization_barrier(transposed)
    return (transposed @ columns).reshape(matrix.shape[1], *x.shape[1:])


def _shift_both(
    x: Float[Array, "..."], lows: tuple[int, int], lengths: tuple[int, int], axis: int = 1
) -> Float[Array, "..."]:
    """Applies `shift` along two neighboring axes; `axis` is the first."""
    return shift(shift(x, axis + 1, lows[1], lengths[1]), axis, lows[0], lengths[0])
