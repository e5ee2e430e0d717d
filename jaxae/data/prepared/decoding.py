"""Decodes prepared sets to arrays, or opens them as streams."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from jaxae.data.dataset import Dataset, Split, assemble
from jaxae.data.prepared import shards, verified
from jaxae.data.prepared.sets import Prepared, fingerprint, read, split_version
from jaxae.data.splits import hold_out
from jaxae.data.streaming import streamed
from jaxae.errors import UserError
from jaxae.files import shorten

_RECORDS_AT_ONCE = 1000

_TRANSPOSED = "emnist"  # TFDS stores this set as its authors do, with rows and columns exchanged


def decode(folder: Path, name: str, label: str | None = None) -> Dataset:
    """Returns the prepared set in `folder` as arrays, with the labels of the feature `label`.

    MNIST and Fashion-MNIST are verified to be the originals and come in the order of the original
    files; other sets come in TFDS's order. Without a test split a tenth of the training split is
    held out; all other splits are left out. Images are upright, and pixels of 0 and 1 become 0 and
    255. Raises `UserError` if the set is damaged, is stored in a format without random access, has
    no training split, not exactly one image in each example, or images of several sizes, and if the
    label is ambiguous.
    """
    train, test = _open(read(folder), name, label)
    train, decoded = _decode_test(train, test)
    splits = {"train": _decode(train), "test": decoded}
    base, _ = split_version(name)
    if base in verified.ARRAYS:
        for split in splits:
            splits[split] = verified.in_original_order(splits[split], split, folder, base)
    return assemble(name, splits["train"], splits["test"], _class_names(train))


def open_stream(folder: Path, name: str, workers: int, label: str | None = None) -> Dataset:
    """Returns the prepared set in `folder` with a training split that stays on disk.

    Order and errors are those of `decode`, except that the training split is not verified to be the
    original, because that would read all of it. The fingerprint covers the files' names and sizes,
    and the name of the label that was asked for.
    """
    prepared = read(folder)
    train, test = _open(prepared, name, label)
    train, decoded = _decode_test(train, test)
    base, _ = split_version(name)
    positions = None
    if base in verified.ARRAYS:
        positions = verified.stored_positions(len(train), "train")
        decoded = verified.in_original_order(decoded, "test", folder, base)
    identity = fingerprint(prepared.files(), times=False)
    if label is not None:
        identity = hashlib.sha256(f"{identity} {label}".encode()).hexdigest()
    return Dataset(
        name, streamed(train, positions, workers), decoded, _class_names(train), identity
    )


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


def _decode_test(train: shards.Shards, test: shards.Shards) -> tuple[shards.Shards, Split]:
    """Decodes the test images, which also tell how the training images' pixels are stored."""
    split = _decode(test)
    if split.images.max() != 1:
        return train, split
    return replace(train, binary=True), Split(split.images * np.uint8(255), split.labels)


def _class_names(split: shards.Shards) -> tuple[str, ...]:
    return () if split.label is None else split.label.class_names or ()


def _decode(split: shards.Shards) -> Split:
    """Decodes all images and labels of a split."""
    try:
        images = np.empty((len(split), *split.shape), np.uint8)
    except (MemoryError, ValueError):
        raise UserError(
            f"{len(split)} images of shape {split.shape} do not fit in memory: read them from disk "
            "with --stream"
        ) from None
    labels = np.empty(len(split), np.int32)
    with shards.no_bombs():
        for start in range(0, len(split), _RECORDS_AT_ONCE):
            part = slice(start, start + _RECORDS_AT_ONCE)
            images[part], labels[part] = split.read(range(len(split))[part])
    return Split(images, labels if split.labeled else None)
