"""MNIST and Fashion-MNIST, whose content is verified against the checksums of the originals."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxae.data.dataset import Split
from jaxae.data.prepared import formats
from jaxae.errors import UserError

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"


@dataclass(frozen=True)
class Array:
    """The shape of the uint8 array in an archive, and the SHA-256 of the decompressed bytes.

    The compressed bytes differ between distributors: Debian recompresses the archives.
    """

    shape: tuple[int, ...]
    sha256: str

    def holds(self, array: np.ndarray) -> bool:
        """Returns whether a uint8 array has exactly these numbers in this order."""
        return array.size == math.prod(self.shape) and _digest(array, self.shape) == self.sha256


ARRAYS: Mapping[str, Mapping[str, Array]] = {
    "mnist": {
        TRAIN_IMAGES: Array(
            (60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        TRAIN_LABELS: Array(
            (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        TEST_IMAGES: Array(
            (10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        TEST_LABELS: Array(
            (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "fashion_mnist": {
        TRAIN_IMAGES: Array(
            (60_000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        TRAIN_LABELS: Array(
            (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        TEST_IMAGES: Array(
            (10_000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        TEST_LABELS: Array(
            (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
}
"""The arrays of each set, by the names of their archives."""


def read(name: str, paths: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Returns the uint8 array in each archive of a set, keyed by file name like `paths`.

    Raises `UserError` if the content of a file is not the original's.
    """
    return {
        file: _read_verified(paths[file], name, file, array) for file, array in ARRAYS[name].items()
    }


def _read_verified(path: Path, name: str, file: str, expected: Array) -> np.ndarray:
    """Returns the array in the archive at `path`, which must be `file` of the dataset `name`."""
    array = formats.read_idx(path, expected.shape)
    digest = _digest(array, expected.shape)
    if digest != expected.sha256:
        other = next((n for n in ARRAYS if ARRAYS[n][file].sha256 == digest), None)
        found = f"it is that of {other}" if other else f"its content has SHA-256 {digest}"
        raise UserError(
            f"{path} has the wrong checksum: it is not {file} of {name} ({found}, expected "
            f"{expected.sha256}); fetch the file again"
        )
    return array


def _digest(array: np.ndarray, shape: tuple[int, ...]) -> str:
    """Returns the SHA-256 of the IDX file that holds a uint8 array in this shape."""
    digest = hashlib.sha256(formats.idx_header(shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def stored_positions(count: int, split: str) -> np.ndarray:
    """Returns the position at which TFDS stores each example of a split, int [count].

    TFDS sorts examples by the MD5 of the split's name and their index.
    """
    original_index = sorted(
        range(count), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest()
    )
    return np.argsort(original_index)


def check(split: Split, split_name: str, folder: Path, name: str) -> None:
    """Raises `UserError` unless a split of one of these sets has the original images and labels."""
    of_images, of_labels = {
        "train": (TRAIN_IMAGES, TRAIN_LABELS),
        "test": (TEST_IMAGES, TEST_LABELS),
    }[split_name]
    if (
        split.labels is None
        or not ARRAYS[name][of_images].holds(split.images)
        or not ARRAYS[name][of_labels].holds(split.labels.astype(np.uint8))
    ):
        raise UserError(
            f"the {split_name} split prepared in {folder} is not the original: it was prepared "
            "from other or incomplete data; remove that folder and load the dataset again"
        )
