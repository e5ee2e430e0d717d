"""Examples in memory, their order in an epoch, and the batches that steps read."""

from dataclasses import replace
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.core import Tracer
from jaxtyping import Float, Int, Int32, Key, Num

from jaxae.data import Column
from jaxae.errors import UserError
from jaxae.train.arrays import canonicalize_array, check_pixels


@struct.dataclass
class Examples:
    """Images or vectors, and optionally their labels and separate inputs, N of each.

    Any integer or float dtype is allowed; `canonicalize` converts it to the one that steps use.

    Attributes:
      images: uint8 or float [N, H, W, C], where uint8 pixels mean [0, 1] in steps of 1/255; or
        vectors [N, D] of any range.
      labels: int [N], or None.
      inputs: what the network reads instead of the images, of the same kinds, or None.
      any_range: whether float images may have any range, also one that looks like bytes.
    """

    images: Array | np.ndarray
    labels: Array | np.ndarray | None = None
    inputs: Array | np.ndarray | None = None
    any_range: bool = struct.field(pytree_node=False, default=False)

    @property
    def network_inputs(self) -> Array | np.ndarray:
        """The inputs if there are any, else the images."""
        return self.images if self.inputs is None else self.inputs


@struct.dataclass
class Batch:
    """B examples, which include padding of weight 0 if the last batch is incomplete.

    Attributes:
      images: uint8 or float [B, H, W, C], or float [B, D].
      labels: int32 or float [B], or None.
      inputs: what the network reads instead of the images, of the same kinds, or None.
      weights: float32 [B], 1 for an example and 0 for padding.
    """

    images: Array
    labels: Array | None
    inputs: Array | None
    weights: Array

    @property
    def network_inputs(self) -> Array:
        """The inputs if the batch has any, else the images."""
        return self.images if self.inputs is None else self.inputs


