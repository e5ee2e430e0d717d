"""Training images that stay on disk, and are read and decoded on demand.

grain reads ahead in threads or in processes of its own, so a dataset may have any size.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxae.data.shards import Shards
from jaxae.errors import UserError

_KINDS = (np.dtype(np.uint8), np.dtype(np.int32))  # dtypes of images and labels


@dataclass(frozen=True)
class StreamedSplit:
    """The labeled images of a prepared split on disk, in the order that a `Split` has in memory."""

    shards: Shards
    positions: np.ndarray | None = None  # [N], the stored position of each index; None: the index
    workers: int = 0  # number of processes that read; 0 uses threads instead

    def __len__(self) -> int:
        return len(self.shards)

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, C] of an image."""
        return self.shards.shape

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns images uint8 [N, H, W, C] and labels int32 [N] at indices [N]; zeros at -1."""
        images = np.zeros((len(indices), *self.shape), np.uint8)
        labels = np.zeros(len(indices), np.int32)
        there = np.flatnonzero(indices >= 0)
        stored = indices[there] if self.positions is None else self.positions[indices[there]]
        images[there], labels[there] = self.shards.read(stored.tolist())
        return images, labels


@dataclass(frozen=True)
class Column:
    """The images or the labels of a streamed split, like an array that is read when indexed."""

    split: StreamedSplit
    index: int  # 0: images; 1: labels

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W, C], or [N]."""
        return (len(self.split), *((), self.split.shape)[self.index == 0])

    @property
    def ndim(self) -> int:
        """Four, or one."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """uint8, or int32."""
        return _KINDS[self.index]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, key: Any) -> np.ndarray:
        indices = np.arange(len(self))[key]
        values = self.split.read(indices.reshape(-1))[self.index]
        return values.reshape((*indices.shape, *self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def read_batches(
    split: StreamedSplit, order: np.ndarray
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yields images [..., B, H, W, C] and labels [..., B] of each step of an order [..., steps, B].

    Raises `UserError` if a record cannot be loaded.
    """
    import grain
    from absl import flags

    steps = np.moveaxis(order, -2, 0)  # [steps, ..., B]
    batches = grain.MapDataset.source(Batches(split, steps)).to_iter_dataset()
    if split.workers:
        if not flags.FLAGS.is_parsed():  # grain's processes read absl's flags; jaxae has none
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=split.workers))
    iterator = iter(batches)
    try:
        for indices, batch in zip(steps, iterator, strict=True):
            if isinstance(batch, UserError):
                raise batch
            images, labels = (
                np.frombuffer(part, kind) for part, kind in zip(batch, _KINDS, strict=True)
            )
            yield images.reshape(*indices.shape, *split.shape), labels.reshape(indices.shape)
    finally:
        iterator.close()


@dataclass(frozen=True)
class Batches:
    """The source that grain reads: one batch for each step of an order.

    A batch is the bytes of its images and of its labels. Arrays would go through shared memory,
    which grain may leave behind when a process ends. If a batch cannot be loaded, the `UserError`
    takes its place: grain would raise it with the traceback of the process that read.
    """

    split: StreamedSplit
    order: np.ndarray  # [steps, ..., B]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[bytes, bytes] | UserError:
        try:
            images, labels = self.split.read(self.order[index].reshape(-1))
        except UserError as error:
            return error
        return images.tobytes(), labels.tobytes()
