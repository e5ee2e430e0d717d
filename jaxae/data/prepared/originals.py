"""The datasets that are prepared from their original archives, without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from jaxae.data.prepared import formats, verified
from jaxae.data.prepared.verified import TEST_IMAGES, TEST_LABELS, TRAIN_IMAGES, TRAIN_LABELS
from jaxae.errors import UserError

_MOST_TEXT = 2**16  # bytes of a file of class names
_SIDE = 28  # pixels on a side of the images of MNIST and of sets like it

Features = Mapping[str, Sequence[Any] | np.ndarray]
"""The values of each feature of a split, by TFDS's name; "image" is uint8 [N, H, W(, C)]."""


@dataclass(frozen=True)
class Contents:
    """What the archives of a dataset hold, for each split, under TFDS's names.

    `class_names` are those of the features whose class names only the archives have.
    """

    splits: Mapping[str, Features]
    class_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class Original:
    """The archives of a dataset, and how they are read.

    Attributes:
      files: the names of the archives.
      read: returns what the archives hold, from their paths by name. Raises `UserError` if one is
        damaged or holds something else.
      recompressed: distributors compress the archives again, so `read` verifies their content; all
        other archives must have the checksum that TFDS registers.
    """

    files: tuple[str, ...]
    read: Callable[[Mapping[str, Path]], Contents]
    recompressed: bool = False


def _verified(name: str) -> Original:
    """Returns MNIST or Fashion-MNIST."""

    def read(paths: Mapping[str, Path]) -> Contents:
        return _join(verified.read(name, paths))

    return Original(tuple(verified.ARRAYS[name]), read, recompressed=True)


def kmnist(train: int, test: int) -> Original:
    """Returns Kuzushiji-MNIST, with this many images: four gzipped IDX files, as MNIST has."""
    shapes = {
        TRAIN_IMAGES: (train, _SIDE, _SIDE),
        TRAIN_LABELS: (train,),
        TEST_IMAGES: (test, _SIDE, _SIDE),
        TEST_LABELS: (test,),
    }

    def read(paths: Mapping[str, Path]) -> Contents:
        return _join({file: formats.read_idx(paths[file], shapes[file]) for file in shapes})

    return Original(tuple(shapes), read)


def _join(arrays: Mapping[str, np.ndarray]) -> Contents:
    """Joins the arrays in MNIST's four files."""
    return Contents(
        {
            "train": {"image": arrays[TRAIN_IMAGES], "label": arrays[TRAIN_LABELS]},
            "test": {"image": arrays[TEST_IMAGES], "label": arrays[TEST_LABELS]},
        }
    )


def emnist(config: str, train: int, test: int) -> Original:
    """Returns a configuration of EMNIST, with this many images: IDX files in one zip file.

    Its images are transposed, and TFDS stores them so. A file may hold more images than TFDS takes.
    """
    archive = "gzip.zip"

    def read_split(path: Path, split: str, count: int) -> Features:
        start = f"gzip/emnist-{config}-{split}"
        shape = (count, _SIDE, _SIDE)
        return {
            "image": formats.read_zipped_idx(path, f"{start}-images-idx3-ubyte.gz", shape),
            "label": formats.read_zipped_idx(path, f"{start}-labels-idx1-ubyte.gz", shape[:1]),
        }

    def read(paths: Mapping[str, Path]) -> Contents:
        counts = {"train": train, "test": test}
        return Contents(
            {split: read_split(paths[archive], split, count) for split, count in counts.items()}
        )

    return Original((archive,), read)


def cifar10(count: int) -> Original:
    """Returns CIFAR-10, with this many images in each of its six files."""
    batches = {f"data_batch_{number}.bin": ("train", count) for number in range(1, 6)}
    return _cifar(
        "cifar-10-binary.tar.gz",
        "cifar-10-batches-bin",
        {**batches, "test_batch.bin": ("test", count)},
        {"label": ("batches.meta.txt", 10)},
    )


def cifar100(train: int, test: int) -> Original:
    """Returns CIFAR-100, with this many images."""
    return _cifar(
        "cifar-100-binary.tar.gz",
        "cifar-100-binary",
        {"train.bin": ("train", train), "test.bin": ("test", test)},
        {
            "coarse_label": ("coarse_label_names.txt", 20),
            "label": ("fine_label_names.txt", 100),
        },
    )


