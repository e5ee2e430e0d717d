"""Names, shapes, dtypes and checksums of a pytree's leaves."""

import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def describe_leaves(tree: Any) -> dict[str, dict[str, Any]]:
    """Describes each leaf by its path: shape, dtype and checksum, ready for JSON."""
    return {
        name: {**describe_leaf(leaf), "crc32": checksum(leaf)}
        for name, leaf in named_leaves(tree).items()
    }


def describe_leaf(leaf: jax.Array) -> dict[str, Any]:
    """Describes a leaf by shape and dtype; a typed PRNG key's dtype names its kind."""
    return {"dtype": str(leaf.dtype), "shape": list(leaf.shape)}


def checksum(leaf: jax.Array) -> int:
    """Returns the CRC-32 of a leaf's bytes; a typed PRNG key's bytes are its integers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    # As uint8, because NumPy has no buffer of bfloat16.
    return zlib.crc32(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)


def checksum_of_json(value: Any) -> int:
    """Returns the CRC-32 of a JSON value, whatever the layout of its text."""
    return zlib.crc32(json.dumps(value, sort_keys=True).encode())


def named_leaves(tree: Any) -> dict[str, Any]:
    """Maps paths to the leaves of a pytree, such as state/params/encoder/Dense_0/bias."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
