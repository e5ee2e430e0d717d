"""Training images that stay on disk, and are read and decoded where they are asked for.

grain reads ahead, in threads or in processes of its own, for sets of any size.
"""

import io
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxae.errors import UserError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's name for a number of channels


@dataclass(frozen=True)
class Records:
    """The labelled images of a prepared split, on disk."""

    source: Any  # TFDS's, of array_record with undecoded images
    shape: tuple[int, int, int]  # of an image
    positions: np.ndarray | None = None  # where an index is stored; None: at itself
    workers: int = 0  # processes that read; 0: threads

    def __len__(self) -> int:
        return len(self.source)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images uint8 [N, H, W, C] and labels int32 [N] at indices [N]; zeros at -1."""
        images = np.zeros((len(indices), *self.shape), np.uint8)
        labels = np.zeros(len(indices), np.int32)
        there = np.flatnonzero(indices >= 0)
        stored = indices[there] if self.positions is None else self.positions[indices[there]]
        for place, example in zip(there, self.source.__getitems__(stored.tolist()), strict=True):
            image = decode_image(example["image"], self.shape[-1])
            if image.shape[:2] != self.shape[:2]:
                raise UserError(
                    f"an image of {image.shape[:2]} pixels was found among those of "
                    f"{self.shape[:2]}: only sets of equally large images can be streamed"
                )
            images[place] = image.reshape(self.shape)
            labels[place] = example["label"]
        return images, labels


@dataclass(frozen=True)
class Column:
    """The images or the labels of records as an array that is read where it is indexed."""

    records: Records
    index: int  # 0: images; 1: labels

    @property
    def shape(self) -> tuple[int, ...]:
        """[N, H, W, C], or [N]."""
        return (len(self.records), *((), self.records.shape)[self.index == 0])

    @property
    def ndim(self) -> int:
        """Four, or one."""
        return len(self.shape)

    @property
    def dtype(self) -> np.dtype:
        """uint8, or int32."""
        return np.dtype((np.uint8, np.int32)[self.index])

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: Any) -> np.ndarray:
        indices = np.arange(len(self))[key]
        values = self.records.read(indices.reshape(-1))[self.index]
        return values.reshape((*indices.shape, *self.shape[1:]))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)


def decode_image(encoded: bytes, channels: int) -> np.ndarray:
    """An image file's pixels, uint8 [H, W] or [H, W, C]."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as file:
        return np.asarray(file.convert(MODES[channels]))


def read_batches(
    records: Records, order: np.ndarray
) -> Generator[tuple[np.ndarray, np.ndarray], None, None]:
    """Images [..., B, H, W, C] and labels [..., B] of each step of an order [..., steps, B]."""
    import grain
    from absl import flags

    steps = np.moveaxis(order, -2, 0)  # [steps, ..., B]
    batches = grain.MapDataset.source(Batches(records, steps)).to_iter_dataset()
    if records.workers:
        if not flags.FLAGS.is_parsed():  # grain's processes read absl's, which we do not use
            flags.FLAGS.mark_as_parsed()
        batches = batches.mp_prefetch(grain.MultiprocessingOptions(num_workers=records.workers))
    iterator = iter(batches)
    try:
        yield from iterator
    finally:
        iterator.close()


@dataclass(frozen=True)
class Batches:
    """The batches of an order, one a step, as grain asks for them."""

    records: Records
    order: np.ndarray  # [steps, ..., B]

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        indices = self.order[index]
        images, labels = self.records.read(indices.reshape(-1))
        return images.reshape(*indices.shape, *self.records.shape), labels.reshape(indices.shape)