def _cifar(
    archive: str,
    folder: str,
    batches: Mapping[str, tuple[str, int]],
    labels: Mapping[str, tuple[str, int]],
) -> Original:
    """Returns CIFAR-10 or CIFAR-100: binary records in a gzipped tar file.

    `batches` are the files of records in `folder`, with their split and number of records; `labels`
    are the labels of a record in order, with the file of their class names and its length.
    """
    sizes = {file: count * formats.record_size(len(labels)) for file, (_, count) in batches.items()}
    texts = {file: _MOST_TEXT for file, _ in labels.values()}

    def read(paths: Mapping[str, Path]) -> Contents:
        members = {f"{folder}/{file}": size for file, size in (sizes | texts).items()}
        found = formats.read_tar(paths[archive], members)
        where = f"in {paths[archive]}"
        parts: dict[str, list[dict[str, np.ndarray]]] = {"train": [], "test": []}
        for file, (split, count) in batches.items():
            numbers, images = formats.read_records(
                found[f"{folder}/{file}"], f"{file} {where}", count, len(labels)
            )
            parts[split].append({**dict(zip(labels, numbers.T, strict=True)), "image": images})
        names = {
            label: formats.read_lines(found[f"{folder}/{file}"], f"{file} {where}", count)
            for label, (file, count) in labels.items()
        }
        return Contents({split: _number(split, 5, batch) for split, batch in parts.items()}, names)

    return Original((archive,), read)


def _number(split: str, digits: int, parts: Sequence[Mapping[str, np.ndarray]]) -> Features:
    """Joins the parts of a split, and adds the feature "id" as TFDS numbers it."""
    features = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    ids = [f"{split}_{index:0{digits}}" for index in range(len(features["image"]))]
    return {**features, "id": ids}


def svhn_cropped(train: int, test: int) -> Original:
    """Returns the cropped digits of SVHN, with this many images: MATLAB files.

    Unlike TFDS it leaves out the split "extra", which has more than half a million images.
    """
    counts = {"train": train, "test": test}

    def read_split(path: Path, split: str, count: int) -> Features:
        arrays = formats.read_mat(path, {"X": (32, 32, 3, count), "y": (count, 1)})
        digits = arrays["y"][:, 0]
        if digits.min() < 1 or digits.max() > 10:
            raise UserError(
                f"{path} has labels from {digits.min()} to {digits.max()}, but 1 to 10 are "
                "expected: fetch the file again"
            )
        images = np.moveaxis(arrays["X"], -1, 0)
        return _number(split, 6, [{"image": images, "label": digits % 10}])  # 10 is the digit 0

    def read(paths: Mapping[str, Path]) -> Contents:
        return Contents(
            {
                split: read_split(paths[f"{split}_32x32.mat"], split, count)
                for split, count in counts.items()
            }
        )

    return Original(tuple(f"{split}_32x32.mat" for split in counts), read)


def binarized_mnist(train: int, validation: int, test: int) -> Original:
    """Returns MNIST as Larochelle binarized it, with this many images: text, without labels.

    As in TFDS, pixels are 0 and 1.
    """
    files = {
        "train": ("binarized_mnist_train.amat", train),
        "validation": ("binarized_mnist_valid.amat", validation),
        "test": ("binarized_mnist_test.amat", test),
    }

    def read(paths: Mapping[str, Path]) -> Contents:
        pixels = {
            split: formats.read_amat(paths[file], count, _SIDE * _SIDE)
            for split, (file, count) in files.items()
        }
        return Contents(
            {split: {"image": rows.reshape(-1, _SIDE, _SIDE)} for split, rows in pixels.items()}
        )

    return Original(tuple(file for file, _ in files.values()), read)


ORIGINALS: Mapping[str, Original] = {
    "mnist": _verified("mnist"),
    "fashion_mnist": _verified("fashion_mnist"),
    "kmnist": kmnist(60_000, 10_000),
    "emnist/balanced": emnist("balanced", 112_800, 18_800),
    "emnist/byclass": emnist("byclass", 697_932, 116_323),
    "emnist/bymerge": emnist("bymerge", 697_932, 116_323),
    "emnist/digits": emnist("digits", 240_000, 40_000),
    "emnist/letters": emnist("letters", 88_800, 14_800),
    "emnist/mnist": emnist("mnist", 60_000, 10_000),
    "cifar10": cifar10(10_000),
    "cifar100": cifar100(50_000, 10_000),
    "svhn_cropped": svhn_cropped(73_257, 26_032),
    "binarized_mnist": binarized_mnist(50_000, 10_000, 10_000),
}
"""The datasets by their TFDS names."""
