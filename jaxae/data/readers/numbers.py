"""Numbers of a user's own data: surveyed while they are read, and scaled afterwards."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np

from jaxae.data import stored
from jaxae.data.dataset import Scaling
from jaxae.errors import UserError

CHUNK_BYTES = 2**24
"""About how much is read, converted or summed at once."""

_LARGEST = float(np.finfo(np.float32).max)
_SMALLEST = float(np.finfo(np.float32).tiny)  # positive number that is not rounded further


@dataclass
class Survey:
    """What is found in the numbers of an array or table while they are read in chunks.

    Attributes:
      low: the smallest number.
      high: the largest number.
      bad: how many numbers are NaN or infinite.
      first_bad: the indices of the first of them.
    """

    low: float = math.inf
    high: float = -math.inf
    bad: int = 0
    first_bad: tuple[int, ...] = ()

    def add(self, start: int, chunk: np.ndarray) -> None:
        """Takes in a chunk [n, ...] whose first example has the index `start`."""
        low, high = chunk.min(), chunk.max()
        if np.isfinite(low) and np.isfinite(high):
            self.low, self.high = min(self.low, float(low)), max(self.high, float(high))
            return
        places = np.argwhere(~np.isfinite(chunk))
        if not self.bad:
            row, *rest = places[0].tolist()
            self.first_bad = (start + row, *rest)
        self.bad += len(places)

    def check(self, what: str) -> None:
        """Raises `UserError` for NaN, infinite numbers, and numbers that float32 cannot hold."""
        if self.bad:
            raise UserError(
                f"{what} holds {self.bad} NaN or infinite numbers, the first at index "
                f"{list(self.first_bad)}: replace them, or leave those examples out"
            )
        check_float32(self.low, self.high, what)


def check_float32(low: float, high: float, what: str) -> None:
    """Raises `UserError` if a range exceeds float32's."""
    if max(abs(low), abs(high)) > _LARGEST:
        raise UserError(
            f"{what} holds numbers from {low:g} to {high:g}, but 32-bit floats end at "
            f"{_LARGEST:g}: divide them by a constant"
        )


def to_float32(chunk: np.ndarray) -> np.ndarray:
    """Returns numbers as float32; those that it cannot hold become infinite."""
    with np.errstate(over="ignore"):
        return chunk.astype(np.float32)


def make_scaling(
    scale: Literal["minmax", "standardize", "none"] | None, what: str
) -> Callable[[np.ndarray], Scaling] | None:
    """Returns the function that computes a scaling from training examples; None for none.

    It takes float32 vectors [N, D], which are scaled column by column, or images [N, H, W, C],
    which are scaled as a whole. A constant column keeps its unit. `what` names the data in errors.
    """
    if scale == "minmax":
        return lambda train: _checked(*_offset_and_range(train), what)
    if scale == "standardize":
        return lambda train: _checked(*_mean_and_deviation(train), what)
    return None


def _offset_and_range(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    extremes = np.array([(chunk.min(0), chunk.max(0)) for chunk in _columns(train)])
    low, high = extremes[:, 0].min(0), extremes[:, 1].max(0)
    return low, high - low


def _mean_and_deviation(train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Computes in two passes, and relative to the first row, so that little cancels."""
    first = next(_columns(train))[0]
    count = train.size // len(first)
    mean = first + sum((chunk - first).sum(0) for chunk in _columns(train)) / count
    variance = sum(((chunk - mean) ** 2).sum(0) for chunk in _columns(train)) / count
    return mean, np.sqrt(variance)


def _columns(train: np.ndarray) -> Iterator[np.ndarray]:
    """Yields float64 [n, D] from vectors [N, D], and [n, 1] from the numbers of images."""
    rows = max(1, CHUNK_BYTES // (8 * math.prod(train.shape[1:])))
    for start in range(0, len(train), rows):
        chunk = train[start : start + rows].astype(np.float64)
        stored.release(train)
        yield chunk if chunk.ndim == 2 else chunk.reshape(-1, 1)


def _checked(offset: np.ndarray, scale: np.ndarray, what: str) -> Scaling:
    for values in (offset, scale):
        check_float32(float(values.min()), float(values.max()), what)
    scale = np.where(scale < _SMALLEST, 1.0, scale)  # constant: only the offset is subtracted
    return Scaling(tuple(offset.tolist()), tuple(scale.tolist()))
