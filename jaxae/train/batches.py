"""Examples in memory, their order in an epoch, and the batches a step takes from them."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax import Array
from jax.core import Tracer

from jaxae.data import Column
from jaxae.errors import UserError

AT_ONCE = 500  # images, of which a convolutional network's activations fit in memory


@struct.dataclass
class Examples:
    """Images and what belongs to them, N of each; uint8 pixels mean [0, 1] in steps of 1/255.

    Any integer or float dtype will do: `canonicalize` says what a step makes of it.
    """

    images: Array | np.ndarray  # uint8 or float [N, H, W, C]
    labels: Array | np.ndarray | None = None  # int [N]
    inputs: Array | np.ndarray | None = None  # [N, H, W, C], read by the network if not the images

    @property
    def network_inputs(self) -> Array | np.ndarray:
        """What the network reads: the inputs if there are any, else the images."""
        return self.images if self.inputs is None else self.inputs


@struct.dataclass
class Batch:
    """B examples, of which the padding of an incomplete last batch weighs 0."""

    images: Array  # [B, H, W, C]
    labels: Array | None  # [B]
    inputs: Array | None  # [B, H, W, C]
    weights: Array  # float32 [B], 1 or 0

    @property
    def network_inputs(self) -> Array:
        """What the network reads: the inputs if the batch has any, else the images."""
        return self.images if self.inputs is None else self.inputs


def pixels(images: Array) -> Array:
    """Images as float in [0, 1]: uint8 is divided by 255, floats are taken to be in [0, 1]."""
    if images.dtype == jnp.uint8:
        return images.astype(jnp.float32) / 255
    return images


def order_and_noise_keys(key: Array) -> tuple[Array, Array]:
    """What a run's key becomes: the key of the epochs' orders, and that of the steps' noise."""
    order_key, noise_key = jax.random.split(key)
    return order_key, noise_key


def epoch_order(
    key: Array, epoch: Array | int, size: int, batch_size: int, *, parts: int = 1
) -> Array:
    """A shuffled epoch as int32 indices [steps, batch], padded as `in_batches` does."""
    order_key, _ = order_and_noise_keys(key)
    permutation = jax.random.permutation(jax.random.fold_in(order_key, epoch), size)
    return in_batches(permutation, batch_size, parts=parts)


def in_batches(indices: Array, batch_size: int, *, parts: int = 1) -> Array:
    """Indices [N] as [steps, batch], where -1 pads the last batch.

    It also pads each batch, whose size is then the next multiple of `parts`.
    """
    padding = -indices.shape[0] % batch_size
    batches = jnp.pad(indices, (0, padding), constant_values=-1).reshape(-1, batch_size)
    return jnp.pad(batches, ((0, 0), (0, -batch_size % parts)), constant_values=-1)


def gather(examples: Examples, indices: Array) -> Batch:
    """The batch of examples at indices [B]; an index of -1 gives the first example, weight 0."""
    taken = jax.tree.map(lambda array: array[jnp.maximum(indices, 0)], examples)
    weights = (indices >= 0).astype(jnp.float32)
    return Batch(taken.images, taken.labels, taken.inputs, weights)


