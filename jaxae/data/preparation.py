"""Everything TFDS: finding a prepared set, preparing the originals, decoding to arrays.

TFDS prepares MNIST only with TensorFlow, for gzip and for PNG. Here its own builder, download
manager, checksums and writer are kept, and only those two steps are done with gzip and Pillow.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np

from jaxae.data import archives, shards
from jaxae.data.dataset import Dataset, Split, assemble
from jaxae.data.prepared import DATASET_INFO, Prepared, fingerprint, read
from jaxae.data.streaming import Column, StreamedSplit
from jaxae.errors import UserError

_RECORDS_AT_ONCE = 1000


def find(data_dir: Path, name: str) -> Path | None:
    """The folder of the newest prepared version of `name`, as TFDS lays it out, or None.

    Raises UserError where only configurations of `name` are prepared: one must be named.
    """
    versions = {}
    for info in (data_dir / name).glob(f"*/{DATASET_INFO}"):
        if re.fullmatch(r"\d+\.\d+\.\d+", info.parent.name):
            versions[tuple(map(int, info.parent.name.split(".")))] = info.parent
    if versions:
        return versions[max(versions)]
    configs = sorted(
        {info.parent.parent.name for info in data_dir.glob(f"{name}/*/*/{DATASET_INFO}")}
    )
    if configs:
        choices = ", ".join(f"{name}/{config}" for config in configs)
        raise UserError(f"{name} is prepared in several configurations: name one of {choices}")
    return None


def class_names(name: str) -> tuple[str, ...]:
    """The class names that TFDS gives one of the originals."""
    return tuple(_builder_class(name)().info.features["label"].names)


def download_problem(name: str) -> str | None:
    """Why the archives of `name` cannot be downloaded now, or None; takes some seconds at most."""
    from tensorflow_datasets.core.download import checksums

    url = urljoin(_builder_class(name).URL, archives.TEST_LABELS)
    registered = checksums.get_all_url_infos().get(url)
    return archives.why_unreachable(url, int(registered.size) if registered else None)


def prepare(data_dir: Path, name: str, source: Path | None) -> Path:
    """Writes `name`, one of the originals, as TFDS would, and returns its folder.

    `source` is the folder of the four archives; without it they are downloaded. The caller holds
    the lock of the set. Everything is written below one folder that is renamed at the end, so a
    failure leaves nothing, and what a killed preparation has left is removed by the next.
    """
    import tensorflow_datasets as tfds

    staging = data_dir / f".{name}.incomplete"
    where = f"downloading {name}" if source is None else f"reading {name} from {source}"
    print(f"jaxae: {where}, preparing it in {data_dir / name} (half a minute) ...", file=sys.stderr)
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        builder = _builder(name, staging, source)
        with _quiet():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(
                    manual_dir=source, try_download_gcs=False
                )
            )
        folder = data_dir / Path(builder.data_dir).relative_to(staging)
        folder.parent.mkdir(exist_ok=True)
        Path(builder.data_dir).replace(folder)
    except (OSError, RuntimeError) as error:
        full = os.strerror(errno.ENOSPC)
        if isinstance(error, RuntimeError) and full not in str(error):
            raise  # not array_record's way to say that the disk is full
        reason = full if full in str(error) else getattr(error, "strerror", None) or error
        raise UserError(
            f"{name} cannot be prepared in {data_dir}: {reason}; it needs about 130 MB in a folder "
            "that can be written: make room, or name another one with --data-dir"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _builder_class(name: str) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name)


def _builder(name: str, data_dir: Path, source: Path | None) -> Any:
    """A builder derived from TFDS's own that needs no TensorFlow to read gzip and to write PNG."""

    def split_generators(self: Any, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        arrays = archives.read(name, _archive_paths(dl_manager, self.URL, source))
        return {
            "train": _examples(arrays[archives.TRAIN_IMAGES], arrays[archives.TRAIN_LABELS]),
            "test": _examples(arrays[archives.TEST_IMAGES], arrays[archives.TEST_LABELS]),
        }

    derived: Any = types.new_class(
        "Builder",
        (_builder_class(name),),
        {"skip_registration": True},
        lambda body: body.update(name=name, _split_generators=split_generators),
    )
    return derived(data_dir=data_dir, file_format="array_record")


def _archive_paths(dl_manager: Any, url: str, source: Path | None) -> dict[str, Path]:
    import requests
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    try:
        paths = dl_manager.download({file: urljoin(url, file) for file in archives.FILES})
    except NonMatchingChecksumError as error:
        if source is None:
            raise UserError(
                f"a download from {url} has the wrong checksum, perhaps because a proxy answered: "
                "try again, or name a folder of the archives with --sources"
            ) from error
        # Perhaps compressed anew: the checksum of the content, taken on reading, decides.
        return {file: source / file for file in archives.FILES}
    except (requests.RequestException, DownloadError) as error:
        raise archives.UnobtainableError(
            f"the download from {url} broke off ({type(error).__name__}): try again, or name a "
            "folder of the archives with --sources"
        ) from error
    return {file: Path(path) for file, path in paths.items()}


def _examples(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    from PIL import Image

    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        file.seek(0)
        yield index, {"image": file, "label": int(label)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's progress bars, whose units are wrong, and its announcements on stdout."""
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)


def decode(folder: Path, name: str) -> Dataset:
    """The prepared set in `folder` as arrays.

    MNIST and Fashion-MNIST come in the order of the original files, whoever prepared them, and
    verified to be the originals; others in the order in which TFDS stores them. Raises UserError
    where the set is damaged, is stored in a format without random access, is no set of images with
    labels and both splits, or has images of several sizes.
    """
    prepared = _read_labelled(folder, name)
    train = shards.open_split(prepared, "train")
    test = shards.open_split(prepared, "test", train.shape)
    splits = {"train": _decode(train), "test": _decode(test)}
    for split, (images, labels) in archives.of_splits(name).items():
        splits[split] = archives.in_original_order(splits[split], split, folder, images, labels)
    return assemble(name, splits["train"], splits["test"], prepared.class_names())


def open_stream(folder: Path, name: str, workers: int) -> Dataset:
    """The prepared set in `folder`, its training split as arrays that are read where indexed.

    In the order of `decode`, and with its errors; that the training split is the original is not
    verified, for that would read it all. The fingerprint is that of the files' names and sizes.
    """
    prepared = _read_labelled(folder, name)
    train = shards.open_split(prepared, "train")
    test = _decode(shards.open_split(prepared, "test", train.shape))
    positions = None
    if name in archives.ORIGINALS:
        positions = archives.stored_positions(len(train), "train")
        test = archives.in_original_order(test, "test", folder, *archives.of_splits(name)["test"])
    streamed = StreamedSplit(train, positions, workers)
    columns: Any = (Column(streamed, 0), Column(streamed, 1))
    identity = fingerprint(prepared.files(), times=False)
    return Dataset(name, Split(*columns), test, prepared.class_names(), identity)


def _read_labelled(folder: Path, name: str) -> Prepared:
    """What is prepared in `folder`; UserError unless it is a set of labelled images."""
    prepared = read(folder)
    if not prepared.is_labelled():
        found = ", ".join(sorted([*prepared.features, *prepared.shards]))
        raise UserError(
            f"{name} in {folder} is no set of labelled 8-bit images: it needs the features 'image' "
            f"and 'label' and the splits 'train' and 'test', and has {found}: give another set"
        )
    return prepared


def _decode(split: shards.Shards) -> Split:
    """All images and labels of a split."""
    try:
        images = np.empty((len(split), *split.shape), np.uint8)
    except (MemoryError, ValueError):
        raise UserError(
            f"{len(split)} images of shape {split.shape} do not fit in memory: read them from disk "
            "with --stream"
        ) from None
    labels = np.empty(len(split), np.int32)
    with shards.no_bombs():
        for start in range(0, len(split), _RECORDS_AT_ONCE):
            part = slice(start, start + _RECORDS_AT_ONCE)
            images[part], labels[part] = split.read(range(len(split))[part])
    return Split(images, labels)
