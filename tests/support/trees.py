"""Trees to save, and a bitwise comparison of trees."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxae import checkpoint


def make_tree(seed: int = 0) -> dict[str, Any]:
    """Returns a tree like a training state: several dtypes, a scalar, a typed key."""
    bits, values, key = jax.random.split(jax.random.key(seed), 3)
    weights = jax.random.normal(values, (3, 5))
    return {
        "state": {
            "params": {"kernel": weights, "half": weights[0].astype(jnp.bfloat16)},
            "buffers": (jax.random.bits(bits, (2, 3), jnp.uint8), jnp.array([-0.0, jnp.nan])),
            "step": jnp.asarray(seed, jnp.int32),
            "key": key,
        },
        "totals": {},
    }


def blank(tree: Any) -> Any:
    """Returns a tree of the same structure with other values."""
    return jax.tree.map(
        lambda leaf: (
            jax.random.key(99)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.zeros_like(leaf)
        ),
        tree,
    )


def _to_bytes(leaf: jax.Array) -> bytes:
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.asarray(leaf).tobytes()


def assert_same_bits(tree: Any, expected: Any) -> None:
    assert jax.tree.structure(tree) == jax.tree.structure(expected)
    for leaf, other in zip(jax.tree.leaves(tree), jax.tree.leaves(expected), strict=True):
        assert leaf.dtype == other.dtype
        assert leaf.shape == other.shape
        assert _to_bytes(leaf) == _to_bytes(other)


def save_two(folder: Path, *, weights: int = 0) -> tuple[Any, Any]:
    """Saves two trees as steps 1 and 2, the second with the lower loss."""
    trees = make_tree(1), make_tree(2)
    if weights:
        for seed, tree in enumerate(trees):
            tree["weights"] = jax.random.normal(jax.random.key(seed), (weights,))
    with checkpoint.open_checkpoints(folder) as checkpointer:
        for step, tree in enumerate(trees, start=1):
            checkpoint.save(checkpointer, step, tree, loss=-step)
    return trees
