"""Bottlenecks of an `Autoencoder`, which make its code sparse or discrete.

Each maps features, which are vectors or maps, to a code of the same shape. Rounding and looking up
a vector pass the gradient on unchanged ("straight-through", Bengio et al. 2013).
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
from jaxtyping import Float, Float32, Int, Int32, Key, Num

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
        half_widths = self._along(np.array(self.levels) // 2, z)
        return straight_through(bounded, jnp.round(bounded)) / half_widths

    def bound(self, z: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        """Squashes each number into the range of its levels, which are whole numbers here.

        Appendix A.1, without its factor of 0.999: the factor would put the outermost of more than
        1000 levels out of reach, and rounding is exact without it.
        """
        levels = np.array(self.levels)
        halves = (levels - 1) / 2
        offsets = np.where(levels % 2 == 0, 0.5, 0)  # even levels are not symmetric about 0
        shifted = z + self._along(np.tan(offsets / halves), z)
        return jnp.tanh(shifted) * self._along(halves, z) - self._along(offsets, z)

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


@struct.dataclass
class Codebook:
    """Vectors, and moving averages of how often each was used, and for which outputs."""

    vectors: Float[Array, "size dimension"]
    counts: Float[Array, " size"]  # averages of the uses in a batch
    sums: Float[Array, "size dimension"]  # averages of the sums of the outputs that used a vector


class VectorQuantizer(nn.Module):
    """Replaces each `dimension` numbers along the last axis by the nearest vector of a codebook.

    van den Oord et al. 2017. The codebook is the collection "codebook", which `update_codebook`
    changes; it has no gradient. Its vectors are initially drawn from N(0, 1) with the key of the
    parameters. Its counts are initially 0, so that the first update moves every vector to the
    encoder's outputs. Raises `UserError` for a size or a dimension below 1.
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
        """The number of numbers in a vector."""
        return self.dimension

    def _draw(self, shape: tuple[int, int]) -> Float[Array, "size dimension"]:
        return jax.random.normal(self.make_rng("params"), shape)

    def __call__(self, z: Float[Array, "*batch channels"]) -> Float[Array, "*batch channels"]:
        return straight_through(z, self.code_of(self.indices(z)))

    def indices(self, z: Float[Array, "*batch channels"]) -> Int32[Array, "*batch groups"]:
        """Returns the index of the vector nearest to each group."""
        return nearest(self.vectors.value, in_groups(z, self.dimension))

    def code_of(self, indices: Int[Array, "*batch groups"]) -> Float[Array, "*batch channels"]:
        """Returns the codes made of the vectors with these indices."""
        return self.vectors.value[indices].reshape(*indices.shape[:-1], -1)


def nearest(
    vectors: Float[Array, "size dimension"], z: Float[Array, "*batch dimension"]
) -> Int32[Array, "*batch"]:
    """Returns the index of the vector nearest to each of z.

    The distance is Euclidean. Ties go to the first vector.
    """
    # Distances are |z - v|^2 without |z|^2, which is the same for all v. Centering first keeps the
    # digits that a common offset would cost.
    center = vectors.mean(axis=0, keepdims=True)
    points, vectors = z.reshape(-1, z.shape[-1]) - center, vectors - center
    products = jnp.dot(points, vectors.T, precision=lax.Precision.HIGHEST)
    distances = jnp.square(vectors).sum(axis=1)[None, :] - 2 * products
    return lax.argmin(distances, 1, jnp.int32).reshape(z.shape[:-1])


def count_uses(
    indices: Int[Array, "batch *groups"], weights: Float[Array, " batch"], size: int
) -> Float[Array, " {size}"]:
    """Counts the uses of each of `size` codes by weighted examples."""
    each = jnp.broadcast_to(weights.reshape(-1, *(1,) * (indices.ndim - 1)), indices.shape)
    return jax.ops.segment_sum(each.reshape(-1), indices.reshape(-1), size)


def update_codebook(
    codebook: Codebook,
    z: Float[Array, "batch *groups dimension"],
    indices: Int[Array, "batch *groups"],
    weights: Float[Array, " batch"],
    key: Key[Array, ""],
    *,
    decay: float,
    threshold: float = 0.1,
) -> Codebook:
    """Updates the codebook with a batch of encoder outputs z.

    `indices` are the vectors nearest to the outputs. Examples with weight 0 have no effect; at
    least one weight must be positive. Counts and sums move toward the batch's by 1 - decay, and a
    vector is its sum divided by its count (van den Oord et al. 2017, appendix A.1). A vector is
    dead if its count is at most `threshold` times the mean count: it is replaced by an output drawn
    from the batch and gets the mean count (Zeghidour et al. 2021, section III.C, but with a
    threshold that does not depend on the batch size).
    """
    size, dimension = codebook.vectors.shape
    outputs = z.reshape(-1, dimension)
    each = jnp.repeat(weights, indices.size // weights.size)
    # A product sums in the same order each time; a scatter on a GPU does not.
    chosen = jax.nn.one_hot(indices.reshape(-1), size, axis=0)
    totals = jnp.dot(chosen, outputs * each[:, None], precision=lax.Precision.HIGHEST)
    counts = decay * codebook.counts + (1 - decay) * count_uses(indices, weights, size)
    sums = decay * codebook.sums + (1 - decay) * totals

    total = counts.sum()
    # With a decay of 1, counts and sums stay 0, and the vectors must stay as they are.
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


def draw_weighted(
    key: Key[Array, ""], weights: Float[Array, " examples"], count: int
) -> Int[Array, " {count}"]:
    """Draws indices, each in proportion to the weights, which are not all 0.

    Sampling is stratified: each of `count` equal parts of the total weight gives one index, so few
    repeat. A random shift of the parts makes every single index a fair draw from all of them.
    """
    place_key, shift_key = jax.random.split(key)
    within = jax.random.uniform(place_key, (count,))
    places = (jnp.arange(count).astype(within.dtype) + within) / count
    shares = 1 - (places + jax.random.uniform(shift_key)) % 1  # in (0, 1], as side="left" needs
    ends = jnp.cumsum(weights)
    return jnp.searchsorted(ends, shares * ends[-1])
