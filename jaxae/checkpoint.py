"""Everything Orbax: a run's checkpoints, written beside training and read back exactly."""

import contextlib
import math
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from jaxae.errors import UserError

if TYPE_CHECKING:  # slow to import, and needed only once a run begins
    from orbax.checkpoint import v1 as ocp

    Checkpointer = ocp.training.Checkpointer


@contextlib.contextmanager
def open_checkpoints(folder: Path, *, keep_all: bool = False) -> Iterator["Checkpointer"]:
    """A checkpointer for a run's folder, which keeps the latest two and the one of lowest loss.

    It writes while training goes on; leaving the context waits until all is on disk.
    """
    from orbax.checkpoint import v1 as ocp

    # What a killed run was writing; Orbax's own clean-up outlives a process that ends at once.
    for unfinished in folder.glob("*.orbax-checkpoint-tmp*"):
        shutil.rmtree(unfinished)
    policies = ocp.training.preservation_policies
    lowest_loss = policies.BestN(get_metric_fn=lambda metrics: metrics["loss"], reverse=True, n=1)
    keep = (
        policies.PreserveAll()
        if keep_all
        else policies.AnyPreservationPolicy([policies.LatestN(2), lowest_loss])
    )
    with ocp.training.Checkpointer(
        str(folder.absolute()),
        preservation_policy=keep,  # pyright: ignore[reportArgumentType]
    ) as checkpointer:
        yield checkpointer


def save(checkpointer: "Checkpointer", step: int, tree: Any, *, loss: float) -> None:
    """Starts saving a pytree of arrays as the checkpoint of a step, replacing one that is there.

    The loss decides which checkpoint is the best; one that is not finite never is.
    """
    # JSON has no infinity, and Orbax takes NaN for the lowest of all.
    loss = loss if math.isfinite(loss) else sys.float_info.max
    checkpointer.save_async(step, tree, force=True, overwrite=True, metrics={"loss": loss})


def delete_after(checkpointer: "Checkpointer", step: int) -> None:
    """Deletes the checkpoints of later steps, so that the latest is where training goes on."""
    for saved in checkpointer.checkpoints:
        if saved.step > step:
            checkpointer.delete(saved.step)


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint in a folder, ascending; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(int(path.name) for path in folder.iterdir() if path.name.isdecimal())


def restore(folder: Path, like: Any, step: int | None = None) -> Any:
    """The pytree saved at a step, by default the latest, on the devices of like.

    Args:
      folder: where the checkpoints lie.
      like: a pytree of arrays of the same structure and shapes, whose values are not used.
      step: one of `steps(folder)`.

    Raises:
      UserError: there is no such checkpoint, or its arrays have another shape or dtype.
    """
    from orbax.checkpoint import v1 as ocp

    available = steps(folder)
    if not available:
        raise UserError(f"no checkpoint was found in {folder}: give a run that has one")
    if step is None:
        step = available[-1]
    if step not in available:
        raise UserError(
            f"step {step} was asked for, and {folder} has checkpoints of steps "
            f"{', '.join(map(str, available))}: choose one of these"
        )
    path = (folder / str(step)).absolute()
    check_metadata(path, like)
    abstract = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding), like
    )
    return ocp.load(str(path), abstract)


def check_metadata(path: Path, like: Any) -> None:
    """UserError, naming the leaf, unless the checkpoint at path has the leaves of like."""
    from orbax.checkpoint import v1 as ocp

    saved = named_leaves(ocp.metadata(str(path)).metadata)
    wanted = named_leaves(jax.tree.map(stored_form, like))
    for name in sorted(saved.keys() | wanted.keys()):
        found = saved.get(name)
        expected = wanted.get(name)
        if found is None or expected is None:
            where = "the model and optimizer" if found is None else "the checkpoint"
            raise UserError(
                f"{path} does not fit: {name} is only in {where}; give the options of the run that "
                "saved it"
            )
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise UserError(
                f"{path} does not fit: {name} is {found.dtype}{list(found.shape)} there and "
                f"{expected.dtype}{list(expected.shape)} here; give the options of the run that "
                "saved it"
            )


def stored_form(leaf: jax.Array) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf on disk, where a typed PRNG key is its integers."""
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return jax.eval_shape(jax.random.key_data, leaf)
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def named_leaves(tree: Any) -> dict[str, Any]:
    """The leaves of a pytree by their path, such as state/params/encoder/Dense_0/bias."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}
