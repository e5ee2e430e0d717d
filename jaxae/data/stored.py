"""Arrays in .npy files that are larger than memory may hold.

The pages of a mapped file count as memory of the process until they are released. Rows in random
order are read without mapping, because a fault maps many pages around the one that is needed.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from jaxae.errors import UserError

_PART_BYTES = 2**24


def create(path: Path, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns a new array mapped to a file; raises `OSError` if the disk has no room for it."""
    array = np.lib.format.open_memmap(path, "w+", dtype, shape)
    if hasattr(os, "posix_fallocate"):  # a write to a page without room would end the process
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def release(array: np.ndarray) -> None:
    """Releases the memory of a mapped array's pages, whose content the file keeps."""
    if isinstance(array.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        array.base.madvise(mmap.MADV_DONTNEED)


def parts(array: np.ndarray) -> Iterator[slice]:
    """Yields slices of about 16 MiB along the first axis, and releases the pages after each."""
    rows = max(1, _PART_BYTES * len(array) // max(1, array.nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))
        release(array)


@dataclass(frozen=True)
class StoredArray:
    """A source of examples in an .npy file, which each read opens; their labels are in memory.

    Attributes:
      path: the file.
      shape: of an example.
      dtype: of the examples.
      count: the number of examples.
      offset: the number of bytes before the first example.
      state: of the file, which changes if another process caches other data in its place.
    """

    path: Path
    shape: tuple[int, ...]
    dtype: np.dtype
    count: int
    offset: int
    state: tuple[int, ...]

    @property
    def labeled(self) -> bool:
        """False."""
        return False

    def __len__(self) -> int:
        return self.count

    def prefetch(self, numbers: np.ndarray) -> None:
        """Has the system load these examples, many at a time, without waiting or errors."""
        if not hasattr(os, "posix_fadvise"):
            return
        size, starts = self._places(numbers)
        with contextlib.suppress(OSError), self.path.open("rb", buffering=0) as file:
            descriptor = file.fileno()
            for start in starts:
                os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_WILLNEED)

    def read(self, numbers: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Reads the examples with these numbers into `images`, as a `Source` does."""
        try:
            with self.path.open("rb", buffering=0) as file:
                if _state(os.fstat(file.fileno())) != self.state:
                    raise ValueError("another process has replaced it")
                if hasattr(os, "preadv"):
                    size, starts = self._places(numbers)
                    read = map(os.preadv, repeat(file.fileno()), zip(images), starts)
                    if sum(read) != size * len(numbers):
                        raise ValueError("it ends too early")
                else:
                    shape = (self.count, *self.shape)
                    images[:] = np.memmap(file, self.dtype, "r", self.offset, shape)[numbers]
        except (OSError, ValueError) as error:
            raise UserError(
                f"{self.path} cannot be read now ({error}), and it is a cache of your data that "
                "no process should change while it trains: continue with --resume"
            ) from None

    def _places(self, numbers: np.ndarray) -> tuple[int, list[int]]:
        """Returns the bytes of an example, and where those with these numbers start in the file."""
        size = self.dtype.itemsize * int(np.prod(self.shape))
        return size, (self.offset + size * numbers.astype(np.int64)).tolist()


def of_mapped(array: np.memmap) -> StoredArray:
    """Returns the source of examples that are mapped from a file."""
    path = Path(str(array.filename))
    state = _state(path.stat())
    return StoredArray(path, array.shape[1:], array.dtype, len(array), array.offset, state)


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
