"""Convolutions as matrix products, for the CPU, where XLA's own are slow (jax-ml/jax#12868).

Images are [C, H, W, N], the batch last, so that whatever is copied lies in rows of N. A convolution
gathers what each tap of its kernel reads (im2col), and is then one matrix product. JAX transposes
products to products and gathers to scatters, so that derivatives of any order and mode and `vmap`
work as with `jax.lax`, and so do all floating dtypes, half precision within its rounding; only the
maximum has a derivative of its own.
"""

import math
from functools import reduce
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxae.convolutions.windows import Window, Windows, gather, join_phases, pieces, scatter, shift


def correlate(x: Array, kernel: Array, windows: Windows) -> Array:
    """The convolution of x [C, H, W, N] with a kernel [h, w, C, O], to [O, H', W', N]."""
    rows, columns = windows
    channels, features = kernel.shape[2:]
    if features < channels and rows.stride == columns.stride == 1:
        # To sum the taps after their products moves fewer numbers than to gather them before.
        summands = [
            shift_both(y, (rows.low - i, columns.low - j), (rows.outputs, columns.outputs))
            for (i, j), y in zip(taps(windows), products_by_tap(x, kernel), strict=True)
        ]
        return reduce(jnp.add, summands)
    return contract(kernel.reshape(-1, features), jnp.concatenate(gather(x, windows)))


def correlate_transposed(x: Array, kernel: Array, windows: Windows) -> Array:
    """`lax.conv_transpose` of x [C, H', W', N] with a kernel [h, w, C, O], to [O, H, W, N].

    The windows are those of the convolution that it is the transpose of: they slide over the
    output.
    """
    return scatter(products_by_tap(x, kernel[::-1, ::-1]), windows)


def correlate_and_pool(x: Array, kernel: Array, windows: Windows, pool: Windows) -> Array:
    """The max-pool of `correlate`, from one convolution for all taps of the pool.

    It has the strides of both, and a copy of the kernel for each tap; it gathers less than the two
    one after the other, where the windows of neighbouring pixels overlap.
    """
    spans = [w.stride * (p.taps - 1) for w, p in zip(windows, pool, strict=True)]
    height, width = (w.taps + span for w, span in zip(windows, spans, strict=True))
    copies = [
        shift_both(kernel, (windows[0].stride * i, windows[1].stride * j), (height, width), axis=0)
        for i, j in taps(pool)
    ]
    rows, columns = (
        Window(w.taps + span, w.stride * p.stride, w.low + w.stride * p.low, w.inputs, p.outputs)
        for w, p, span in zip(windows, pool, spans, strict=True)
    )
    y = correlate(x, jnp.concatenate(copies, axis=-1), (rows, columns))
    by_tap = pieces(y.reshape(len(copies), kernel.shape[-1], *y.shape[1:]))
    return maximum([hide_padding(y, pool, tap) for tap, y in zip(taps(pool), by_tap, strict=True)])


def hide_padding(x: Array, pool: Windows, tap: tuple[int, int]) -> Array:
    """x [C, H', W', N], that a tap of a pool reads, with -inf where it reads the pool's padding."""
    for axis, (window, offset) in enumerate(zip(pool, tap, strict=True), start=1):
        read = [window.stride * o + offset - window.low for o in range(window.outputs)]
        inside = [0 <= index < window.inputs for index in read]
        if not all(inside):
            shape = [1] * x.ndim
            shape[axis] = -1
            x = jnp.where(jnp.asarray(inside).reshape(shape), x, -jnp.inf)
    return x


