"""Training images that stay on disk, and are read on demand, so that a set may have any size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from jaxae.data import stored
from jaxae.data.dataset import Dataset, Split

_LABELS = np.dtype(np.int32)

Arrays = tuple[np.ndarray, np.ndarray]
"""Examples [N, *shape] and labels int32 [N]."""


class Source(Protocol):
    """Examples on disk that are read by their numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """[H, W, C] of an image, or [D] of a vector."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        ...

    @property
    def labeled(self) -> bool:
        """Whether the examples have labels; without them `read` leaves labels as they are."""
        ...

    def __len__(self) -> int: ...

    def prefetch(self, numbers: np.ndarray) -> None:
        """Prepares to read examples [N] soon, without waiting."""
        ...

    def read(self, numbers: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Reads examples [N] into images [N, *shape] and labels int32 [N].

        Raises `UserError` if it cannot.
        """
        ...


@dataclass(frozen=True)
class StreamedSplit:
    """Examples of a split on disk, in the order that a `Split` has in memory."""

    source: Source
    positions: np.ndarray | None = None  # [N], of each index in the source; None: the index
    workers: int = 0  # number of processes that decode

    def __len__(self) -> int:
        return len(self.source if self.positions is None else self.positions)

    @property
    def shape(self) -> tuple[int, ...]:
        """[H, W, C] of an image, or [D] of a vector."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        return self.source.dtype

    def prefetch(self, indices: np.ndarray) -> None:
        """Prepares to read the examples at indices [N] soon, without waiting."""
        self.source.prefetch(self._numbers(indices))

    def read(self, indices: np.ndarray, rows: int | None = None) -> Arrays:
        """Returns the examples at indices [N], followed by zeros if there are more `rows`.

        An index ~i, as padding has, reads what i does. Raises `UserError` if it cannot.
        """
        count = len(indices)
        images, labels = self.allocate(count if rows is None else rows)
        self.source.read(self._numbers(indices), images[:count], labels[:count])
        return images, labels

    def allocate(self, rows: int) -> Arrays:
        """Returns arrays of zeros for so many examples."""
        return np.zeros((rows, *self.shape), self.dtype), np.zeros(rows, _LABELS)

    def _numbers(self, indices: np.ndarray) -> np.ndarray:
        """Returns the numbers at which the source stores the examples at these indices."""
        places = np.maximum(indices, ~indices)
        return places if self.positions is None else self.positions[places]


@dataclass(frozen=True)
class Column:
    """The images or the labels of a streamed split, like an array that is read when indexed."""

    split: StreamedSplit
    index: int  # 0: images; 1: labels

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W, C] or [N, D], or [N] of labels."""
        return (len(self.split), *((), self.split.shape)[self.index == 0])

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32, or int32 of labels."""
        return (self.split.dtype, _LABELS)[self.index]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: Any) -> np.ndarray:
        indices = np.arange(len(self))[key]
        values = self.split.read(indices.reshape(-1))[self.index]
        return values.reshape((*indices.shape, *self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def take(split: StreamedSplit, indices: np.ndarray) -> StreamedSplit:
    """Returns the examples of a split at indices [N], which stay on disk."""
    positions = indices if split.positions is None else split.positions[indices]
    return replace(split, positions=positions)


def streamed(split: StreamedSplit) -> Split:
    """Returns a split whose arrays stay on disk."""
    columns: Any = (Column(split, 0), Column(split, 1) if split.source.labeled else None)
    return Split(*columns)


def stream_arrays(dataset: Dataset) -> Dataset:
    """Returns a dataset whose training images stay in their file; unchanged without a file."""
    images = dataset.train.images
    if not isinstance(images, np.memmap):
        return dataset
    on_disk = streamed(StreamedSplit(stored.of_mapped(images)))
    return replace(dataset, train=replace(on_disk, labels=dataset.train.labels))
