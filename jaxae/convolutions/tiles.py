"""Large batches in tiles, whose intermediate arrays stay in a CPU's cache."""

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float

_DEFAULT_CACHE = 1 << 20  # bytes of L2 where the system does not tell

_CACHES = 8  # times L2 that a layer's arrays may take; measured: tiles are no faster below

_LEAST = 32  # images; with fewer, the overhead of a tile's operations shows

_KEPT = "kept for the gradient"


def keep(x: Array) -> Array:
    """Marks an array that `map_tiles` keeps for the gradient instead of computing it again."""
    return checkpoint_name(x, _KEPT)


@functools.cache
def cache_bytes() -> int:
    """Returns the size of a core's L2 cache in bytes; 1 MiB where the system does not tell."""
    try:
        return max(os.sysconf("SC_LEVEL2_CACHE_SIZE"), 0) or _DEFAULT_CACHE
    except (AttributeError, OSError, ValueError):  # not Linux
        return _DEFAULT_CACHE


def tile_size(bytes_per_image: int) -> int:
    """Returns how many images of a layer's arrays fit in cache: a multiple of 32, at least 32."""
    return max(_CACHES * cache_bytes() // bytes_per_image // _LEAST, 1) * _LEAST


def map_tiles(
    function: Callable[[Array, Any], Array],
    x: Float[Array, "batch ..."],
    parameters: Any,
    size: int,
) -> Float[Array, "batch ..."]:
    """Applies a function of (x, parameters) to tiles of at most `size` examples, one after another.

    The function maps each example by itself. A batch that fits in one tile takes no loop. Tiles are
    of equal size: the last examples are repeated to fill them. The gradient of a tile computes it
    again, but for what the function marks with `keep`.
    """
    batch = x.shape[0]
    tiles = -(-batch // size)
    if tiles <= 1:
        return function(x, parameters)
    length = -(-batch // tiles)
    missing = tiles * length - batch
    if missing:
        x = jnp.concatenate([x, x[batch - missing :]])
    policy = jax.checkpoint_policies.save_only_these_names(_KEPT)
    # The loop itself keeps XLA from sharing what the two computations have in common.
    apply = jax.checkpoint(function, policy=policy, prevent_cse=False)
    y = lax.map(lambda tile: apply(tile, parameters), x.reshape(tiles, length, *x.shape[1:]))
    return y.reshape(tiles * length, *y.shape[2:])[:batch]
