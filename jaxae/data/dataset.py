"""Datasets: two splits of images and labels, with class names and a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

MINI_SUFFIX = "_mini"  # ends the name of a bundled subset


@dataclass(frozen=True)
class Split:
    """Images and their labels in a fixed order, as read-only arrays.

    images: uint8 [N, H, W, C]; labels: int32 [N], indices into the dataset's class names.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A training and a test split, under the name that configs, metrics and captions show.

    `fingerprint` is the SHA-256 of the class names and arrays, so equal content has an equal
    fingerprint on any machine, however the dataset was obtained. A streamed dataset has another
    fingerprint, computed from the names and sizes of its files.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def bundled(self) -> bool:
        """Whether this is a subset that comes with the package."""
        return self.name.endswith(MINI_SUFFIX)


def assemble(name: str, train: Split, test: Split, class_names: tuple[str, ...]) -> Dataset:
    """Returns a dataset of these splits with its fingerprint; marks the arrays read-only."""
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in (train, test):
        for array in (split.images, split.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
            array.flags.writeable = False
    return Dataset(name, train, test, class_names, digest.hexdigest())
