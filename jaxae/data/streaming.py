"""Training images that stay on disk, and are read and decoded on demand.

grain reads ahead in threads or in processes of its own, so a dataset may have any size.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from jaxae.data.dataset import Dataset, Split
from jaxae.errors import UserError

_LABELS = np.dtype(np.int32)


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
        """Whether the examples have labels; without them `read` returns zeros."""
        ...

    def __len__(self) -> int: ...

    def read(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns examples [N, *shape] and labels int32 [N]; raises `UserError` if it cannot."""
        ...


@dataclass(frozen=True)
class StoredArrays:
    """A source of examples in .npy files, which each read opens, so that processes can share it.

    state: of the file of images, which changes if another process caches other data in its place.
    """

    images: Path
    labels: Path | None
    shape: tuple[int, ...]
    dtype: np.dtype
    count: int
    state: tuple[int, ...]

    @property
    def labeled(self) -> bool:
        """Whether there is a file of labels."""
        return self.labels is not None

    def __len__(self) -> int:
        return self.count

    def read(self, numbers: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Returns the examples and labels with these numbers, as a `Source` does."""
        try:
            images = np.load(self.images, mmap_mode="r")[numbers]
            if self.labels is None:
                labels = np.zeros(len(numbers), _LABELS)
            else:
                labels = np.load(self.labels, mmap_mode="r")[numbers]
            if _state(self.images) != self.state:  # last, so that both arrays were the old ones
                raise ValueError("another process has replaced it")
            return images, labels
        except (OSError, ValueError, IndexError) as error:
            raise UserError(
                f"{self.images} cannot be read now ({error}), and it is a cache of your data that "
                "no process should change while it trains: continue with --resume"
            ) from None


@dataclass(frozen=True)
class StreamedSplit:
    """The examples of a split on disk, in the order that a `Split` has in memory."""

    source: Source
    positions: np.ndarray | None = None  # [N], the stored position of each index; None: the index
    workers: int = 0  # number of processes that read; 0 uses threads instead

    def __len__(self) -> int:
        return len(self.source)

    @property
    def shape(self) -> tuple[int, ...]:
        """[H, W, C] of an image, or [D] of a vector."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        """uint8 or float32."""
        return self.source.dtype

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns examples [N, *shape] and labels int32 [N] at indices [N].

        An index ~i, as padding has, reads what i does.
        """
        places = np.maximum(indices, ~indices)
        stored = places if self.positions is None else self.positions[places]
        return self.source.read(stored.tolist())


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


def streamed(source: Source, positions: np.ndarray | None, workers: int) -> Split:
    """Returns a split whose arrays stay on disk."""
    on_disk = StreamedSplit(source, positions, workers)
    columns: Any = (Column(on_disk, 0), Column(on_disk, 1) if source.labeled else None)
    return Split(*columns)


def stream_arrays(dataset: Dataset, workers: int) -> Dataset:
    """Returns a dataset whose training split stays in its files; unchanged if it is in memory."""
    images, labels = dataset.train.images, dataset.train.labels
    files = [getattr(array, "filename", None) for array in (images, labels)]
    if files[0] is None:
        return dataset
    place, shape = Path(files[0]), images.shape[1:]
    source = StoredArrays(place, files[1], shape, images.dtype, len(images), _state(place))
    return replace(dataset, train=streamed(source, None, workers))


def _state(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_batches(
    split: StreamedSplit, order: np.ndarray
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Yields each step's examples [..., B, *shape] and labels [..., B], of orders [..., steps, B].

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
                np.frombuffer(part, kind)
                for part, kind in zip(batch, (split.dtype, _LABELS), strict=True)
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
