"""Windows that slide over the height and width of [C, H, W, N]: taps, phases, and their adjoints.

Each function pads, slices and concatenates whole rows of N, so XLA fuses the operations that follow
into loops over contiguous memory, and the transposes are of the same kind.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Num


@dataclass(frozen=True)
class Window:
    """A window along one axis: tap t of output o reads input stride * o + t - low, or padding."""

    taps: int
    stride: int
    low: int
    inputs: int
    outputs: int

    @property
    def high(self) -> int:
        """The padding after the last input; if negative, the last inputs are not read."""
        return (self.outputs - 1) * self.stride + self.taps - self.low - self.inputs


Windows = tuple[Window, Window]
"""A window along the height and one along the width."""

_Padding = str | int | tuple[int, int]
"""SAME, VALID, pixels on each side, or pixels before and after."""


def window(inputs: int, taps: int, stride: int, padding: _Padding) -> Window:
    """Returns the window of a convolution or pool along an axis with `inputs` pixels."""
    if isinstance(padding, str):
        ((low, high),) = lax.padtype_to_pads((inputs,), (taps,), (stride,), padding)
    else:
        low, high = (padding, padding) if isinstance(padding, int) else padding
    return Window(taps, stride, low, inputs, max((inputs + low + high - taps) // stride + 1, 0))


def transposed_padding(taps: int, stride: int, padding: str | tuple[int, int]) -> tuple[int, int]:
    """Returns how far `jax.lax.conv_transpose` pads the dilated inputs along an axis.

    Raises `ValueError` for a text other than SAME and VALID.
    """
    if not isinstance(padding, str):
        return padding
    total = taps + stride - 2
    if padding == "VALID":
        low, total = taps - 1, total + max(taps - stride, 0)
    elif padding == "SAME":
        low = taps - 1 if stride > taps - 1 else -(-total // 2)
    else:
        raise ValueError(
            f"padding {padding!r} was given: give SAME, VALID, or two numbers of pixels"
        )
    return low, total - low


def transposed_window(inputs: int, taps: int, stride: int, padding: tuple[int, int]) -> Window:
    """Returns the window of the convolution whose transpose is given.

    It slides over the output of the transposed convolution. That output is computed from `inputs`
    pixels, which are dilated by the stride and then padded, as in `jax.lax.conv_transpose`.
    """
    low, high = padding
    dilated = (inputs - 1) * stride + 1 if inputs else 0
    outputs = max(dilated + low + high - taps + 1, 0)
    return Window(taps, stride, taps - 1 - low, outputs, inputs)


def gather(
    x: Num[Array, "channels height width batch"], windows: Windows, fill: float = 0.0
) -> list[Num[Array, "channels new_height new_width batch"]]:
    """Returns the pixels that each tap reads, in row-major order; padding is `fill`."""
    rows, columns = windows
    return [
        tap
        for row in _gather_along(x, 1, rows, fill)
        for tap in _gather_along(row, 2, columns, fill)
    ]


def scatter(
    taps: Sequence[Num[Array, "channels new_height new_width batch"]], windows: Windows
) -> Num[Array, "channels height width batch"]:
    """Adds each tap to the inputs that it read: the adjoint of `gather`."""
    rows, columns = windows
    by_row = [taps[n : n + columns.taps] for n in range(0, len(taps), columns.taps)]
    return _scatter_along([_scatter_along(row, 2, columns) for row in by_row], 1, rows)


def _gather_along(
    x: Num[Array, "..."], axis: int, window: Window, fill: float
) -> list[Num[Array, "..."]]:
    """Applies `gather` along one axis."""
    phases = _split_phases(x, axis, window.stride, fill)
    taps = []
    for tap in range(window.taps):
        first, phase = divmod(tap - window.low, window.stride)
        taps.append(shift(phases[phase], axis, -first, window.outputs, fill))
    return taps


def _scatter_along(
    taps: Sequence[Num[Array, "*shape"]], axis: int, window: Window
) -> Num[Array, "..."]:
    """Applies `scatter` along one axis: each phase is the sum of the taps that reach it."""
    length = -(-window.inputs // window.stride)
    reaching: list[list[Array]] = [[] for _ in range(window.stride)]
    for number, tap in enumerate(taps):
        first, phase = divmod(number - window.low, window.stride)
        reaching[phase].append(shift(tap, axis, first, length))
    nothing = jnp.zeros_like(shift(taps[0], axis, 0, length))
    phases = [reduce(jnp.add, phase) if phase else nothing for phase in reaching]
    return join_phases(phases, axis, window.inputs)


def shift(
    x: Num[Array, "..."], axis: int, low: int, length: int, fill: float = 0.0
) -> Num[Array, "..."]:
    """Moves x along an axis by `low`, then cuts or fills it to a length."""
    padding = [(0, 0, 0)] * x.ndim
    padding[axis] = (low, length - low - x.shape[axis], 0)
    return lax.pad(x, jnp.asarray(fill, x.dtype), padding)


def _split_phases(
    x: Num[Array, "..."], axis: int, stride: int, fill: float = 0.0
) -> list[Num[Array, "*phase"]]:
    """Returns x[0::stride], x[1::stride], ... along an axis, filled to the same length."""
    if stride == 1:
        return [x]
    length = -(-x.shape[axis] // stride)
    x = shift(x, axis, 0, length * stride, fill)
    x = x.reshape(*x.shape[:axis], length, stride, *x.shape[axis + 1 :])
    return pieces(x, axis + 1)


def join_phases(
    phases: Sequence[Num[Array, "*phase"]], axis: int, length: int
) -> Num[Array, "..."]:
    """Joins phases along an axis and cuts the array to a length: undoes `_split_phases`."""
    if len(phases) == 1:
        return phases[0]
    x = jnp.stack(phases, axis + 1)
    rows = x.shape[axis] * x.shape[axis + 1]
    x = x.reshape(*x.shape[:axis], rows, *x.shape[axis + 2 :])
    return lax.slice_in_dim(x, 0, length, axis=axis)


def pieces(x: Num[Array, "..."], axis: int = 0) -> list[Num[Array, "*piece"]]:
    """Slices x along an axis; unlike indexing, this transposes to one concatenation."""
    return [piece.squeeze(axis) for piece in lax.split(x, [1] * x.shape[axis], axis)]
