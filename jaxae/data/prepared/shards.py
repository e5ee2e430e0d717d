"""Reads and decodes the images and labels of a prepared split, by their numbers."""

from __future__ import annotations

import bisect
import contextlib
import io
import itertools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from jaxae.data.prepared.features import Label
from jaxae.data.prepared.sets import Prepared
from jaxae.errors import UserError, may_pass, unreadable

_MODES = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's mode for a number of channels
_RECORDS_AT_ONCE = 1000
_FORMATS = ("PNG", "JPEG", "BMP", "GIF")  # TensorFlow's; others can make Pillow start programs


@dataclass(frozen=True)
class Shards:
    """The records of a split, or some of them, in stored order.

    Attributes:
      source: an ArrayRecordDataSource.
      files: the files of the split, each with its number of records.
      image: the name of the feature that holds the image.
      shape: of an image.
      label: the feature that holds the label; None if there is none.
      chosen: the numbers of the records that count; None: all.
      transposed: images are stored with rows and columns exchanged.
      binary: pixels are stored as 0 and 1, and read as 0 and 255.
    """

    source: Any
    files: tuple[tuple[Path, int], ...]
    image: str
    shape: tuple[int, int, int]
    label: Label | None
    chosen: np.ndarray | None = None
    transposed: bool = False
    binary: bool = False

    @property
    def dtype(self) -> np.dtype:
        """uint8."""
        return np.dtype(np.uint8)

    @property
    def labeled(self) -> bool:
        """Whether the records have labels; without them `read` leaves labels as they are."""
        return self.label is not None

    def __len__(self) -> int:
        return len(self.source if self.chosen is None else self.chosen)

    def prefetch(self, numbers: np.ndarray) -> None:
        """Does nothing: decoding takes much longer than reading."""

    def read(self, numbers: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Decodes the records with these numbers into images uint8 [N, H, W, C] and labels [N].

        Raises `UserError`, which names the record, if one cannot be loaded.
        """
        records = (numbers if self.chosen is None else self.chosen[numbers]).tolist()
        for place, (number, record) in enumerate(zip(records, self._records(records), strict=True)):
            try:
                encoded, label = parse(record, self.image, self.label and self.label.name)
                if self.label is not None:
                    labels[place] = self.label.index_of(label)
                images[place] = self._decode(encoded)
            except Exception as error:  # protobuf and Pillow raise many kinds on damaged records
                raise self._unreadable(number, error) from None

    def stored_labels(self) -> set[int]:
        """Returns all labels of the split as they are stored, without decoding images.

        Raises `UserError`, which names the record, if one cannot be loaded.
        """
        assert self.label is not None
        found = set()
        for start in range(0, len(self.source), _RECORDS_AT_ONCE):
            numbers = range(len(self.source))[start : start + _RECORDS_AT_ONCE]
            for number, record in zip(numbers, self._records(numbers), strict=True):
                try:
                    found.add(parse(record, None, self.label.name)[1])
                except Exception as error:
                    raise self._unreadable(number, error) from None
        return found

    def _decode(self, encoded: bytes) -> np.ndarray:
        pixels = decode_image(encoded, self.shape)
        if self.transposed:
            pixels = pixels.swapaxes(0, 1)
        if not self.binary:
            return pixels
        if pixels.max() > 1:
            raise ValueError(f"it has a pixel of {pixels.max()}, but the test images have 0 and 1")
        return pixels * np.uint8(255)

    def first_size(self) -> tuple[int, int]:
        """Returns height and width of the first image.

        Raises `UserError` if it cannot be loaded.
        """
        from PIL import Image

        try:
            encoded, _ = parse(self.source[0], self.image, None)
            with no_bombs(), Image.open(io.BytesIO(encoded), formats=_FORMATS) as file:
                return file.height, file.width
        except Exception as error:
            raise self._unreadable(0, error) from None

    def _records(self, numbers: Sequence[int]) -> Sequence[bytes]:
        try:
            return self.source.__getitems__(numbers)
        except Exception as error:  # the error does not name the record
            if may_pass(error):
                raise unreadable(self.files[0][0].parent, error) from None
            return [self._record(number) for number in numbers]

    def _record(self, number: int) -> bytes:
        try:
            return self.source[number]
        except Exception as error:
            raise self._unreadable(number, error) from None

    def _unreadable(self, number: int, error: Exception) -> UserError:
        if may_pass(error):
            return unreadable(self.files[0][0].parent, error)
        ends = list(itertools.accumulate(count for _, count in self.files))
        place = bisect.bisect_right(ends, number)
        file, count = self.files[place]
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        return UserError(
            f"record {number - ends[place] + count} of {file} cannot be loaded ({reason}): remove "
            f"{file.parent} and prepare the set again"
        )


def open_split(
    prepared: Prepared,
    split: str,
    image: str,
    shape: tuple[int | None, int | None, int],
    label: Label | None,
) -> Shards:
    """Opens the records of a split; of a side that varies, the first image tells the length.

    Raises `UserError` if the files do not match the set's description.
    """
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    from array_record.python.array_record_module import ArrayRecordReader

    if prepared.file_format != "array_record":
        raise UserError(
            f"{prepared.folder} is stored as {prepared.file_format}, which only TensorFlow can "
            "read: prepare it again with file_format='array_record', or give another --data-dir"
        )
    files = tuple((prepared.folder / name, count) for name, count in prepared.shards[split].items())
    remedy = f"remove {prepared.folder} and prepare the set again"
    for file, count in files:
        try:
            reader = ArrayRecordReader(str(file))
            found = reader.num_records()
            reader.close()
        except Exception as error:
            if may_pass(error):
                raise unreadable(file, error) from None
            raise UserError(f"{file} is damaged ({error}): {remedy}") from None
        if found != count:
            raise UserError(f"{file} is damaged ({found} records instead of {count}): {remedy}")
    if not any(count for _, count in files):
        raise UserError(f"the split {split} in {prepared.folder} is empty: {remedy}")
    source = ArrayRecordDataSource([f"{file}[0:{count}]" for file, count in files])
    height, width, channels = shape
    shards = Shards(source, files, image, (height or 0, width or 0, channels), label)
    return shards if height and width else replace(shards, shape=(*shards.first_size(), channels))


@contextlib.contextmanager
def no_bombs() -> Iterator[None]:
    """Turns Pillow's warning about decompression bombs into an error; not safe in threads."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def parse(record: bytes, image: str | None, label: str | None) -> tuple[bytes, int]:
    """Returns a record's encoded image and its label, of the features with these names.

    Without a name they are empty and 0. Raises `ValueError` unless the record has one of each.
    """
    from tensorflow_datasets.proto import tf_example_pb2

    example: Any = tf_example_pb2
    features = example.Example.FromString(record).features.feature
    images = [b""] if image is None else features[image].bytes_list.value
    labels = [0] if label is None else features[label].int64_list.value
    if len(images) != 1 or len(labels) != 1:
        raise ValueError(f"it has {len(images)} images and {len(labels)} labels")
    return images[0], labels[0]


def decode_image(encoded: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """Returns an image file's pixels as uint8 of a shape [H, W, C].

    Gray, color and palette images are converted to C channels as TensorFlow does. 16-bit pixels
    keep their upper eight bits, as in Pillow's color images. Raises `ValueError` for another
    height or width, and if transparency would be lost.
    """
    from PIL import Image

    height, width, channels = shape
    with Image.open(io.BytesIO(encoded), formats=_FORMATS) as file:
        if (file.height, file.width) != (height, width):
            raise ValueError(
                f"its image has {file.height} x {file.width} pixels, but the dataset has images of "
                f"{height} x {width}; images of several sizes cannot be loaded"
            )
        if channels < 4 and file.has_transparency_data and not _is_opaque(file):
            raise ValueError(
                f"its image has transparent pixels, which {channels} channels cannot hold"
            )
        image: Any = file
        if file.mode.startswith("I"):  # 16-bit gray, which Pillow would clip at 255
            image = Image.fromarray((np.asarray(file) >> 8).astype(np.uint8))
        if image.mode != _MODES[channels]:  # a conversion copies
            image = image.convert(_MODES[channels])
        return np.frombuffer(image.tobytes(), np.uint8).reshape(shape)


def _is_opaque(image: Any) -> bool:
    """Returns whether every pixel of a Pillow image is fully opaque."""
    return np.asarray(image.convert("RGBA"))[..., 3].min() == 255
