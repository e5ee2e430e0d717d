"""NumPy's .npy files and the members of .npz files, read in chunks and never unpickled.

NumPy itself reads a whole member of an .npz file into memory.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from jaxae.data.readers.numbers import CHUNK_BYTES
from jaxae.errors import UserError, may_pass, unreadable
from jaxae.files import shorten

_SUFFIX = ".npy"  # of a member of an .npz file


@dataclass(frozen=True)
class StoredArray:
    """An array in a file, as its header describes it.

    Attributes:
      path: the .npy or .npz file.
      member: the name of the member of an .npz file; None in an .npy file.
      shape: of the array, which has one axis at least.
      dtype: of numbers or text, in the byte order of the file.
      fortran: whether the first axis is stored fastest.
    """

    path: Path
    member: str | None
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    def __str__(self) -> str:
        return f"{shorten(self.key)} in {self.path}" if self.member else str(self.path)

    @property
    def key(self) -> str:
        """The name under which an .npz file holds the array; empty in an .npy file."""
        return (self.member or "").removesuffix(_SUFFIX)

    def __len__(self) -> int:
        return self.shape[0]

    def chunks(self) -> Iterator[np.ndarray]:
        """Yields the array in chunks [n, ...] along its first axis, about `CHUNK_BYTES` each.

        Raises `UserError` if the file is damaged, or has changed since it was opened.
        """
        bytes_each = self.dtype.itemsize * math.prod(self.shape[1:])
        rows = max(1, CHUNK_BYTES // bytes_each)
        with _explained(self.path), _stream(self.path, self.member) as stream:
            if _header(stream) != (self.shape, self.fortran, self.dtype):
                raise ValueError("it has changed since it was opened")
            if self.fortran:
                yield from self._chunks_in_fortran_order(stream, rows)
                return
            for start in range(0, len(self), rows):
                count = min(rows, len(self) - start)
                content = stream.read(count * bytes_each)
                if len(content) < count * bytes_each:
                    raise EOFError(f"it ends after {start * bytes_each + len(content)} bytes")
                yield np.frombuffer(content, self.dtype).reshape(count, *self.shape[1:])

    def _chunks_in_fortran_order(self, stream: IO[bytes], rows: int) -> Iterator[np.ndarray]:
        """Unpacks the array into a temporary file, because one example is scattered all over it."""
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked)
            array = np.memmap(unpacked, self.dtype, "r", shape=self.shape, order="F")
            for start in range(0, len(self), rows):
                yield np.array(array[start : start + rows], order="C")


def open_arrays(path: Path) -> dict[str, StoredArray]:
    """Returns the arrays in an .npz file by their names, or the one in an .npy file as "".

    Reads their headers alone. Raises `UserError` if the file is damaged, if it holds something
    other than arrays of numbers or text, or if an array is empty.
    """
    with _explained(path):
        members: list[str | None] = [None]
        if path.suffix.lower() == ".npz":
            with zipfile.ZipFile(path) as archive:
                members = [*archive.namelist()]
        stored = [_open(path, member) for member in members]
    return {array.key: array for array in stored}


def _open(path: Path, member: str | None) -> StoredArray:
    with _stream(path, member) as stream:
        if member is None:
            size = path.stat().st_size
        elif member.endswith(_SUFFIX):
            with zipfile.ZipFile(path) as archive:
                size = archive.getinfo(member).file_size
        else:
            raise UserError(
                f"{path} holds {shorten(member)}, which is no array: keep only members "
                "that numpy.savez writes"
            )
        shape, fortran, dtype = _header(stream)
        start = stream.tell()
    array = StoredArray(path, member, shape, dtype, fortran)
    if dtype.kind not in "biufSU" or not dtype.itemsize:
        kind = "Python objects, which are never unpickled" if dtype.hasobject else f"dtype {dtype}"
        raise UserError(f"{array} holds {kind}: save an array of numbers, or of text for labels")
    if not shape or 0 in shape:
        raise UserError(
            f"{array} has the shape {shorten(shape)}: give an array of one example or more"
        )
    expected = dtype.itemsize * math.prod(shape)
    if size - start != expected:
        raise ValueError(f"it has {size - start} bytes where its header promises {expected}")
    return array


@contextlib.contextmanager
def _stream(path: Path, member: str | None) -> Iterator[IO[bytes]]:
    """Opens an .npy file, or a member of an .npz file, which zipfile verifies as it is read."""
    if member is None:
        with path.open("rb") as stream:
            yield stream
    else:
        with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
            yield stream


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Returns the shape, whether the order is Fortran's, and the dtype; NumPy limits the length."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):  # 3.0 is for names of fields, which no array here has
        raise ValueError(f"its header has version {version}")
    one = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if one else np.lib.format.read_array_header_2_0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy warns of headers that Python 2 wrote
        shape, fortran, dtype = read(stream)
    if any(size < 0 for size in shape):
        raise ValueError(f"its header has the shape {shorten(shape)}")
    return shape, fortran and sum(size > 1 for size in shape) > 1, dtype


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns any error of reading `path` into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"there is no file {path}: give the path of an .npz or .npy file") from None
    except Exception as error:  # zipfile, zlib, bz2, lzma and NumPy raise many kinds
        if may_pass(error):
            raise unreadable(path, error) from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        kind = path.suffix.lower()
        saving = "numpy.savez" if kind == ".npz" else "numpy.save"
        raise UserError(
            f"{path} is not a whole {kind} file ({reason}): it is damaged, or something else; "
            f"write it again with {saving}"
        ) from None
