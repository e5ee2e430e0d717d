"""Bottlenecks of an `Autoencoder`: what narrows an encoder's features to a sparse or discrete code.

Each maps features, float [B, latent] or [B, h, w, C], to a code of the same shape. Where a gradient
cannot go through, it goes past ("straight-through", Bengio et al. 2013).
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array, lax

from jaxae.errors import UserError

_LARGEST_INDEX = 2**31 - 1  # of int32


@runtime_checkable
class Quantizer(Protocol):
    """A bottleneck that replaces each group of numbers of a code by one of finitely many."""

    @property
    def size(self) -> int:
        """How many codes a group has."""
        ...

    @property
    def group_size(self) -> int:
        """How many numbers along the last axis are quantized together."""
        ...

    def indices(self, code: Array, /) -> Array:
        """The number of each group's code, from 0 to size - 1: [..., C] to int32 [..., groups]."""
        ...

    def code_of(self, indices: Array) -> Array:
        """The codes with these numbers: float32 [..., C]."""
        ...


def straight_through(z: Array, code: Array) -> Array:
    """The code, exactly, with the gradient of z; both of one shape."""
    return lax.stop_gradient(code) + (z - lax.stop_gradient(z))


def in_groups(z: Array, dimension: int) -> Array:
    """The last axis in groups of so many numbers, [..., C] to [..., C / dimension, dimension].

    Raises UserError where it does not hold a whole number of groups.
    """
    if z.shape[-1] % dimension:
        raise UserError(
            f"a code of {z.shape[-1]} numbers was given to a quantizer that takes {dimension} at a "
            f"time: give the encoder a multiple of {dimension} as its latent or its channels"
        )
    return z.reshape(*z.shape[:-1], -1, dimension)


