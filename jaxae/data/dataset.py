"""Datasets: two splits of images and labels, with class names and a fingerprint."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Split:
    """Images and their labels, in a fixed order; both arrays are read-only.

    images: uint8 [N, H, W, C]; labels: int32 [N], indices into the dataset's class names.
    """

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """A training and a test split under the name that configs, metrics and captions carry.

    `fingerprint` is the SHA-256 of class names and arrays: equal content, equal fingerprint, on
    any machine and however the set was obtained. The fingerprint of a streamed set differs: it is
    computed from the names and sizes of its files.
    """

    name: str
    train: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str

    @property
    def bundled(self) -> bool:
        """Whether this is the subset that the package carries."""
        return self.name.endswith(MINI_SUFFIX)


MINI_SUFFIX = "_mini"


def assemble(name: str, train: Split, test: Split, class_names: tuple[str, ...]) -> Dataset:
    """The dataset of these splits, fingerprinted, its arrays marked read-only."""
    digest = hashlib.sha256("\n".join(class_names).encode())
    for split in (train, test):
        for array in (split.images, split.labels):
            digest.update(f"{array.dtype.str}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
            array.flags.writeable = False
    return Dataset(name, train, test, class_names, digest.hexdigest())
