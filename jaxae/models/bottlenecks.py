"""Bottlenecks of an `Autoencoder`, which make its code sparse or discrete.

Each maps features, which are vectors or maps, to a code of the same shape. Rounding and looking up
a vector pass the gradient on unchanged ("straight-through", Bengio et al. 2013).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Float32, Int, Int32, Num

from jaxae.errors import UserError

_LARGEST_INDEX = 2**31 - 1  # of int32


@runtime_checkable
class Quantizer(Protocol):
    """A bottleneck that replaces each group of numbers in a code by one of finitely many."""

    @property
    def size(self) -> int:
        """The number of possible codes of a group."""
        ...

    @property
    def group_size(self) -> int:
        """The number of consecutive numbers along the last axis that are quantized together."""
        ...

    def indices(self, code: Float[Array, "*batch channels"], /) -> Int32[Array, "*batch groups"]:
        """Returns the index of each group's code, from 0 to size - 1."""
        ...

    def code_of(self, indices: Int[Array, "*batch groups"]) -> Float[Array, "*batch channels"]:
        """Returns the codes with these indices."""
        ...


def straight_through(
    z: Float[Array, "*shape"], code: Float[Array, "*shape"]
) -> Float[Array, "*shape"]:
    """Returns the code, exact, but with the gradient of z."""
    return lax.stop_gradient(code) + (z - lax.stop_gradient(z))


def in_groups(
    z: Num[Array, "*batch channels"], dimension: int
) -> Num[Array, "*batch groups {dimension}"]:
    """Splits the last axis into groups.

    Raises `UserError` if it does not hold a whole number of groups.
    """
    if z.shape[-1] % dimension:
        raise UserError(
            f"a code of {z.shape[-1]} numbers was given to a quantizer that takes {dimension} at a "
            f"time: give the encoder a multiple of {dimension} as its latent or its channels"
        )
    return z.reshape(*z.shape[:-1], -1, dimension)


@dataclass(frozen=True)
class TopK:
    """Keeps the k largest numbers of each example and sets the others to 0.

    Makhzani and Frey 2014, algorithm 1. In a feature map, the numbers at all positions and in all
    channels compete. Ties go to the first, so that exactly k numbers are kept. Raises `UserError`
    unless k is from 1 to the size of a code.
    """

    k: int

    def __call__(self, z: Float[Array, "batch *code"]) -> Float[Array, "batch *code"]:
        numbers = z.reshape(z.shape[0], -1)
        if not 1 <= self.k <= numbers.shape[1]:
            raise UserError(
                f"the {self.k} largest of a code's {numbers.shape[1]} numbers were asked for: keep "
                f"1 to {numbers.shape[1]}"
            )
        _, largest = lax.top_k(numbers, self.k)
        rows = jnp.arange(numbers.shape[0])[:, None]
        kept = jnp.zeros(numbers.shape, bool).at[rows, largest].set(True)
        return jnp.where(kept, numbers, 0).reshape(z.shape)


@dataclass(frozen=True)
class FiniteScalarQuantizer:
    """Rounds each number to one of a few levels between -1 and 1 (Mentzer et al. 2024).

    Number i along the last axis, whose length is a multiple of len(levels), has
    levels[i % len(levels)] levels. If L is odd, L levels are 2 / (L - 1) apart; if L is even, they
    are -1, -1 + 2 / L, ..., 1 - 2 / L. The gradient is that of `bound`, without the rounding.

    Raises `UserError` for levels below 2, and if a group has more codes than int32 can index.
    """

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        whole = isinstance(self.levels, tuple) and all(isinstance(n, int) for n in self.levels)
        if not whole or not self.levels or min(self.levels) < 2 or self.size - 1 > _LARGEST_INDEX:
            raise UserError(
                f"levels of {self.levels!r} were given: give a tuple of whole numbers, each 2 or "
                "more, whose product is at most 2**31; (8, 5, 5, 5) makes 1000 codes"
            )

    @property
    def size(self) -> int:
        """The number of possible codes of a group."""
        return math.prod(self.levels)

    @property
    def group_size(self) -> int:
        """The number of numbers in a group: one for each of `levels`."""
        return len(self.levels)

    def __call__(self, z: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        bounded = self.bound(z)
        half_widths = self._along(self.constants()["width"], z)
        return straight_through(bounded, jnp.round(bounded)) / half_widths

    def bound(self, z: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Squashes each number into the range of its levels, which are whole numbers here.

        Appendix A.1, without its factor of 0.999: the factor would put the outermost of more than
        1000 levels out of reach, and rounding is exact without it.
        """
        shift, half, offset, _ = (self._along(values, z) for values in self.constants().values())
        return jnp.tanh(z + shift) * half - offset

    def constants(self) -> dict[str, Num[np.ndarray, " levels"]]:
        """Returns the constants of the numbers in a group, one for each of `levels`.

        The code is round(tanh(z + shift) * half - offset) / width.
        """
        levels = np.array(self.levels)
        half = (levels - 1) / 2
        offset = np.where(levels % 2 == 0, 0.5, 0)  # even levels are not symmetric about 0
        return {
            "shift": np.tan(offset / half),
            "half": half,
            "offset": offset,
            "width": levels // 2,
        }

    def indices(self, code: Float[Array, "*batch channels"]) -> Int32[Array, "*batch groups"]:
        """Returns the index of each group's code, from 0 to size - 1."""
        half_widths = self._along(np.array(self.levels) // 2, code)
        digits = jnp.round(code * half_widths + half_widths).astype(jnp.int32)
        grouped = in_groups(digits, len(self.levels))
        return jnp.sum(grouped * self._places(grouped.ndim), axis=-1, dtype=jnp.int32)

    def code_of(self, indices: Int[Array, "*batch groups"]) -> Float32[Array, "*batch channels"]:
        """Returns the codes with these indices: the inverse of `indices`."""
        places = self._places(indices.ndim + 1)
        levels = np.reshape(self.levels, places.shape).astype(np.int32)
        digits = indices[..., None] // places % levels
        half_widths = levels // 2
        code = (digits - half_widths).astype(np.float32) / half_widths.astype(np.float32)
        return code.reshape(*indices.shape[:-1], -1)

    def _places(self, rank: int) -> np.ndarray:
        """Returns how much one level up adds to a code's index: int32 [1, ..., len(levels)]."""
        places = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
        return places.reshape((1,) * (rank - 1) + (-1,))

    def _along(self, values: np.ndarray, z: Array) -> np.ndarray:
        """Repeats one value for each of `levels` over all groups of z: float32 [1, ..., C]."""
        groups = in_groups(z, len(self.levels)).shape[-2]
        return np.tile(values, groups).astype(np.float32).reshape((1,) * (z.ndim - 1) + (-1,))
