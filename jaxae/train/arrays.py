"""Converts and checks arrays for training, and applies functions to large arrays in parts."""

import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.errors import TracerArrayConversionError

from jaxae.data import Column
from jaxae.errors import UserError

_AT_ONCE = 250  # images, whose activations in a convolutional network fit in memory

_PIXELS_ALLOWED = "give uint8 in 0..255, or floats in [0, 1]"


def canonicalize_array(name: str, array: Any) -> Any:
    """Converts labels, codes, weights, pixels or vectors to the dtype of steps.

    They are told apart by name, and vectors [N, D] from images by their rank; integers in vectors
    are no pixels, and become floats. Raises `UserError` for another dtype, lists of unequal shapes,
    and numbers that do not fit.
    """
    if isinstance(array, Column):
        return array
    array = as_array(name, array)
    if name in ("images", "inputs") and array.ndim == 2:
        name = "vectors"
    dtype = _canonical_dtype(name, array.dtype)
    if array.dtype == dtype:
        return array
    if dtype.kind in "iu":
        _check_range(name, array, dtype)
        return array.astype(dtype)
    with np.errstate(over="ignore"):  # _check_overflow raises a UserError instead
        converted = array.astype(dtype)
    _check_overflow(name, array, converted)
    return converted


def as_array(name: str, values: Any) -> Array | np.ndarray:
    """Converts lists and numbers to an array; returns arrays as they are.

    Raises `UserError` for lists of unequal shapes. Lists of traced arrays become one traced array.
    """
    if isinstance(values, np.ndarray | Array):
        return values
    try:
        return np.asarray(values)
    except TracerArrayConversionError:
        return jnp.stack([as_array(name, value) for value in values])
    except ValueError:
        raise UserError(f"{name} of unequal shapes were given: give one array") from None


def _canonical_dtype(name: str, dtype: np.dtype) -> np.dtype:
    """Returns the dtype that steps compute with, for values of a name and dtype.

    Integers may be labels or pixels; in codes, weights and vectors they become floats. Raises
    `UserError` for dtypes that are not allowed.
    """
    is_label = name == "labels"
    if jnp.issubdtype(dtype, np.floating):
        widest = jnp.result_type(float)  # float64 if jax_enable_x64 is on
        return np.dtype(widest if dtype.itemsize > 4 else np.float32)
    is_integer = jnp.issubdtype(dtype, np.integer) and dtype.kind != "m"  # not np.timedelta64
    if is_integer and name in ("codes", "weights", "vectors"):
        return np.dtype(np.float32)
    if is_integer or (is_label and dtype == np.bool_):
        return np.dtype(np.int32 if is_label else np.uint8)
    allowed = {
        "labels": "give whole numbers",
        "codes": "give floats",
        "weights": "give floats",
        "vectors": "give numbers",
    }.get(name, _PIXELS_ALLOWED)
    raise UserError(f"{name} of dtype {dtype} were given: {allowed}")


def _check_range(name: str, array: Array | np.ndarray, dtype: np.dtype) -> None:
    """Raises `UserError` for integers out of a dtype's range; traced arrays are not checked."""
    if isinstance(array, Tracer) or not array.size:
        return
    low, high, limits = int(array.min()), int(array.max()), np.iinfo(dtype)
    if not limits.min <= low <= high <= limits.max:
        allowed = f"give {dtype} from {limits.min} to {limits.max}"
        raise UserError(
            f"{name} of {array.dtype} from {low} to {high} were given: "
            f"{allowed if name == 'labels' else _PIXELS_ALLOWED}"
        )


def _check_overflow(name: str, array: Array | np.ndarray, converted: Array | np.ndarray) -> None:
    """Raises `UserError` if a conversion made floats infinite; traced arrays are not checked."""
    if isinstance(array, Tracer) or array.dtype.itemsize <= converted.dtype.itemsize:
        return
    before, after = np.asarray(array), np.asarray(converted)
    overflowed = np.isfinite(before) & np.isinf(after)
    if overflowed.any():
        limit = np.finfo(after.dtype).max
        range_allowed = f"give numbers from {-limit:g} to {limit:g}"
        raise UserError(
            f"{name} with {before[overflowed][0]} were given, which {after.dtype} cannot hold: "
            f"{_PIXELS_ALLOWED if name in ('images', 'inputs') else range_allowed}"
        )


def check_pixels(name: str, pixels: Array | np.ndarray, *, any_range: bool = False) -> None:
    """Raises `UserError` if a whole set is uint8 from 0 to 1, or as `check_floats` does.

    Pixels are [N, H, W, C], or vectors [N, D]; with `any_range`, floats need only be finite.
    """
    if pixels.dtype != np.uint8:
        check_floats(name, pixels, standardized=any_range)
    elif pixels.max() == 1:
        raise UserError(
            f"{name} of integers from 0 to 1 were given, as if already scaled: {_PIXELS_ALLOWED}"
        )


def is_standardized(pixels: Any) -> bool:
    """Returns whether the pixels of a whole set are floats around 0 rather than in [0, 1].

    Of vectors [N, D], whose numbers have any range, it returns False.
    """
    return bool(pixels.ndim != 2 and pixels.dtype != np.uint8 and pixels.min() < 0)


def check_floats(name: str, pixels: Array | np.ndarray, *, standardized: bool = False) -> None:
    """Raises `UserError` for float pixels that are not finite, or seem to be in 0..255.

    Pixels above 1 are allowed if some are negative, or if the set is known to be standardized.
    Vectors [N, D] may have any range.
    """
    is_vector = pixels.ndim == 2
    low, high = float(pixels.min()), float(pixels.max())
    if not math.isfinite(low + high):
        kind, numbers = ("vectors", "numbers") if is_vector else (name, "pixels")
        raise UserError(f"{kind} with NaN or infinite {numbers} were given: fix or drop them")
    if low >= 0 and high > 1 and not standardized and not is_vector:
        raise UserError(
            f"{name} of floats from {low:g} to {high:g} were given: divide them by the largest "
            f"value that they can have, or {_PIXELS_ALLOWED}"
        )


def apply_in_parts(
    function: Callable[..., np.ndarray], *arrays: np.ndarray, size: int = _AT_ONCE
) -> np.ndarray:
    """Applies a function to arrays [N, ...] in chunks of `size`; once if they are empty."""
    starts = range(0, max(len(arrays[0]), 1), size)
    parts = (slice(start, start + size) for start in starts)
    return np.concatenate([function(*(array[part] for array in arrays)) for part in parts])
