"""Prepares MNIST and Fashion-MNIST as TFDS would.

TFDS prepares these two only with TensorFlow, which it needs for gzip and PNG. This module uses
TFDS's own builder, download manager, checksums and writer, but Python's gzip and Pillow.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import numpy as np

from jaxae.data import archives
from jaxae.errors import UserError


def class_names(name: str) -> tuple[str, ...]:
    """Returns TFDS's class names for one of the original sets."""
    return tuple(_builder_class(name)().info.features["label"].names)


def download_problem(name: str) -> str | None:
    """Returns why the archives of `name` cannot be downloaded, or None if they can."""
    from tensorflow_datasets.core.download import checksums

    url = urljoin(_builder_class(name).URL, archives.TEST_LABELS)
    registered = checksums.get_all_url_infos().get(url)
    return archives.why_unreachable(url, int(registered.size) if registered else None)


def prepare(data_dir: Path, name: str, source: Path | None) -> Path:
    """Prepares `name`, one of the original sets, as TFDS would, and returns its folder.

    `source` is the folder of the four archives; without it they are downloaded. The caller holds
    the set's lock. All files are written into one folder that is renamed at the end, so a failure
    leaves nothing behind, and the next call removes what a killed one has left. Raises `UserError`
    if the download fails, an archive is not the original, or `data_dir` cannot be written.
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
            raise  # array_record reports a full disk as a RuntimeError; this one is something else
        reason = full if full in str(error) else getattr(error, "strerror", None) or error
        raise UserError(
            f"{name} cannot be prepared in {data_dir}: {reason}; it needs about 130 MB in a "
            "writable folder: make room, or name another one with --data-dir"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _builder_class(name: str) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name)


def _builder(name: str, data_dir: Path, source: Path | None) -> Any:
    """Returns a subclass of TFDS's builder that reads gzip and writes PNG without TensorFlow."""

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
    """Returns the archives' paths by file name; TFDS takes them from `source` or downloads them."""
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
        # The archives may have been compressed again: `archives.read` checks their content.
        return {file: source / file for file in archives.FILES}
    except (requests.RequestException, DownloadError) as error:
        raise archives.UnobtainableError(
            f"the download from {url} broke off ({type(error).__name__}): try again, or name a "
            "folder of the archives with --sources"
        ) from error
    return {file: Path(path) for file, path in paths.items()}


def _examples(images: np.ndarray, labels: np.ndarray) -> Iterator[tuple[int, dict]]:
    """Yields index and features of each example, as TFDS writes them, with the image as a PNG."""
    from PIL import Image

    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "png")
        file.seek(0)
        yield index, {"image": file, "label": int(label)}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences TFDS's progress bars, whose units are wrong, and its output on stdout."""
    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        tfds.display_progress_bar(True)