def steps_in_epoch(size: int, batch_size: int) -> int:
    """How many batches hold all examples, the last one perhaps incomplete."""
    return -(-size // batch_size)


ExamplesOrBatch = TypeVar("ExamplesOrBatch", Examples, Batch)

PIXELS_ALLOWED = "give uint8 in 0..255, or floats in [0, 1]"


def canonicalize(examples: ExamplesOrBatch) -> ExamplesOrBatch:
    """Examples, or a batch, in the dtypes that steps compute with.

    Labels become int32, or float where they are floats; images and inputs uint8, from integers of
    any dtype in 0..255, or float. Float is float32, or float64 where jax_enable_x64 is on and
    float64 was given. Lists become arrays. Raises UserError for other dtypes, for lists of unequal
    shapes, and for numbers that do not fit. Traced arrays have no values to check: there, integers
    that do not fit wrap around, and floats become infinite.
    """
    named = {"labels": examples.labels, "images": examples.images, "inputs": examples.inputs}
    canonical = {
        name: canonicalize_array(name, array) for name, array in named.items() if array is not None
    }
    return replace(examples, **canonical)


def canonicalize_array(name: str, array: Any) -> Any:
    """One array of `canonicalize`, whose name says whether it holds labels, codes or pixels."""
    if isinstance(array, Column):
        return array
    array = as_array(name, array)
    dtype = canonical_dtype(name, array.dtype)
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu":
        check_range(name, array, dtype)
        return array.astype(dtype)
    with np.errstate(over="ignore"):  # check_overflow raises a UserError instead
        converted = array.astype(dtype)
    check_overflow(name, array, converted)
    return converted


def as_array(name: str, values: Any) -> Array | np.ndarray:
    """Values as an array, copied only where they are none; UserError for ragged lists."""
    if isinstance(values, np.ndarray | Array):
        return values
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(f"{name} of unequal shapes were given: give one array") from None


def canonical_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """The dtype that values of a name and dtype are brought to; UserError where there is none.

    Integers are labels or pixels, but as codes they are floats.
    """
    is_label = name == "labels"
    if jnp.issubdtype(dtype, np.floating):
        widest = jnp.result_type(float)  # float64 where jax_enable_x64 is on
        return np.dtype(widest if dtype.itemsize > 4 else np.float32)
    is_integer = jnp.issubdtype(dtype, np.integer) and dtype.kind != "m"  # not np.timedelta64
    if is_integer and name == "codes":
        return np.dtype(np.float32)
    if is_integer or (is_label and dtype == np.bool_):
        return np.dtype(np.int32 if is_label else np.uint8)
    allowed = {"labels": "give whole numbers", "codes": "give floats"}.get(name, PIXELS_ALLOWED)
    raise UserError(f"{name} of dtype {dtype} were given: {allowed}")


def check_range(name: str, array: Array | np.ndarray, dtype: np.dtype) -> None:
    """UserError where integers are out of a dtype's range; traced arrays pass unchecked."""
    if isinstance(array, Tracer) or not array.size:
        return
    low, high, limits = int(array.min()), int(array.max()), np.iinfo(dtype)
    if not limits.min <= low <= high <= limits.max:
        allowed = f"give {dtype} from {limits.min} to {limits.max}"
        raise UserError(
            f"{name} of {array.dtype} from {low} to {high} were given: "
            f"{allowed if name == 'labels' else PIXELS_ALLOWED}"
        )


def check_overflow(name: str, array: Array | np.ndarray, converted: Array | np.ndarray) -> None:
    """UserError where a conversion made finite floats infinite; traced arrays pass unchecked."""
    if isinstance(array, Tracer) or array.dtype.itemsize <= converted.dtype.itemsize:
        return
    before, after = np.asarray(array), np.asarray(converted)
    overflowed = np.isfinite(before) & np.isinf(after)
    if overflowed.any():
        limit = np.finfo(after.dtype).max
        range_allowed = f"give numbers from {-limit:g} to {limit:g}"
        raise UserError(
            f"{name} with {before[overflowed][0]} were given, which {after.dtype} cannot hold: "
            f"{range_allowed if name in ('labels', 'codes') else PIXELS_ALLOWED}"
        )


def check_examples(examples: Examples, batch_size: int) -> Examples:
    """Examples in canonical dtypes; UserError where they or the batch size cannot be trained on."""
    examples = canonicalize(examples)
    if examples.images.ndim != 4 or 0 in examples.images.shape:
        raise UserError(
            f"images of shape {examples.images.shape} were given: images are [N, H, W, C], with at "
            "least one of each; add a last axis to grey images"
        )
    size = examples.images.shape[0]
    for name, array in (("labels", examples.labels), ("inputs", examples.inputs)):
        if array is not None and array.ndim == 0:
            raise UserError(f"{name} of one number were given for {size} images: give one each")
        if array is not None and array.shape[0] != size:
            raise UserError(f"{array.shape[0]} {name} were given for {size} images: give one each")
    for name, pixels in (("images", examples.images), ("inputs", examples.inputs)):
        if isinstance(pixels, np.ndarray | Array) and not isinstance(pixels, Tracer):
            check_pixels(name, pixels)
    if not 1 <= batch_size <= size:
        raise UserError(
            f"a batch size of {batch_size} was given: with {size} images it is from 1 to {size}"
        )
    return examples


def check_pixels(name: str, pixels: Array | np.ndarray) -> None:
    """UserError for the pixels of a whole set, uint8 or float, in the range of the other kind."""
    if pixels.dtype != np.uint8:
        check_floats(name, pixels)
    elif pixels.max() == 1:
        raise UserError(
            f"{name} of integers from 0 to 1 were given: they are scaled already; {PIXELS_ALLOWED}"
        )


def is_standardized(pixels: Any) -> bool:
    """Whether the pixels of a whole set are floats around 0 rather than in [0, 1]."""
    return bool(pixels.dtype != np.uint8 and pixels.min() < 0)


def check_floats(name: str, pixels: Array | np.ndarray, *, standardized: bool = False) -> None:
    """UserError for float pixels that are not finite, or are in 0..255.

    Those beyond 1 pass where some are negative, or where a set is known to be standardized.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not math.isfinite(low + high):
        raise UserError(f"{name} with NaN or infinite pixels were given: mend or drop them")
    if low >= 0 and high > 1 and not standardized:
        raise UserError(
            f"{name} of floats from {low:g} to {high:g} were given: divide them by the largest "
            f"value they can have, or {PIXELS_ALLOWED}"
        )


def apply_in_parts(
    function: Callable[..., np.ndarray], *arrays: np.ndarray, size: int = AT_ONCE
) -> np.ndarray:
    """A function of arrays [N, ...], called with a few of the N at a time, at least once."""
    starts = range(0, max(len(arrays[0]), 1), size)
    parts = (slice(start, start + size) for start in starts)
    return np.concatenate([function(*(array[part] for array in arrays)) for part in parts])
