"""The examples that a run is evaluated on, and how many of them are held in memory at a time."""

import math
import mmap
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from jaxae import data, runs
from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.network import Trained

AT_ONCE = 1000  # examples that are computed with at a time
_NUMBERS_AT_ONCE = 2**22  # at most, in these examples
MOST_NUMBERS = 2**26  # in the codes, pixels or features that a figure is computed from


@dataclass(frozen=True)
class Range:
    """The numbers from which images are mapped to [0, 1], the range of drawings and features."""

    low: float = 0.0
    high: float = 1.0

    def to_unit(self, images: Any) -> Any:
        """Returns floats with `low` as 0 and `high` as 1; uint8 images as they are."""
        if images.dtype == np.uint8 or (self.low, self.high) == (0, 1):
            return images
        return ((images - self.low) / (self.high - self.low)).astype(np.float32)


@dataclass(frozen=True)
class Images:
    """A dataset, and its images or vectors as the run's networks read them.

    They are never corrupted: runs of denoise.py, which test on noisy images, are evaluated on
    clean ones.
    """

    dataset: data.Dataset
    train: Split  # images [N, H, W, C] or vectors [N, D], the dataset's, or binarized once
    test: Split  # [M, ...], likewise
    binarization: runs.Binarization

    @property
    def are_vectors(self) -> bool:
        """Whether the examples are vectors [N, D], which have no picture."""
        return len(self.test.images.shape) == 2

    @cached_property
    def range(self) -> Range:
        """The range of the training images: [0, 1] unless they are floats that leave it."""
        return range_of(self.train.images)

    @cached_property
    def why_no_classes(self) -> str | None:
        """The reason why classes cannot be predicted from the examples; None if they can."""
        if self.train.labels is None or self.test.labels is None:
            return "the data has no labels"
        train, test = labeled(self.train), labeled(self.test)
        if train is None or test is None:
            return f"no {'training' if train is None else 'test'} example has a label"
        if len(np.unique(train[1])) < 2:
            return "all training examples with a label are of one class"
        return None

    def choose(self, size: int, count: int) -> np.ndarray:
        """Returns the indices of `count` of `size` examples, or of all if that is fewer.

        They are the first ones of a TFDS set. Those of a user's own data are evenly spaced, because
        it may be in the order of its classes.
        """
        return evenly(size, count) if self.dataset.own else np.arange(min(count, size))

    def some(self, split: Split, count: int) -> Split:
        """Returns the chosen `count` examples of a split, or all if it has fewer."""
        size = len(split.images)
        return split if count >= size else take(split, self.choose(size, count))

    def drawn(self, split: Split, count: int, seed: int) -> Split:
        """Returns `count` examples of a split drawn at random, in order; all if it has fewer."""
        size = len(split.images)
        if count >= size:
            return split
        return take(split, np.sort(np.random.default_rng(seed).permutation(size)[:count]))


def with_labels_only(images: Images) -> Images:
    """Returns the examples whose labels are known, which are all that a conditional network reads.

    Raises `UserError` if there are none.
    """
    train, test = labeled(images.train), labeled(images.test)
    if train is None or test is None:
        raise UserError(
            f"{images.why_no_classes}, and the network is conditional: give data with labels"
        )
    return replace(images, train=Split(*train), test=Split(*test))


def make_images(dataset: data.Dataset, how: runs.Binarization) -> Images:
    """Returns a dataset's own arrays, or its images binarized once if the run binarized them."""
    train, test = (_with_labels(split) for split in (dataset.train, dataset.test))
    dataset = replace(dataset, train=train, test=test)
    if how == "none":
        return Images(dataset, train, test, how)
    return Images(
        dataset,
        replace(train, images=runs.binarized_train(dataset).images),
        replace(test, images=runs.binarized_test(dataset).images),
        how,
    )


def _with_labels(split: Split) -> Split:
    """Returns a split whose labels are in memory, even if its images are on disk."""
    if split.labels is None or isinstance(split.labels, np.ndarray):
        return split
    parts = [np.asarray(split.labels[part]) for part in slices(len(split.labels), 1)]
    return Split(split.images, np.concatenate(parts))


def take(split: Split, where: slice | np.ndarray) -> Split:
    """Returns the examples of a split at indices."""
    labels = None if split.labels is None else split.labels[where]
    taken = Split(split.images[where], labels)
    _release(split.images)
    return taken


def _release(array: Any) -> None:
    """Drops the pages of a read-only array on disk from memory; they are read again when needed.

    Otherwise a process that goes through a large split ends with all of it in its memory.
    """
    while isinstance(array, np.ndarray) and not array.flags.writeable:
        if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            array.base.madvise(mmap.MADV_DONTNEED)
            return
        array = array.base


def evenly(size: int, count: int) -> np.ndarray:
    """Returns `count` evenly spaced indices of `size` examples, or all if that is fewer."""
    return np.linspace(0, size - 1, min(count, size)).round().astype(int)


def spread(split: Split, count: int) -> Split:
    """Returns `count` evenly spaced examples of a split, or all if it has fewer."""
    size = len(split.images)
    return split if count >= size else take(split, evenly(size, count))


def labeled(split: Split) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the examples whose label is known, 0 or more, and their labels; None if none is."""
    if split.labels is None:
        return None
    known = np.flatnonzero(split.labels >= 0)
    if len(known) == len(split.labels):
        return split.images, split.labels
    return (split.images[known], split.labels[known]) if len(known) else None


def slices(count: int, numbers: int) -> Iterator[slice]:
    """Yields slices of `count` examples, each few enough for memory if one has `numbers`."""
    size = max(1, min(AT_ONCE, _NUMBERS_AT_ONCE // numbers))
    return (slice(start, start + size) for start in range(0, count, size))


def parts(split: Split, numbers: int | None = None) -> Iterator[Split]:
    """Yields the examples of a split in order, a few at a time.

    What is computed from an example has so many numbers; by default as many as the example.
    """
    numbers = math.prod(split.images.shape[1:]) if numbers is None else numbers
    for part in slices(len(split.images), numbers):
        yield take(split, part)
        _release(split.images)


def map_parts(function: Callable[[Split], np.ndarray], split: Split) -> np.ndarray:
    """Applies a function to a split, a few examples at a time, and joins the results."""
    return np.concatenate([function(part) for part in parts(split)])


def scaled(trained: Trained) -> Trained:
    """Returns a network that reads and gives the numbers of a dataset, which are scaled already."""
    return replace(trained, scaling=None)


def encode(trained: Trained, split: Split) -> np.ndarray:
    """Returns the codes of a split's examples."""
    return map_parts(lambda part: trained.encode(part.images, part.labels), split)


def reconstruct(trained: Trained, part: Split) -> np.ndarray:
    """Returns the reconstructions of a few examples."""
    return trained.reconstruct(part.images, part.labels)


def decode(trained: Trained, part: Split) -> np.ndarray:
    """Decodes a few codes, which are the split's images."""
    return trained.decode(part.images, part.labels)


def range_of(images: Any) -> Range:
    """Returns the smallest and the largest number of images, if they are floats beyond [0, 1]."""
    if images.dtype == np.uint8:
        return Range()
    few = Split(images, None)
    low = min(float(part.images.min()) for part in parts(few))
    high = max(float(part.images.max()) for part in parts(few))
    if low >= 0 and high <= 1:
        return Range()
    return Range(low, high if high > low else low + 1)


def as_floats(images: np.ndarray) -> np.ndarray:
    """Returns images as floats: uint8 divided by 255, floats as they are."""
    return images.astype(np.float32) / 255 if images.dtype == np.uint8 else images
