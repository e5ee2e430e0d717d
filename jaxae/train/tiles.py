"""Gradients of large batches in tiles, whose activations stay in a CPU's cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from jaxae.train.batches import Batch
from jaxae.train.terms import Objective, Terms, Variables

_FROM = 4096  # examples in a batch that is split; below, tiles were no faster
_MOST = 1024  # examples in a tile; measured on dense networks of images of 784 pixels
_LEAST = 512  # with fewer, the sums of gradients take the time that the cache saves


@dataclass(frozen=True)
class ByExample:
    """An objective that computes each example by itself, and ignores its key.

    All its metrics have one number per example, and it returns no collections. So a training step
    may compute a large batch in tiles; see `in_tiles`.
    """

    objective: Objective

    def __call__(self, variables: Variables, key: Key[Array, ""], batch: Batch, /) -> Terms:
        """Returns the objective's terms."""
        return self.objective(variables, key, batch)


def tile_count(batch: int) -> int:
    """Returns into how many tiles of equal size a batch is split on a CPU; 1 for small batches."""
    if batch < _FROM:
        return 1
    counts = range(-(-batch // _MOST), batch // _LEAST + 1)
    return next((count for count in counts if batch % count == 0), 1)


def in_tiles(
    loss_of: Callable[[Any, Batch], tuple[Array, Terms]], params: Any, batch: Batch, count: int
) -> tuple[tuple[Float[Array, ""], Terms], Any]:
    """Sums the losses and the gradients of `count` tiles of a batch, one after another.

    The function returns a tile's part of the loss, and its terms, which are joined.
    """
    # Each tile takes every `count`-th example, because devices hold contiguous parts of a batch.
    split = jax.tree.map(lambda x: x.reshape(-1, count, *x.shape[1:]), batch)

    def add_tile(gradients: Any, index: Array) -> tuple[Any, tuple[Array, Terms]]:
        tile = jax.tree.map(lambda x: lax.dynamic_index_in_dim(x, index, 1, keepdims=False), split)
        parts, gradient = jax.value_and_grad(loss_of, has_aux=True)(params, tile)
        return jax.tree.map(jnp.add, gradients, gradient), parts

    zeros = jax.tree.map(jnp.zeros_like, params)
    gradient, (losses, terms) = lax.scan(add_tile, zeros, jnp.arange(count))
    terms = jax.tree.map(lambda x: x.swapaxes(0, 1).reshape(-1), terms)
    return (jnp.sum(losses), terms), gradient