def pixels(images: Num[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Returns images as floats: uint8 is divided by 255, floats stay as they are."""
    if isinstance(images, list | tuple):
        images = canonicalize_array("images", images)
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    return images


def order_and_noise_keys(key: Key[Array, ""]) -> tuple[Key[Array, ""], Key[Array, ""]]:
    """Splits a run's key into a shuffling key and a noise key."""
    order_key, noise_key = jax.random.split(key)
    return order_key, noise_key


def epoch_order(
    key: Key[Array, ""],
    epoch: Int[Array, ""] | int,
    size: int,
    batch_size: int,
    *,
    parts: int = 1,
    drop_remainder: bool = False,
) -> Int32[Array, "steps batch"]:
    """Returns an epoch's shuffled indices, split and padded by `in_batches`."""
    order_key, _ = order_and_noise_keys(key)
    permutation = jax.random.permutation(jax.random.fold_in(order_key, epoch), size)
    return in_batches(permutation, batch_size, parts=parts, drop_remainder=drop_remainder)


def in_batches(
    indices: Int[Array, " N"], batch_size: int, *, parts: int = 1, drop_remainder: bool = False
) -> Int[Array, "steps batch"]:
    """Splits indices into batches, and pads them with other examples, as negative indices.

    A padding ~i, which is -1 - i, stands for example i with weight 0. So what a network computes
    from a whole batch, such as the statistics of batch normalization, is not biased by one example.
    The examples are those that follow in the order, from whose end it goes on at the start.

    Every batch is padded so that its size is a multiple of `parts`, and so is an incomplete last
    batch, unless `drop_remainder` leaves it out.
    """
    size = indices.shape[0]
    steps = steps_in_epoch(size, batch_size, drop_remainder=drop_remainder)
    columns = jnp.arange(batch_size + -batch_size % parts)[None, :]
    positions = batch_size * jnp.arange(steps)[:, None] + columns
    taken = indices[positions % size]
    return jnp.where((columns < batch_size) & (positions < size), taken, ~taken)


def gather(examples: Examples, indices: Int[Array, " batch"]) -> Batch:
    """Returns the examples at these indices; those of padding (`in_batches`) have weight 0.

    Streamed examples are read from disk, which a compiled function cannot do.
    """
    examples = lists_to_arrays(examples)
    places = jnp.maximum(indices, ~indices)
    taken = jax.tree.map(partial(_rows, places=places), examples)
    weights = (indices >= 0).astype(jnp.float32)
    return Batch(taken.images, taken.labels, taken.inputs, weights)


def _rows(array: Array | Column, places: Int[Array, " batch"]) -> Array:
    """Returns array[places].

    XLA on the CPU computes an index for each number; those of a matrix are cheaper to compute.
    """
    if isinstance(array, Column):
        return jnp.asarray(array[np.asarray(places)])
    rows = array.reshape(array.shape[0], -1)[places]
    return rows.reshape(places.shape[0], *array.shape[1:])


def steps_in_epoch(size: int, batch_size: int, *, drop_remainder: bool = False) -> int:
    """Returns the number of batches in an epoch; an incomplete last one counts unless dropped."""
    return size // batch_size if drop_remainder else -(-size // batch_size)


_ExamplesOrBatch = TypeVar("_ExamplesOrBatch", Examples, Batch)


def canonicalize(examples: _ExamplesOrBatch) -> _ExamplesOrBatch:
    """Converts examples, or a batch, to the dtypes that steps compute with.

    Integer labels become int32. Integer images and inputs in 0..255 become uint8, and vectors
    floats. Floats become float32, or stay float64 if jax_enable_x64 is on. Lists become arrays.
    Raises `UserError` for other dtypes, for lists of unequal shapes, and for numbers that do not
    fit. Values of traced arrays cannot be checked: integers that do not fit wrap around, and floats
    become infinite.
    """
    examples = lists_to_arrays(examples)
    named = {"labels": examples.labels, "images": examples.images, "inputs": examples.inputs}
    canonical = {
        name: canonicalize_array(name, array) for name, array in named.items() if array is not None
    }
    return replace(examples, **canonical)


def lists_to_arrays(examples: _ExamplesOrBatch) -> _ExamplesOrBatch:
    """Converts the Python lists among examples, or a batch; leaves arrays as they are.

    The dtypes are those of `canonicalize`, and so are the errors; weights become float32.
    """
    lists = {name: value for name, value in vars(examples).items() if isinstance(value, list)}
    return replace(
        examples, **{name: canonicalize_array(name, value) for name, value in lists.items()}
    )


def check_examples(examples: Examples, batch_size: int) -> Examples:
    """Returns canonical examples; raises `UserError` for bad examples or a bad batch size."""
    if not isinstance(examples, Examples):
        raise UserError(
            f"examples of type {type(examples).__name__} were given: give train.Examples(images), "
            "or train.Examples(images, labels)"
        )
    examples = canonicalize(examples)
    if examples.images.ndim not in (2, 4) or 0 in examples.images.shape:
        raise UserError(
            f"images of shape {examples.images.shape} were given: give images [N, H, W, C] or "
            "vectors [N, D] with no axis of length 0; add a last axis to gray images"
        )
    size = examples.images.shape[0]
    for name, array in (("labels", examples.labels), ("inputs", examples.inputs)):
        if array is not None and array.ndim == 0:
            raise UserError(f"one number was given as {name}: give one for each of {size} images")
        if array is not None and array.shape[0] != size:
            raise UserError(f"{array.shape[0]} {name} were given for {size} images: give {size}")
    for name, pixels in (("images", examples.images), ("inputs", examples.inputs)):
        if isinstance(pixels, np.ndarray | Array) and not isinstance(pixels, Tracer):
            check_pixels(name, pixels, any_range=examples.any_range)
    if not 1 <= batch_size <= size:
        raise UserError(
            f"a batch size of {batch_size} was given for {size} images: give from 1 to {size}"
        )
    return examples
