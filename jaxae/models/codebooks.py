"""The bottleneck that looks up vectors in a codebook, and the update of the codebook."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct
from jax import Array, lax
from jaxtyping import Float, Int, Int32, Key

from jaxae.errors import UserError
from jaxae.models.bottlenecks import in_groups, straight_through


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
    decay: Float[Array, ""] | float,
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
