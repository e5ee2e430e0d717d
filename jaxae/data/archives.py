"""The original gzipped IDX archives of MNIST and Fashion-MNIST: finds, verifies and reads them."""

from __future__ import annotations

import gzip
import hashlib
import math
import struct
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jaxae.data.dataset import Split
from jaxae.errors import UserError


class UnobtainableError(UserError):
    """The dataset is not available on this machine, through no fault of the user."""


@dataclass(frozen=True)
class Archive:
    """The shape of the uint8 array in an archive, and the SHA-256 of the decompressed bytes.

    The compressed bytes differ between distributors: Debian recompresses the archives.
    """

    shape: tuple[int, ...]
    sha256: str


TRAIN_IMAGES = "train-images-idx3-ubyte.gz"
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"
TEST_IMAGES = "t10k-images-idx3-ubyte.gz"
TEST_LABELS = "t10k-labels-idx1-ubyte.gz"
FILES = (TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS)

_Original = Mapping[str, Archive]
ORIGINALS: Mapping[str, _Original] = {
    "mnist": {
        TRAIN_IMAGES: Archive(
            (60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
        ),
        TRAIN_LABELS: Archive(
            (60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
        ),
        TEST_IMAGES: Archive(
            (10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
        ),
        TEST_LABELS: Archive(
            (10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
        ),
    },
    "fashion_mnist": {
        TRAIN_IMAGES: Archive(
            (60_000, 28, 28), "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
        ),
        TRAIN_LABELS: Archive(
            (60_000,), "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
        ),
        TEST_IMAGES: Archive(
            (10_000, 28, 28), "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
        ),
        TEST_LABELS: Archive(
            (10_000,), "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
        ),
    },
}

# Debian's package dataset-fashion-mnist installs its archives here (subfolder fashion-mnist).
_SYSTEM_SOURCES = Path("/usr/share/datasets")

_NETWORK_SECONDS = 10.0


def find(name: str, sources: Path | None, system: Path = _SYSTEM_SOURCES) -> Path | None:
    """Returns the folder with the four archives of `name`: in `sources`, or installed by Debian.

    Returns None if there is none. Raises `UserError` if the subfolder in `sources` lacks a file.
    """
    for root in (sources, system):
        for subfolder in (name, name.replace("_", "-")):
            folder = root / subfolder if root else None
            if folder is None or not folder.is_dir():
                continue
            missing = [file for file in ORIGINALS[name] if not (folder / file).is_file()]
            if not missing:
                return folder
            if root == sources:
                raise UserError(
                    f"the source folder {folder} lacks {', '.join(missing)}: it must hold the four "
                    f"archives {', '.join(ORIGINALS[name])}; add the missing ones"
                )
    return None


def read(name: str, paths: Mapping[str, Path]) -> dict[str, np.ndarray]:
    """Returns the uint8 array in each archive, keyed by file name like `paths`.

    Raises `UserError` if the content of a file is not the original's.
    """
    return {
        file: _read_verified(paths[file], name, file, archive)
        for file, archive in ORIGINALS[name].items()
    }


def _read_verified(path: Path, name: str, file: str, archive: Archive) -> np.ndarray:
    """Returns the array in the archive at `path`, which must be `file` of the dataset `name`."""
    header = idx_header(archive.shape)
    expected = len(header) + math.prod(archive.shape)
    try:
        with gzip.open(path, "rb") as stream:
            content = stream.read(expected + 1)  # no more: a small file may unpack to terabytes
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(
            f"{path} is not a whole gzip file ({error}): it is truncated or damaged; fetch it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; make it readable") from error
    if content[: len(header)] != header:
        raise UserError(
            f"the IDX header of {path} is {content[: len(header)].hex()}, but unsigned bytes of "
            f"shape {archive.shape} begin with {header.hex()}: fetch the file again"
        )
    if len(content) != expected:
        size = f"more than {expected}" if len(content) > expected else len(content)
        raise UserError(
            f"{path} decompresses to {size} bytes, but its IDX header promises {expected}: "
            "fetch the file again"
        )
    digest = hashlib.sha256(content).hexdigest()
    if digest != archive.sha256:
        other = next((n for n in ORIGINALS if ORIGINALS[n][file].sha256 == digest), None)
        found = f"it is that of {other}" if other else f"its content has SHA-256 {digest}"
        raise UserError(
            f"{path} has the wrong checksum: it is not {file} of {name} ({found}, expected "
            f"{archive.sha256}); fetch the file again"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(archive.shape)


def idx_header(shape: tuple[int, ...]) -> bytes:
    """Returns the header of an IDX file of unsigned bytes: the magic number and the shape."""
    unsigned_byte = 0x08
    return struct.pack(f">HBB{len(shape)}I", 0, unsigned_byte, len(shape), *shape)


def _is_original(array: np.ndarray, archive: Archive) -> bool:
    """Returns whether a uint8 array holds exactly the archive's numbers in the archive's order."""
    digest = hashlib.sha256(idx_header(archive.shape))
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest() == archive.sha256


def why_unreachable(url: str, size: int | None, seconds: float = _NETWORK_SECONDS) -> str | None:
    """Returns why `url` cannot be fetched, or None if it answers with a file of `size` bytes.

    Takes at most `seconds`, including name resolution; TFDS itself would retry for minutes.
    """
    reasons: list[str | None] = [f"no answer from {url} within {seconds:g} s"]
    # A daemon: a thread that hangs in name resolution can be neither stopped nor joined.
    probe = threading.Thread(
        target=lambda: reasons.append(_probe(url, size, seconds)), daemon=True, name="probe"
    )
    probe.start()
    probe.join(seconds)
    return reasons[-1]


def _probe(url: str, size: int | None, seconds: float) -> str | None:
    """Returns what one request of `url`'s headers finds wrong, or None."""
    import requests  # TFDS downloads with it: same proxies, same certificates

    try:
        answer = requests.head(url, timeout=seconds, allow_redirects=True)
    except requests.RequestException as error:
        return f"no connection to {url} ({type(error).__name__})"
    length = answer.headers.get("Content-Length")
    if answer.status_code != requests.codes.ok:
        return f"{url} answers with HTTP status {answer.status_code}"
    if size is not None and length is not None and int(length) != size:
        # A captive portal or proxy answers every request with its own page.
        return f"{url} answers with {length} bytes, but the archive has {size}"
    return None


def stored_positions(count: int, split: str) -> np.ndarray:
    """Returns the position at which TFDS stores each example of a split, int [count].

    TFDS sorts examples by the MD5 of the split's name and their index.
    """
    original_index = sorted(
        range(count), key=lambda index: hashlib.md5(f"{split}{index}".encode()).digest()
    )
    return np.argsort(original_index)


def of_splits(name: str) -> dict[str, tuple[Archive, Archive]]:
    """Returns the image and label archives of each split of `name`; empty if it has no archives."""
    if name not in ORIGINALS:
        return {}
    original = ORIGINALS[name]
    return {
        "train": (original[TRAIN_IMAGES], original[TRAIN_LABELS]),
        "test": (original[TEST_IMAGES], original[TEST_LABELS]),
    }


def in_original_order(
    split: Split, split_name: str, folder: Path, images: Archive, labels: Archive
) -> Split:
    """Reorders a split from TFDS's order to that of the original files.

    Raises `UserError` unless images and labels are the originals.
    """
    count = len(split.labels)
    stored_index = stored_positions(count, split_name)
    ordered = Split(split.images[stored_index], split.labels[stored_index])
    if count != labels.shape[0] or not (
        _is_original(ordered.images, images)
        and _is_original(ordered.labels.astype(np.uint8), labels)
    ):
        raise UserError(
            f"the {split_name} split prepared in {folder} is not the original: it was prepared "
            "from other or incomplete data; remove that folder and load the dataset again"
        )
    return ordered
