"""Everything TFDS: finding a prepared set, preparing the originals, decoding to arrays.

TFDS prepares MNIST only with TensorFlow, for gzip and for PNG. Here its own builder, download
manager, checksums and writer are kept, and only those two steps are done with gzip and Pillow.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
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

from jaxae import archives
from jaxae.dataset import Dataset, Split, assemble
from jaxae.errors import UserError
from jaxae.streaming import Column, Records, decode_image

DATASET_INFO = "dataset_info.json"
RECORDS_AT_ONCE = 1000


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
        raise UserError(f"{name} is prepared in several configurations: name one of {choices}.")
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
            f"{name} cannot be prepared in {data_dir}: {reason}. It needs about 130 MB in a folder "
            "that can be written; make room, or name another one with --data-dir."
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
                f"A download from {url} has the wrong checksum; perhaps a proxy answered in its "
                "place. Try again, or name a folder of the archives with --sources."
            ) from error
        # Perhaps compressed anew: the checksum of the content, taken on reading, decides.
        return {file: source / file for file in archives.FILES}
    except (requests.RequestException, DownloadError) as error:
        raise archives.UnobtainableError(
            f"The download from {url} broke off ({type(error).__name__}). Try again, or name a "
            "folder of the archives with --sources."
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
    where the set is stored in a format without random access, is no set of images with labels and
    both splits, or has images of several sizes.
    """
    builder, class_names = _open_labelled(folder, name)
    try:
        train, test = (_decode_split(builder, split) for split in ("train", "test"))
    except (OSError, RuntimeError, IndexError) as error:
        raise _damaged(folder, error) from error
    if name in archives.ORIGINALS:
        original = archives.ORIGINALS[name]
        train = archives.in_original_order(
            train, "train", folder, original[archives.TRAIN_IMAGES], original[archives.TRAIN_LABELS]
        )
        test = archives.in_original_order(
            test, "test", folder, original[archives.TEST_IMAGES], original[archives.TEST_LABELS]
        )
    return assemble(name, train, test, class_names)


def open_stream(folder: Path, name: str, workers: int) -> Dataset:
    """The prepared set in `folder`, its training split as arrays that are read where indexed.

    In the order of `decode`, and with its errors; that the training split is the original is not
    verified, for that would read it all. The fingerprint is that of the files' names and sizes.
    """
    builder, class_names = _open_labelled(folder, name)
    source = _source(builder, "train")
    channels = builder.info.features["image"].shape[-1]
    try:
        height, width = decode_image(source[0]["image"], channels).shape[:2]
        test = _decode_split(builder, "test")
    except (OSError, RuntimeError, IndexError) as error:
        raise _damaged(folder, error) from error
    positions = None
    if name in archives.ORIGINALS:
        original = archives.ORIGINALS[name]
        positions = archives.stored_positions(len(source), "train")
        test = archives.in_original_order(
            test, "test", folder, original[archives.TEST_IMAGES], original[archives.TEST_LABELS]
        )
    records = Records(source, (height, width, channels), positions, workers)
    files = sorted((path.name, path.stat().st_size) for path in folder.iterdir() if path.is_file())
    fingerprint = hashlib.sha256(repr(files).encode()).hexdigest()
    columns: Any = (Column(records, 0), Column(records, 1))
    return Dataset(name, Split(*columns), test, class_names, fingerprint)


def _damaged(folder: Path, error: Exception) -> UserError:
    return UserError(
        f"The set prepared in {folder} is damaged ({error}). Remove that folder and prepare "
        "the set again."
    )


def _open_labelled(folder: Path, name: str) -> tuple[Any, tuple[str, ...]]:
    """TFDS's builder of a set of labelled images, and its class names."""
    builder = _open(folder)
    features = dict(builder.info.features.items())
    if not _holds_labelled_images(features, set(builder.info.splits)):
        found = ", ".join(sorted([*features, *builder.info.splits]))
        raise UserError(
            f"{name} in {folder} is no set of labelled 8-bit images: it needs the features 'image' "
            f"and 'label' and the splits 'train' and 'test', and has {found}."
        )
    return builder, tuple(features["label"].names)


def _open(folder: Path) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _holds_labelled_images(features: dict[str, Any], splits: set[str]) -> bool:
    import tensorflow_datasets as tfds

    image, label = features.get("image"), features.get("label")
    return (
        isinstance(image, tfds.features.Image)
        and image.np_dtype == np.uint8
        and isinstance(label, tfds.features.ClassLabel)
        and {"train", "test"} <= splits
    )


def _source(builder: Any, split: str) -> Any:
    """The records of a split, their images not decoded."""
    import tensorflow_datasets as tfds

    try:
        # TFDS would decode with OpenCV, or complain that there is none.
        return builder.as_data_source(split, decoders={"image": tfds.decode.SkipDecoding()})
    except NotImplementedError as error:
        raise UserError(
            f"{builder.data_dir} is stored as {builder.info.file_format.value}, which only "
            "TensorFlow reads. Prepare it again with file_format='array_record', or name another "
            "--data-dir."
        ) from error


def _decode_split(builder: Any, split: str) -> Split:
    source = _source(builder, split)
    channels = builder.info.features["image"].shape[-1]
    labels = np.empty(len(source), np.int32)
    images = np.empty(0, np.uint8)
    for start in range(0, len(source), RECORDS_AT_ONCE):
        stop = min(start + RECORDS_AT_ONCE, len(source))
        for index, example in enumerate(source.__getitems__(range(start, stop)), start):
            image = decode_image(example["image"], channels)
            if index == 0:
                images = np.empty((len(source), *image.shape), np.uint8)
            if image.shape != images.shape[1:]:
                raise UserError(
                    f"The images in {builder.data_dir} differ in size ({images.shape[1:3]} and "
                    f"{image.shape[:2]}); only sets of equally large images can be loaded."
                )
            images[index], labels[index] = image, example["label"]
    return Split(images.reshape(*images.shape[:3], channels), labels)