def upsample_and_correlate(x: Array, kernel: Array, windows: Windows, factor: int) -> Array:
    """`correlate` of the nearest upsampling of x, from the convolutions for each of its phases.

    Within a phase several taps read the same pixel, so their weights are summed beforehand, and all
    phases come from one convolution of x as it is.
    """
    (row_taps, row_starts, rows), (column_taps, column_starts, columns) = (
        low_resolution(window, factor) for window in windows
    )
    row_taps, column_taps = row_taps.astype(kernel.dtype), column_taps.astype(kernel.dtype)
    summed = jnp.einsum("phi,qwj,ijco->hwcpqo", row_taps, column_taps, kernel)
    y = correlate(x, summed.reshape(*summed.shape[:3], -1), (rows, columns))
    y = y.reshape(factor, factor, kernel.shape[-1], *y.shape[1:])
    lengths = (-(-windows[0].outputs // factor), -(-windows[1].outputs // factor))
    phases = [
        [
            shift_both(phase, (-row, -column), lengths)
            for column, phase in zip(column_starts, pieces(of_row), strict=True)
        ]
        for row, of_row in zip(row_starts, pieces(y), strict=True)
    ]
    joined = [join_phases(of_row, 2, windows[1].outputs) for of_row in phases]
    return join_phases(joined, 1, windows[0].outputs)


def low_resolution(window: Window, factor: int) -> tuple[np.ndarray, list[int], Window]:
    """What a window of stride 1 over an upsampled axis is, on the axis as it was.

    Returns which taps are summed in each tap of the new window, 1 or 0 [phase, new tap, tap]; the
    new window's first output in each phase; and the new window.
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


def max_pool(x: Array, windows: Windows) -> Array:
    """The largest pixel of each window, x [C, H, W, N] to [C, H', W', N]; padding is -inf.

    Of equal pixels the first gets the gradient, as with `lax.reduce_window`.
    """
    return maximum(gather(x, windows, -jnp.inf))


@jax.custom_jvp
def maximum(arrays: list[Array]) -> Array:
    """The elementwise maximum; of equal ones the first gets the gradient."""
    return reduce(jnp.maximum, arrays)


@maximum.defjvp
def maximum_jvp(primals: tuple[list[Array]], tangents: tuple[list[Array]]) -> tuple[Array, Array]:
    """The tangent of the chosen one, so that only the choice is kept for the gradient."""
    (arrays,), (array_tangents,) = primals, tangents
    number_type = np.min_scalar_type(len(arrays))
    chosen, choice = arrays[0], jnp.zeros(arrays[0].shape, number_type)
    for number, array in enumerate(arrays[1:], start=1):
        stays = chosen >= array
        chosen = jnp.where(stays, chosen, array)
        choice = jnp.where(stays, choice, number_type.type(number))
    masked = [
        jnp.where(choice == number, tangent, 0) for number, tangent in enumerate(array_tangents)
    ]
    return maximum(arrays), reduce(jnp.add, masked)


def taps(windows: Windows) -> list[tuple[int, int]]:
    """The taps of two windows in the order of `gather`: (row, column)."""
    rows, columns = windows
    return list(product(range(rows.taps), range(columns.taps)))


def products_by_tap(x: Array, kernel: Array) -> list[Array]:
    """x [C, H, W, N] times each tap of a kernel [h, w, C, O], [O, H, W, N] each."""
    height, width, channels, features = kernel.shape
    by_channel = kernel.transpose(2, 0, 1, 3).reshape(channels, -1)
    return pieces(contract(by_channel, x).reshape(height * width, features, *x.shape[1:]))


def contract(matrix: Array, x: Array) -> Array:
    """The product over the first axes, [K, O] and [K, ...] to [O, ...]."""
    columns = x.reshape(x.shape[0], math.prod(x.shape[1:]))
    transposed = matrix.T
    if matrix.shape[0] < matrix.shape[1]:
        # The matrix's gradient is then a product with the longer side first, which is faster;
        # without the barrier XLA would turn it round.
        transposed = lax.optimization_barrier(transposed)
    return (transposed @ columns).reshape(matrix.shape[1], *x.shape[1:])


def shift_both(x: Array, lows: tuple[int, int], lengths: tuple[int, int], axis: int = 1) -> Array:
    """`shift` along two axes, of which `axis` is the first."""
    return shift(shift(x, axis + 1, lows[1], lengths[1]), axis, lows[0], lengths[0])
