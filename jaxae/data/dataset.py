"""Datasets: splits of images and labels, with class names and a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxae.data import stored

MINI_SUFFIX = "_mini"  # ends the name of a bundled subset


@dataclass(frozen=True)
class Split:
    """Images or vectors and their labels in a fixed order, as read-only arrays.

    images: uint8 or float32 [N, H, W, C], or vectors float32 [N, D]; labels: int32 [N], indices
    into the dataset's class names, or None.
    """

    images: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Scaling:
    """A map from the numbers in a user's data to those that networks train on.

    Both fields hold one number, or one for each dimension of a vector.
    """

    offset: tuple[float, ...]
    scale: tuple[float, ...]

    def apply(self, values: Any) -> Any:
        """Returns (values - offset) / scale, float32; traced arrays stay traced."""
        offset, scale = self._along(values)
        return ((values - offset) / scale).astype(np.float32)

    def undo(self, scaled: Any) -> Any:
        """Returns scaled * scale + offset, float32; traced arrays stay traced."""
        offset, scale = self._along(scaled)
        return (scaled * scale + offset).astype(np.float32)

    def _along(self, values: Any) -> tuple[np.ndarray, np.ndarray]:
        """Returns offset and scale along the last axis of values, float32 [1, ..., 1 or D]."""
        shape = (1,) * (values.ndim - 1) + (-1,)
        offset, scale = np.asarray(self.offset, np.float32), np.asarray(self.scale, np.float32)
        return offset.reshape(shape), scale.reshape(shape)


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, under the name that configs, metrics and captions show.

    Attributes:
      name: a TFDS name, or the name of the user's folder or file, without its place.
      train: the examples to train on, scaled.
      test: the examples to test on, scaled.
      class_names: the names of the classes; empty without labels.
      fingerprint: the SHA-256 of the class names and arrays, so equal content has an equal
        fingerprint on any machine, however the dataset was obtained. A dataset streamed from TFDS
        has another one, computed from the names and sizes of its files.
      scaling: how the numbers in the user's data were scaled; None if they were not.
      own: whether the data is the user's own, read from a path.
      validation: training images that were held out by `hold_out_validation`, which are then not
        in `train`; None if there are none. The fingerprint is that of the whole dataset.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    scaling: Scaling | None = None
    own: bool = False
    validation: Split | None = None

    @property
    def validation_images(self) -> int:
        """The number of images that are held out for validation."""
        return 0 if self.validation is None else len(self.validation.images)

    @property
    def bundled(self) -> bool:
        """Whether this is a subset that comes with the package."""
        return self.name.endswith(MINI_SUFFIX) and not self.own


def sides_of(shape: Sequence[int]) -> str:
    """Returns a shape as text, such as 28x28x1."""
    return "x".join(map(str, shape))


def assemble(
    name: str,
    train: Split,
    test: Split,
    class_names: tuple[str, ...],
    *,
    scaling: Scaling | None = None,
    own: bool = False,
) -> Dataset:
    """Returns a dataset of these splits with its fingerprint; marks the arrays read-only."""
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in (train, test):
        for array in (split.images, split.labels):
            if array is None:
                continue
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            for part in stored.parts(array):
                digest.update(np.ascontiguousarray(array[part]).data)
            array.flags.writeable = False
    if scaling is not None:
        digest.update(repr(scaling).encode())
    return Dataset(name, train, test, class_names, digest.hexdigest(), scaling, own)
