"""Large batches in tiles, whose intermediate arrays stay in a CPU's cache."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Float

_SIZE_FILE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")  # such as "2048K"

_DEFAULT_CACHE = 1 << 20  # bytes

_CACHES = 8  # times L2 that a layer's arrays may take; measured: tiles are no faster below

_LEAST = 32  # images; with fewer, the overhead of a tile's operations shows

_KEPT = "kept for the gradient"


def keep(x: Array) -> Array:
    """Marks an array that `map_tiles` keeps for the gradient instead of computing it again."""
    return checkpoint_name(x, _KEPT)


@functools.cache
def cache_bytes() -> int:
    """Returns the size of a core's L2 cache in bytes; 1 MiB where Linux does not tell it."""
    try:
        return int(_SIZE_FILE.read_text(encoding="utf-8").strip().removesuffix("K")) * 1024
    except (OSError, ValueError):
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
    again, but for what the function marks with `keep`. Gradients of parameters in half precision
    are summed over tiles in float32.
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
    wide = jax.tree.map(lambda p: p if p.dtype.itemsize >= 4 else p.astype(jnp.float32), parameters)

    def of_tile(tile: Array) -> Array:
        return apply(tile, jax.tree.map(lambda w, p: w.astype(p.dtype), wide, parameters))

    y = lax.map(of_tile, x.reshape(tiles, length, *x.shape[1:]))
    return y.reshape(tiles * length, *y.shape[2:])[:batch]
