"""Datasets made of arrays in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike

from jaxae.data import own
from jaxae.data.dataset import Dataset
from jaxae.data.readers import CHUNK_BYTES, open_set
from jaxae.data.reading import Reading
from jaxae.errors import UserError
from jaxae.files import shorten

_Scale = Literal["minmax", "standardize", "none"]


def from_arrays(
    images: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    test: ArrayLike | None = None,
    test_labels: ArrayLike | None = None,
    class_names: Sequence[str] | None = None,
    scale: _Scale | None = None,
    channels_first: bool = False,
    name: str = "arrays",
) -> Dataset:
    """Returns a dataset of arrays in memory, equal to that of an .npz file with the same arrays.

    Images are uint8, booleans, or floats in [0, 1]; other numbers need `scale`. Vectors are any
    numbers, and are standardized unless `scale` says otherwise. The arrays are copied.

    Args:
      images: [N, H, W], [N, H, W, C], or vectors [N, D].
      labels: whole numbers or names [N], if there are any.
      test: images or vectors to test on; by default about a tenth of `images` is held out, chosen
        by their indices, so the same indices are chosen each time.
      test_labels: the labels of `test`.
      class_names: a name for each label, which is then an index from 0.
      scale: "minmax" maps the range of the training numbers to [0, 1], to which test images are
        clipped, "standardize" gives them mean 0 and deviation 1, and "none" leaves them as they
        are; images are scaled as a whole, vectors column by column.
      channels_first: whether images are [N, C, H, W].
      name: what captions and configs show.

    Raises:
      UserError: an array cannot be used as it is, and what to do instead.
    """
    if scale is not None and scale not in get_args(_Scale):
        raise UserError(f"scale {shorten(scale)}: give one of {', '.join(get_args(_Scale))}")
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"the name {shorten(name)} was given for arrays: give some text")
    if test is None and test_labels is not None:
        raise UserError("labels were given for no test examples: give those too, or neither")
    given = {"images": images, "labels": labels, "class_names": class_names}
    if test is not None:
        given = {"train_images": images, "train_labels": labels, "class_names": class_names}
        given |= {"test_images": test, "test_labels": test_labels}
        if (labels is None) != (test_labels is None):
            raise UserError(
                f"labels were given for the {'test' if labels is None else 'training'} examples "
                "alone: give labels for both, or for neither"
            )
    arrays = {
        key: _hold(key, values)
        for key, values in given.items()
        if values is not None or key.endswith("images")
    }
    reading = Reading(scale=scale, channels_first=channels_first)
    return own.read(name, open_set("memory", arrays, reading), None)


@dataclass(frozen=True)
class _HeldArray:
    """An array in memory, and the name that a file would hold it by."""

    key: str
    array: np.ndarray

    def __str__(self) -> str:
        return f"the array {self.key}"

    def __len__(self) -> int:
        return len(self.array)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def chunks(self) -> Iterator[np.ndarray]:
        rows = max(1, CHUNK_BYTES * len(self) // self.array.nbytes)
        for start in range(0, len(self), rows):
            yield self.array[start : start + rows]


def _hold(key: str, values: Any) -> _HeldArray:
    """Returns values as an array; raises `UserError` unless they are numbers or text."""
    try:
        array = np.asarray(values)
    except Exception as error:  # lists of unequal lengths, tensors on another device, ...
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"the {key} given, of type {type(values).__name__}, cannot be made an array "
            f"({reason}): give a NumPy array"
        ) from None
    if array.dtype.kind not in "biufSU" or not array.ndim or not array.size:
        raise UserError(
            f"the {key} given are {array.dtype} of shape {array.shape}: give an array of numbers, "
            "or of text for labels, with one example or more"
        )
    return _HeldArray(key, array)
