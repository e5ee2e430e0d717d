"""Reads the formats of original archives: IDX, CIFAR's records, MATLAB's arrays and text.

An archive may come from anyone. No more of it is unpacked than the dataset has, nothing is
extracted to disk, and a header must agree with what the dataset has.
"""

from __future__ import annotations

import contextlib
import gzip
import math
import struct
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from jaxae.errors import UserError, may_pass, unreadable

_SLACK = 2**20  # bytes of headers and small files that a tar file may have beside the data


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Returns the header of an IDX file of unsigned bytes: the magic number and the shape."""
    unsigned_byte = 0x08
    return struct.pack(f">HBB{len(shape)}I", 0, unsigned_byte, len(shape), *shape)


def read_idx(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array in a gzipped IDX file, uint8 of `shape`.

    Raises `UserError` if the file is damaged or holds another array.
    """
    with _reading(path, "gzip"), path.open("rb") as file:
        return _read_idx(file, str(path), shape, exactly=True)


def read_zipped_idx(path: Path, member: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the first shape[0] entries of a gzipped IDX file in a zip file, uint8 of `shape`.

    Raises `UserError` if the zip file is damaged, or lacks this file or this many entries.
    """
    with _reading(path, "zip"), zipfile.ZipFile(path) as archive:
        if member not in archive.namelist():
            raise _lacks(path, [member])
        with archive.open(member) as file:
            return _read_idx(file, f"{member} in {path}", shape, exactly=False)


def _read_idx(file: IO[bytes], where: str, shape: tuple[int, ...], *, exactly: bool) -> np.ndarray:
    """Returns an array of `shape`, which is all of an IDX file if `exactly`, else its beginning."""
    header = idx_header(shape)
    expected = len(header) + math.prod(shape)
    with gzip.GzipFile(fileobj=file) as stream:
        # No more is read: a small file may unpack to terabytes.
        content = stream.read(expected + 1 if exactly else expected)
    found = content[: len(header)]
    same_rest = found[:4] + found[8:] == header[:4] + header[8:]
    if found != header and (exactly or not same_rest or found[4:8] < header[4:8]):
        raise UserError(
            f"the IDX header of {where} is {found.hex()}, but unsigned bytes of shape {shape} "
            f"begin with {header.hex()}: fetch the file again"
        )
    if len(content) != expected:
        size = f"more than {expected}" if len(content) > expected else len(content)
        raise UserError(
            f"{where} decompresses to {size} bytes, but its IDX header promises {expected}: fetch "
            "the file again"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)


def read_tar(path: Path, members: Mapping[str, int]) -> dict[str, bytes]:
    """Returns the content of some files in a gzipped tar file, each of at most this many bytes.

    Raises `UserError` if the tar file is damaged, lacks one of them, or unpacks to far more.
    """
    found: dict[str, bytes] = {}
    most = sum(members.values()) + _SLACK
    with (
        _reading(path, "tar.gz"),
        gzip.open(path, "rb") as stream,
        tarfile.open(fileobj=cast(Any, _Bounded(stream, most)), mode="r|") as archive,
    ):
        for member in archive:
            if member.name not in members or not member.isreg():
                continue
            if member.size > members[member.name]:
                raise UserError(
                    f"{member.name} in {path} has {member.size} bytes, but at most "
                    f"{members[member.name]} are expected: fetch the archive again"
                )
            content = archive.extractfile(member)
            assert content is not None  # it is a regular file
            found[member.name] = content.read()
            if len(found) == len(members):
                return found
    raise _lacks(path, [name for name in members if name not in found])


class _Bounded:
    """A stream that raises an error once more than `most` bytes were read from it."""

    def __init__(self, stream: Any, most: int) -> None:
        self.stream, self.most = stream, most

    def read(self, size: int) -> bytes:
        """Reads at most `size` bytes."""
        content = self.stream.read(size)
        self.most -= len(content)
        if self.most < 0:
            raise ValueError("it unpacks to more than the dataset has")
        return content


def record_size(labels: int) -> int:
    """Returns the number of bytes of CIFAR's records, with this many labels each."""
    return labels + 3 * 32 * 32


def read_records(
    content: bytes, where: str, count: int, labels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns labels uint8 [count, labels] and images uint8 [count, 32, 32, 3] of CIFAR's records.

    A record is its labels, then the red, the green and the blue pixels. Raises `UserError` for
    another number of bytes.
    """
    size = record_size(labels)
    if len(content) != count * size:
        raise UserError(
            f"{where} has {len(content)} bytes, but {count} records of {size} bytes are expected: "
            "fetch the archive again"
        )
    records = np.frombuffer(content, np.uint8).reshape(count, size)
    return records[:, :labels], records[:, labels:].reshape(count, 3, 32, 32).transpose(0, 2, 3, 1)


def read_lines(content: bytes, where: str, count: int) -> tuple[str, ...]:
    """Returns the lines of a text that are not empty; raises `UserError` unless there are `count`.

    Bytes that are not UTF-8 are an error too.
    """
    try:
        lines = tuple(line.strip() for line in content.decode().split("\n") if line.strip())
    except UnicodeDecodeError:
        lines = ()
    if len(lines) != count:
        raise UserError(
            f"{where} has {len(lines)} lines of text, but the names of {count} classes are "
            "expected: fetch the archive again"
        )
    return lines


def read_mat(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Returns the uint8 arrays of a MATLAB file of version 5 that have these names and shapes.

    Raises `UserError` if the file is damaged or holds other arrays.
    """
    from scipy import io

    with _reading(path, "MATLAB"):
        found = {name: (shape, kind) for name, shape, kind in io.whosmat(path)}
        for name, shape in shapes.items():  # checked first: an array may unpack to gigabytes
            if found.get(name) != (shape, "uint8"):
                raise _other_array(path, name, shape, found.get(name))
        arrays = io.loadmat(path, variable_names=list(shapes))
        for name, shape in shapes.items():
            if arrays[name].shape != shape or arrays[name].dtype != np.uint8:
                raise _other_array(path, name, shape, (arrays[name].shape, arrays[name].dtype))
        return {name: arrays[name] for name in shapes}


def _other_array(path: Path, name: str, shape: tuple[int, ...], found: Any) -> UserError:
    has = f"{name} of shape {found[0]} and type {found[1]}" if found else f"no array {name}"
    return UserError(
        f"{path} has {has}, but {name} of shape {shape} and type uint8 is expected: fetch the file "
        "again"
    )


def read_amat(path: Path, count: int, pixels: int) -> np.ndarray:
    """Returns the numbers 0 and 1 in a text file, uint8 [count, pixels].

    A line holds the numbers of an image, with a space between two. Raises `UserError` for any other
    text.
    """
    expected = count * pixels * 2
    with _reading(path, "text"), path.open("rb") as file:
        content = file.read(expected + 1)
    if len(content) != expected:
        size = f"more than {expected}" if len(content) > expected else len(content)
        raise UserError(
            f"{path} has {size} bytes, but {count} lines of {pixels} numbers have {expected}: "
            "fetch the file again"
        )
    pairs = np.frombuffer(content, np.uint8).reshape(count, pixels, 2)
    digits, spaces = pairs[..., 0] - ord("0"), pairs[..., 1]
    fits = (digits <= 1).all(axis=1) & (spaces[:, :-1] == ord(" ")).all(axis=1)
    fits &= spaces[:, -1] == ord("\n")
    if not fits.all():
        raise UserError(
            f"line {np.argmin(fits) + 1} of {path} is not {pixels} times 0 or 1 with spaces "
            "between: fetch the file again"
        )
    return digits


def _lacks(path: Path, members: list[str]) -> UserError:
    return UserError(f"{path} lacks {', '.join(members)}: fetch the archive again")


@contextlib.contextmanager
def _reading(path: Path, kind: str) -> Iterator[None]:
    """Turns whatever a damaged file makes its reader raise into a `UserError`."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # SciPy, tarfile and zipfile raise many kinds
        if may_pass(error):
            raise unreadable(path, error) from None
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} is not a whole {kind} file ({reason}): it is truncated or damaged; fetch it "
            "again"
        ) from None
