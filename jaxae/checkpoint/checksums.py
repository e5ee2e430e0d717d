"""What the leaves of a pytree are, by name, and the checksums of their numbers."""

import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def describe_leaves(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape, dtype and checksum of each leaf by its path, as JSON has them."""
    return {
        name: {**describe_leaf(leaf), "crc32": checksum(leaf)}
        for name, leaf in named_leaves(tree).items()
    }


def describe_leaf(leaf: jax.Array) -> dict[str, Any]:
    """Shape and dtype of a leaf; a typed PRNG key's name its kind."""
    return {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}


def checksum(leaf: jax.Array) -> int:
    """The CRC-32 of a leaf's bytes, of a typed PRNG key those of its integers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    # As uint8, for NumPy has no buffer of bfloat16.
    return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)


def checksum_of_json(value: Any) -> int:
    """The CRC-32 of a value, however its JSON is laid out."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their path, such as state/params/encoder/Dense_0/bias."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
