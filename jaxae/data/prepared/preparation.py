"""Prepares datasets from their original archives as TFDS would.

TFDS prepares them only with TensorFlow, which it needs to read archives and to write PNG. This
module uses TFDS's own builders, download manager, checksums and writer, with other readers and
Pillow.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
import sys
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jaxae.data import connection
from jaxae.data.prepared import archives
from jaxae.data.prepared.originals import ORIGINALS, Contents, Features
from jaxae.errors import UserError


def class_names(name: str) -> tuple[str, ...]:
    """Returns TFDS's class names for one of the original sets."""
    return tuple(_builder_class(name)().info.features["label"].names)


def version(name: str) -> str:
    """Returns the version of one of the original sets that this release of TFDS prepares."""
    return str(_builder_class(name).VERSION)


def registered(name: str) -> dict[str, archives.Registered]:
    """Returns what TFDS says about the archives of one of the original sets, by file name."""
    infos = _builder_class(name).url_infos
    by_name = {
        info.filename: archives.Registered(url, int(info.size), info.checksum)
        for url, info in infos.items()
    }
    return {file: by_name[file] for file in ORIGINALS[name].files}


def download_problem(name: str) -> str | None:
    """Returns why the archives of `name` cannot be downloaded, or None if they can."""
    smallest = min(registered(name).values(), key=lambda archive: archive.size)
    return connection.why_unreachable(smallest.url, smallest.size)


def prepare(data_dir: Path, name: str, source: Path | None) -> Path:
    """Prepares `name`, one of the original sets, as TFDS would, and returns its folder.

    `source` is the folder of the archives; without it they are downloaded. The caller holds the
    set's lock. All files are written into one folder that is renamed at the end, so a failure
    leaves nothing behind, and the next call removes what a killed one has left. Raises `UserError`
    if the download fails, an archive is not the original, or `data_dir` cannot be written.
    """
    import tensorflow_datasets as tfds

    staging = data_dir / f".{name.replace('/', '.')}.incomplete"
    where = f"downloading {name}" if source is None else f"reading {name} from {source}"
    print(
        f"jaxae: {where}, preparing it in {data_dir / name} (half a minute for 60,000 images) ...",
        file=sys.stderr,
    )
    try:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        builder = _builder(name, staging, source)
        with _quiet():
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(try_download_gcs=False)
            )
        folder = data_dir / Path(builder.data_dir).relative_to(staging)
        folder.parent.mkdir(parents=True, exist_ok=True)
        Path(builder.data_dir).replace(folder)
    except (OSError, RuntimeError) as error:
        full = os.strerror(errno.ENOSPC)
        if isinstance(error, RuntimeError) and full not in str(error):
            raise  # array_record reports a full disk as a RuntimeError; this one is something else
        reason = full if full in str(error) else getattr(error, "strerror", None) or error
        raise UserError(
            f"{name} cannot be prepared in {data_dir}: {reason}; it needs a writable folder with "
            "room for its archives and its images (about 130 MB for 70,000 digits): make room, or "
            "name another one with --data-dir"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return folder


def _builder_class(name: str) -> Any:
    import tensorflow_datasets as tfds

    return tfds.builder_cls(name.split("/")[0])


def _builder(name: str, data_dir: Path, source: Path | None) -> Any:
    """Returns a subclass of TFDS's builder that needs no TensorFlow."""
    base, _, config = name.partition("/")

    def split_generators(self: Any, dl_manager: Any) -> dict[str, Iterator[tuple[int, dict]]]:
        contents = ORIGINALS[name].read(_archive_paths(dl_manager, name, source))
        for feature, names in contents.class_names.items():
            self.info.features[feature].names = names
        _check_labels(name, contents, self.info.features)
        return {split: _examples(features) for split, features in contents.splits.items()}

    parent = _builder_class(name)
    # TFDS looks for a builder's description and checksums beside its module.
    members = {
        "name": base,
        "__module__": parent.__module__,
        "_split_generators": split_generators,
    }
    derived: Any = types.new_class(
        "Builder", (parent,), {"skip_registration": True}, lambda body: body.update(members)
    )
    return derived(data_dir=data_dir, config=config or None, file_format="array_record")


def _archive_paths(dl_manager: Any, name: str, source: Path | None) -> dict[str, Path]:
    """Returns the verified archives' paths by name, in `source` or downloaded by TFDS."""
    expected = registered(name)
    paths = (
        _download(dl_manager, name, expected)
        if source is None
        else {file: source / file for file in expected}
    )
    if not ORIGINALS[name].recompressed:
        for file, path in paths.items():
            archives.check(path, name, expected[file])
    return paths


def _download(
    dl_manager: Any, name: str, expected: Mapping[str, archives.Registered]
) -> dict[str, Path]:
    """Downloads the archives of a set."""
    import requests
    from tensorflow_datasets.core.download.download_manager import NonMatchingChecksumError
    from tensorflow_datasets.core.download.util import DownloadError

    advice = "try again, or name a folder of the archives with --sources"
    try:
        paths = dl_manager.download({file: archive.url for file, archive in expected.items()})
    except NonMatchingChecksumError as error:
        raise UserError(
            f"a download of {name} has the wrong checksum, perhaps because a proxy answered "
            f"({' '.join(str(error).split())[:200]}): {advice}"
        ) from error
    except (requests.RequestException, DownloadError) as error:
        raise archives.UnobtainableError(
            f"the download of {name} broke off ({type(error).__name__}): {advice}"
        ) from error
    return {file: Path(path) for file, path in paths.items()}


def _check_labels(name: str, contents: Contents, features: Any) -> None:
    """Raises `UserError` if a label in the archives is not one of the classes of its feature."""
    for split in contents.splits.values():
        for feature in {"label", "coarse_label"} & set(split):
            most, classes = max(split[feature], default=0), features[feature].num_classes
            if most >= classes:
                raise UserError(
                    f"the archives of {name} have the {feature} {most}, but there are only "
                    f"{classes} classes: fetch them again"
                )


def _examples(features: Features) -> Iterator[tuple[int, dict]]:
    """Yields index and features of each example, as TFDS writes them, with the image as a PNG."""
    from PIL import Image

    names = list(features)
    for index, values in enumerate(zip(*features.values(), strict=True)):
        example = dict(zip(names, values, strict=True))
        file = io.BytesIO()
        Image.fromarray(example["image"]).save(file, "png")
        file.seek(0)
        yield index, {**example, "image": file}


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