@dataclass(frozen=True)
class TopK:
    """Keeps the k largest numbers of each example and makes the others 0.

    Makhzani and Frey 2014, algorithm 1. All numbers of a feature map compete with each other, at
    whatever place and in whatever channel. Of equal numbers the first are kept, so never more
    than k. Raises UserError unless k is from 1 to the size of a code.
    """

    k: int

    def __call__(self, z: Array) -> Array:
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

    Along the last axis, which holds a multiple of len(levels) numbers, number i has
    levels[i % len(levels)] levels. L levels are 2 / (L - 1) apart if L is odd; if it is even they
    are -1, -1 + 2 / L, ..., 1 - 2 / L. The gradient is that of the bound before rounding.

    Raises UserError for levels below 2, and where a group has more codes than int32 has numbers.
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
        """How many codes a group has."""
        return math.prod(self.levels)

    @property
    def group_size(self) -> int:
        """How many numbers a group has: one for each of the levels."""
        return len(self.levels)

    def __call__(self, z: Array) -> Array:
        bounded = self.bound(z)
        half_widths = self._along(np.array(self.levels) // 2, z)
        return straight_through(bounded, jnp.round(bounded)) / half_widths

    def bound(self, z: Array) -> Array:
        """Each number between its lowest and its highest level, whole numbers L of them.

        Appendix A.1, without its factor of 0.999: that puts the outer ones of more than 1000
        levels out of reach, and rounding is exact without it.
        """
        levels = np.array(self.levels)
        halves = (levels - 1) / 2
        offsets = np.where(levels % 2 == 0, 0.5, 0)  # even levels are not symmetric about 0
        shifted = z + self._along(np.tan(offsets / halves), z)
        return jnp.tanh(shifted) * self._along(halves, z) - self._along(offsets, z)

    def indices(self, code: Array) -> Array:
        """The number of each group's code, from 0 to size - 1: [..., C] to int32 [..., groups]."""
        half_widths = self._along(np.array(self.levels) // 2, code)
        digits = jnp.round(code * half_widths + half_widths).astype(jnp.int32)
        grouped = in_groups(digits, len(self.levels))
        return jnp.sum(grouped * self._places(grouped.ndim), axis=-1, dtype=jnp.int32)

    def code_of(self, indices: Array) -> Array:
        """The codes with these numbers, the inverse of `indices`: float32 [..., C]."""
        places = self._places(indices.ndim + 1)
        levels = np.reshape(self.levels, places.shape).astype(np.int32)
        digits = indices[..., None] // places % levels
        half_widths = levels // 2
        code = (digits - half_widths).astype(np.float32) / half_widths.astype(np.float32)
        return code.reshape(*indices.shape[:-1], -1)

    def _places(self, rank: int) -> np.ndarray:
        """What a step of each level adds to the number of a code: int32 [1, ..., len(levels)]."""
        places = np.cumprod((1, *self.levels[:-1])).astype(np.int32)
        return places.reshape((1,) * (rank - 1) + (-1,))

    def _along(self, values: np.ndarray, z: Array) -> np.ndarray:
        """One number a level, repeated for all groups of z: float32 [1, ..., C]."""
        groups = in_groups(z, len(self.levels)).shape[-2]
        return np.tile(values, groups).astype(np.float32).reshape((1,) * (z.ndim - 1) + (-1,))


@struct.dataclass
class Codebook:
    """Vectors, and moving averages of how often and for what each was the nearest."""

    vectors: Array  # float32 [size, dimension]
    counts: Array  # float32 [size], of uses in a batch
    sums: Array  # float32 [size, dimension], of the encoder's outputs in these uses


class VectorQuantizer(nn.Module):
    """Replaces each `dimension` numbers along the last axis by the nearest vector of a codebook.

    van den Oord et al. 2017. The codebook is the collection "codebook", which `update_codebook`
    changes and no gradient does. Its vectors begin as draws from N(0, 1) by the key of the
    parameters; its counts are 0, so the first update puts every vector among the encoder's outputs.
    Raises UserError for a size or a dimension below 1.
    """

    size: int
    dimension: int

    def setup(self) -> None:
        if min(self.size, self.dimension) < 1:
            raise UserError(
                f"a codebook of {self.size} vectors of {self.dimension} numbers: give 1 or more"
            )
        shape = (self.size, self.dimension)
        self.vectors = self.variable("codebook", "vectors", self._draw, shape)
        self.counts = self.variable("codebook", "counts", jnp.zeros, self.size)
        self.sums = self.variable("codebook", "sums", jnp.zeros, shape)

    @property
    def group_size(self) -> int:
        """How many numbers a vector has."""
        return self.dimension

    def _draw(self, shape: tuple[int, int]) -> Array:
        return jax.random.normal(self.make_rng("params"), shape)

    def __call__(self, z: Array) -> Array:
        return straight_through(z, self.code_of(self.indices(z)))

    def indices(self, z: Array) -> Array:
        """Which vector is nearest to each group: [..., C] to int32 [..., C / dimension]."""
        return nearest(self.vectors.value, in_groups(z, self.dimension))

    def code_of(self, indices: Array) -> Array:
        """The codes of vectors with these indices: float32 [..., C]."""
        return self.vectors.value[indices].reshape(*indices.shape[:-1], -1)


def nearest(vectors: Array, z: Array) -> Array:
    """Of vectors [size, dimension] the one nearest to each of z [..., dimension]: int32 [...].

    By Euclidean distance; of equally near ones the first.
    """
    # |z - v|^2 without |z|^2, which is the same for all v. What they have in common cancels first,
    # or it would cost digits.
    center = vectors.mean(axis=0, keepdims=True)
    points, vectors = z.reshape(-1, z.shape[-1]) - center, vectors - center
    products = jnp.dot(points, vectors.T, precision=lax.Precision.HIGHEST)
    distances = jnp.square(vectors).sum(axis=1)[None, :] - 2 * products
    return lax.argmin(distances, 1, jnp.int32).reshape(z.shape[:-1])


def count_uses(indices: Array, weights: Array, size: int) -> Array:
    """How often each of `size` codes is among indices [B, ...] of examples that weigh [B]."""
    each = jnp.broadcast_to(weights.reshape(-1, *(1,) * (indices.ndim - 1)), indices.shape)
    return jax.ops.segment_sum(each.reshape(-1), indices.reshape(-1), size)


def update_codebook(
    codebook: Codebook,
    z: Array,
    indices: Array,
    weights: Array,
    key: Array,
    *,
    decay: float,
    threshold: float = 0.1,
) -> Codebook:
    """The codebook after a batch of encoder outputs z [B, ..., dimension].

    They are nearest to the vectors at indices [B, ...]. Examples of weight 0 in weights [B] leave
    no trace; one at least must weigh more. Counts and sums move by 1 - decay towards the batch's,
    and a vector is its sum over its count (van den Oord et al. 2017, appendix A.1). A dead code, of
    a count of at most `threshold` times the mean count, becomes an output drawn from the batch,
    with the mean count (Zeghidour et al. 2021, section III.C, but with a threshold that holds for
    any batch size).
    """
    size, dimension = codebook.vectors.shape
    outputs = z.reshape(-1, dimension)
    each = jnp.repeat(weights, indices.size // weights.size)
    # A product sums in the same order each time, which a scatter on a GPU does not.
    chosen = jax.nn.one_hot(indices.reshape(-1), size, axis=0)
    totals = jnp.dot(chosen, outputs * each[:, None], precision=lax.Precision.HIGHEST)
    counts = decay * codebook.counts + (1 - decay) * count_uses(indices, weights, size)
    sums = decay * codebook.sums + (1 - decay) * totals

    total = counts.sum()
    # With a decay of 1 all of these stay 0, and the vectors what they were.
    seen = total > 0
    averages = sums / jnp.maximum(counts, jnp.finfo(counts.dtype).tiny)[:, None]
    vectors = jnp.where(seen, averages, codebook.vectors)

    mean = total / size
    dead = (counts <= threshold * mean) & seen
    drawn = outputs[draw_weighted(key, each, size)]
    return Codebook(
        vectors=jnp.where(dead[:, None], drawn, vectors),
        counts=jnp.where(dead, mean, counts),
        sums=jnp.where(dead[:, None], mean * drawn, sums),
    )


def draw_weighted(key: Array, weights: Array, count: int) -> Array:
    """Indices, int32 [count], each drawn in proportion to weights [N], of which some are not 0.

    One comes from each of `count` equal parts of the total weight, so few are alike; which part is
    whose is drawn too, so each index by itself can be any.
    """
    place_key, shift_key = jax.random.split(key)
    within = jax.random.uniform(place_key, (count,))
    places = (jnp.arange(count).astype(within.dtype) + within) / count
    shares = 1 - (places + jax.random.uniform(shift_key)) % 1  # in (0, 1], as side="left" needs
    ends = jnp.cumsum(weights)
    return jnp.searchsorted(ends, shares * ends[-1])
