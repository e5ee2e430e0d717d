"""Gradients of large batches in tiles, whose activations stay in a CPU's cache."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Key

from jaxae.errors import UserError
from jaxae.train.batches import Batch
from jaxae.train.terms import Objective, Terms, Variables

_FROM = 4096  # examples in a batch that is split; below, tiles were no faster
_MOST = 1024  # examples in a tile; measured on dense networks of images of 784 pixels
_LEAST = 512  # with fewer, the sums of gradients take the time that the cache saves


@dataclass(frozen=True)
class ByExample:
    """An objective that computes each example by itself, and ignores its key.

    Its loss and its metrics have one number per example, and it returns no collections. So a
    training step may compute a large batch in tiles. It raises `UserError` for other terms.
    """

    objective: Objective

    def __call__(self, variables: Variables, key: Key[Array, ""], batch: Batch, /) -> Terms:
        """Returns the objective's terms."""
        return self.objective(variables, key, batch)


def tile_count(batch: int) -> int:
    """Returns into how many tiles of equal size a batch is split on a CPU.

    It is 1 for small batches, and for those that no tile of 512 to 1,024 examples divides.
    """
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
    tiles = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)

    def add_tile(gradients: Any, tile: Batch) -> tuple[Any, tuple[Array, Terms]]:
        (loss, terms), gradient = jax.value_and_grad(loss_of, has_aux=True)(params, tile)
        return jax.tree.map(jnp.add, gradients, gradient), (loss, terms)

    zeros = jax.tree.map(jnp.zeros_like, params)
    gradient, (losses, terms) = lax.scan(add_tile, zeros, tiles)
    return (jnp.sum(losses), jax.tree.map(jnp.ravel, terms)), gradient


def check_by_example(terms: Terms, size: int) -> None:
    """Raises `UserError` if an objective's terms are not one number for each of `size` examples."""
    values = {"loss": terms.loss, **terms.metrics}
    wrong = [name for name, value in values.items() if jnp.shape(value) != (size,)]
    if wrong or terms.collections:
        what = f"a {wrong[0]} that is not one number per example" if wrong else "collections"
        raise UserError(
            f"the objective in ByExample returned {what}: train with it without ByExample"
        )
