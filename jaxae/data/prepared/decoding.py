"""Decodes prepared sets to arrays, in memory or in files, or opens them as streams."""

from __future__ import annotations

import errno
import hashlib
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxae.data import stored
from jaxae.data.dataset import Dataset, Split, assemble
from jaxae.data.prepared import shards, verified
from jaxae.data.prepared.sets import Prepared, fingerprint, read, split_version
from jaxae.data.readers import MANY, count_decoders, open_bar
from jaxae.data.splits import hold_out
from jaxae.data.streaming import StreamedSplit, streamed
from jaxae.data.workers import open_reader
from jaxae.errors import UserError
from jaxae.files import shorten

_FEW = 20_000  # images that processes take longer to start than to decode
_LEFT_FREE = 2**28  # bytes on the disk of a cache, and at least a tenth of what it takes

_TRANSPOSED = "emnist"  # TFDS stores this set as its authors do, with rows and columns exchanged


def decode(
    folder: Path, name: str, label: str | None = None, *, into: Path | None = None, workers: int = 0
) -> Dataset:
    """Returns the prepared set in `folder` as arrays, with the labels of the feature `label`.

    MNIST and Fashion-MNIST are verified to be the originals and come in the order of the original
    files; other sets come in TFDS's order. Without a test split a tenth of the training split is
    held out; all other splits are left out. Images are upright, and pixels of 0 and 1 become 0 and
    255. The arrays are in memory, or mapped to .npy files in the folder `into`.

    Raises `UserError` if the set is damaged, is stored in a format without random access, has no
    training split, not exactly one image in each example, or images of several sizes, and if the
    label is ambiguous; and `OSError` if there is no room for files.
    """
    train, test = _open(read(folder), name, label)
    total = len(train) + len(test)
    if into is not None:
        _check_room(into, math.prod(train.shape) * total)
    if total >= MANY and not sys.stderr.isatty():
        print(f"jaxae: decoding {total:,} images of {name} ...", file=sys.stderr)
    train, decoded = _decode_test(train, test, name, folder, into)
    if not workers and len(train) >= _FEW:
        workers = count_decoders()
    split = _decode(_in_order(train, "train", name, workers), "train", into)
    _verify(split, "train", name, folder)
    return assemble(name, split, decoded, _class_names(train))


def open_stream(folder: Path, name: str, workers: int, label: str | None = None) -> Dataset:
    """Returns the prepared set in `folder` with a training split that is decoded when it is read.

    Order and errors are those of `decode`, except that the training split is not verified to be the
    original, because that would read all of it.
    """
    train, test = _open(read(folder), name, label)
    train, decoded = _decode_test(train, test, name, folder, None)
    split = _in_order(train, "train", name, workers)
    identity = stream_fingerprint(folder, label)
    return Dataset(name, streamed(split), decoded, _class_names(train), identity)


def stream_fingerprint(folder: Path, label: str | None) -> str:
    """Returns a digest of the files' names and sizes, and of the label that was asked for."""
    identity = fingerprint(read(folder).files(), times=False)
    return identity if label is None else hashlib.sha256(f"{identity} {label}".encode()).hexdigest()


def _open(prepared: Prepared, name: str, wanted: str | None) -> tuple[shards.Shards, shards.Shards]:
    """Opens the training and the test images of a set.

    Raises `UserError` if it has no training split, not one image, or no label of this name.
    """
    if "train" not in prepared.shards:
        raise UserError(
            f"{name} in {prepared.folder} has no split train, only "
            f"{shorten(sorted(prepared.shards))}: give another dataset"
        )
    image, shape = prepared.features.image()
    label = prepared.features.label(wanted)
    train = shards.open_split(prepared, "train", image, shape, label)
    if "test" in prepared.shards:
        test = shards.open_split(prepared, "test", image, train.shape, label)
        whole = (train, test)
    else:
        test = train
        whole = (train,)
    if label is not None and label.class_names is None:
        label = label.number(set().union(*(split.stored_labels() for split in whole)))
    transposed = split_version(name)[0].split("/")[0] == _TRANSPOSED
    train, test = (replace(split, label=label, transposed=transposed) for split in (train, test))
    if len(whole) == 2:
        return train, test
    held = hold_out([str(number) for number in range(len(train))])
    if len(held) < 2:
        raise UserError(
            f"{name} in {prepared.folder} has no split test, and the split train has only one "
            "example, so that none can be held out for testing: give another dataset"
        )
    return replace(train, chosen=np.flatnonzero(~held)), replace(test, chosen=np.flatnonzero(held))


def _decode_test(
    train: shards.Shards, test: shards.Shards, name: str, folder: Path, into: Path | None
) -> tuple[shards.Shards, Split]:
    """Decodes the test images, which also tell how the training images' pixels are stored."""
    split = _decode(_in_order(test, "test", name, 0), "test", into)
    if split.images.max() == 1:
        train = replace(train, binary=True)
        for part in stored.parts(split.images):
            split.images[part] *= np.uint8(255)
    _verify(split, "test", name, folder)
    return train, split


def _class_names(split: shards.Shards) -> tuple[str, ...]:
    return () if split.label is None else split.label.class_names or ()


def _in_order(split: shards.Shards, split_name: str, name: str, workers: int) -> StreamedSplit:
    """Returns a split in the order of `decode`, which so many processes decode."""
    positions = None
    if split_version(name)[0] in verified.ARRAYS:
        positions = verified.stored_positions(len(split), split_name)
    return StreamedSplit(split, positions, workers)


def _verify(split: Split, split_name: str, name: str, folder: Path) -> None:
    """Raises `UserError` unless images and labels are the originals, of sets that are verified."""
    base, _ = split_version(name)
    if base in verified.ARRAYS:
        verified.check(split, split_name, folder, base)


def _decode(split: StreamedSplit, split_name: str, into: Path | None) -> Split:
    """Decodes all images and labels of a split, into files or into memory."""
    images = _new_array(split, into and into / f"{split_name}_images.npy")
    labels = np.empty(len(split), np.int32)
    bar = open_bar(len(split), "decoding", "images")
    with shards.no_bombs(), bar as done, open_reader(split) as read:
        for part in stored.parts(images):
            indices = np.arange(part.start, part.stop)
            images[part], labels[part] = read(indices, len(indices))
            done.update(len(indices))
    if not split.source.labeled:
        return Split(images, None)
    if into is not None:
        np.save(into / f"{split_name}_labels.npy", labels)
    return Split(images, labels)


def _new_array(split: StreamedSplit, path: Path | None) -> np.ndarray:
    """Returns a new array for the images of a split, mapped to a file or in memory."""
    shape = (len(split), *split.shape)
    if path is not None:
        return stored.create(path, shape, split.dtype)
    try:
        return np.empty(shape, split.dtype)
    except (MemoryError, ValueError):
        raise UserError(
            f"{len(split)} images of shape {split.shape} do not fit in memory: read them from disk "
            "with --stream"
        ) from None


def _check_room(folder: Path, size: int) -> None:
    """Raises `OSError` unless arrays of `size` bytes leave room on the disk of a folder."""
    needed, free = size + max(size // 10, _LEFT_FREE), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            errno.ENOSPC, f"it needs {needed / 1e9:,.1f} GB, and {free / 1e9:,.1f} GB are free"
        )
