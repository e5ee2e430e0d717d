"""A TFDS name in, uint8 images and labels out: verified, decoded once, with or without a network.

>>> fashion = load("fashion_mnist")
>>> fashion.train.images.shape
(60000, 28, 28, 1)
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import importlib
import os
import re
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np

from jaxae import files
from jaxae.data import archives, cache, preparation
from jaxae.data.dataset import MINI_SUFFIX, Dataset, Split, assemble
from jaxae.errors import UserError

__all__ = ["Dataset", "Split", "load", "load_default"]

BUNDLED = tuple(name + MINI_SUFFIX for name in archives.ORIGINALS)


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    sources: str | Path | None = None,
    stream: bool = False,
    workers: int = 0,
) -> Dataset:
    """Exactly the dataset `name`: a TFDS image set, or one of the bundled subsets.

    MNIST and Fashion-MNIST are prepared where they are not: from the archives in `sources`, else
    from those that Debian installs, else from the network. Other sets must have been prepared by
    TFDS. The arrays are read-only, in the order of the original files for these two. Without
    array_record only what is bundled, or was decoded before, can be had.

    name: as in TFDS ("cifar10", "cmaterdb/bangla"), or "mnist_mini", "fashion_mnist_mini".
    data_dir: where sets are prepared; else TFDS_DATA_DIR, else ~/tensorflow_datasets.
    sources: folder of original archives, one subfolder a dataset; else JAXAE_SOURCES, else none.
    stream: leave the training split on disk, and read it where it is indexed or trained on; the
      bundled subsets are in memory all the same.
    workers: processes that read and decode what is streamed; 0: threads of this one.
    Raises UserError where that dataset cannot be had.
    """
    if name in BUNDLED:
        return _bundled(name)
    directory, source_root = data_directory(data_dir), _source_root(sources)
    folder = preparation.find(directory, name) if _is_name(name) else None
    if folder is None and name not in archives.ORIGINALS:
        raise _unprepared(name, directory)
    cached = cache.read(folder, name) if folder and not stream else None
    if cached is not None:
        return cached
    missing = _missing_array_record(name)
    if missing is not None:
        raise missing
    if folder and stream:
        return preparation.open_stream(folder, name, workers)
    # Before anything is written: what cannot be had leaves no trace.
    source = None if folder else _obtainable(name, directory, source_root)
    with _lock(directory, name) as problem:
        if problem is None:  # and another process may have done the work meanwhile
            folder = preparation.find(directory, name) or preparation.prepare(
                directory, name, source
            )
            if stream:
                return preparation.open_stream(folder, name, workers)
            return cache.read(folder, name) or _decode_and_cache(folder, name)
    if folder is None:
        raise UserError(
            f"{name} cannot be prepared in {directory}: {problem}. "
            "Name a folder that can be written with --data-dir."
        )
    _say_uncached(folder, name, problem)
    return preparation.decode(folder, name)


def load_default(
    name: str,
    *,
    data_dir: str | Path | None = None,
    sources: str | Path | None = None,
    stream: bool = False,
    workers: int = 0,
) -> Dataset:
    """`load`, or the bundled subset where the full set is nowhere at hand and cannot be fetched.

    For callers whose user named no dataset. Says so on stderr, loudly; the dataset's name says so
    too. Whatever else goes wrong (a bad archive, a folder that cannot be written) is an error.
    """
    try:
        return load(name, data_dir=data_dir, sources=sources, stream=stream, workers=workers)
    except archives.UnobtainableError as error:
        mini = load(name + MINI_SUFFIX)
        print(
            f"jaxae: NOT THE FULL DATASET: using the bundled subset {mini.name} "
            f"({len(mini.train.labels)} training, {len(mini.test.labels)} test images). {error}",
            file=sys.stderr,
        )
        return mini


def _bundled(name: str) -> Dataset:
    file = resources.files("jaxae.data.bundled") / f"{name.removesuffix(MINI_SUFFIX)}.npz"
    with file.open("rb") as stream, np.load(stream) as arrays:
        train, test = (
            Split(arrays[f"{split}_images"], arrays[f"{split}_labels"].astype(np.int32))
            for split in ("train", "test")
        )
        return assemble(name, train, test, tuple(arrays["class_names"].tolist()))


def check_data_dir(run: Path, name: str, recorded: str | Path | None, given: Path | None) -> None:
    """UserError where a run's dataset lies in a folder that the user has not named.

    A run may come from a stranger, so it does not choose which folders are opened: a recorded one
    must be the user's default, or given now by --data-dir.
    """
    if given is not None or recorded is None or name in BUNDLED:
        return
    recorded = Path(recorded)
    if recorded.absolute() == data_directory(None):
        return
    start = "" if recorded.is_absolute() else ", relative to where it was started"
    raise UserError(
        f"{run} was trained on data in {recorded}{start}, which is not your data folder: give "
        f"--data-dir {recorded} if you trust what is in it"
    )


def data_directory(data_dir: str | Path | None) -> Path:
    """The folder of prepared sets, absolute: the one given, else the user's default."""
    chosen = (
        data_dir or os.environ.get("TFDS_DATA_DIR") or files.user_folder() / "tensorflow_datasets"
    )
    if re.match(r"\w[\w+.-]+:/", str(chosen)):  # one slash: pathlib folds two
        raise UserError(f"The data directory {chosen} is remote. Name a local one with --data-dir.")
    directory = _expanded(chosen)
    if directory.exists() and not directory.is_dir():
        raise UserError(f"The data directory {directory} is a file. Name a folder with --data-dir.")
    return directory


def _source_root(sources: str | Path | None) -> Path | None:
    chosen = sources or os.environ.get("JAXAE_SOURCES")
    if not chosen:
        return None
    root = _expanded(chosen)
    if not root.is_dir():
        raise UserError(
            f"The source folder {root} (--sources or JAXAE_SOURCES) does not exist. Name a folder "
            "with one subfolder of original archives a dataset, such as fashion_mnist."
        )
    return root


def _expanded(chosen: str | Path) -> Path:
    """An absolute path, in which ~ is the user's home."""
    try:
        return Path(chosen).expanduser().absolute()
    except RuntimeError:
        raise UserError(f"{chosen} is in a home that is not known: give a path without ~") from None


def _is_name(name: str) -> bool:
    """Whether this is a TFDS name, perhaps with a configuration, and so no path out of bounds."""
    return re.fullmatch(r"[a-z]\w*(/\w[\w.+-]*)?", name) is not None


def _obtainable(name: str, directory: Path, source_root: Path | None) -> Path | None:
    """The folder of the archives of `name`, or None where the network has them."""
    source = archives.find(name, source_root)
    problem = None if source else preparation.download_problem(name)
    if problem is None:
        return source
    where = f"{source_root} has no subfolder {name}" if source_root else "no --sources are given"
    raise archives.UnobtainableError(
        f"{name} is not prepared in {directory}, {where}, and it cannot be downloaded: {problem}. "
        f"Connect to the network, put the four archives in DIR/{name} and say --sources DIR, or "
        f"say --dataset {name}{MINI_SUFFIX} for the bundled subset."
    )


def _unprepared(name: str, directory: Path) -> UserError:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if name.split("/")[0] in known:
        return _missing_array_record(name) or UserError(
            f"{name} is not prepared in {directory}, and TFDS needs TensorFlow to prepare it: run "
            f'`pip install tensorflow && python -c "import tensorflow_datasets as tfds; '
            f"tfds.builder('{name}', data_dir='{directory}', file_format='array_record')"
            '.download_and_prepare()"`.'
        )
    nearest = difflib.get_close_matches(name.lower(), [*BUNDLED, *known], n=3)
    hint = f"Did you mean {' or '.join(nearest)}?" if nearest else "Look it up in TFDS's catalogue."
    return UserError(
        f"There is no dataset {name!r}: a name is one of TFDS's, such as mnist, or of the bundled "
        f"subsets {', '.join(BUNDLED)}. {hint}"
    )


def _missing_array_record(name: str) -> UserError | None:
    """The error for a prepared set where array_record is missing, else None."""
    try:
        importlib.import_module("array_record.python.array_record_module")
    except ImportError:
        return archives.UnobtainableError(
            f"{name} cannot be loaded: a set that TFDS prepares needs the package array_record, "
            "which is not installed and has no build for Windows; everything else works without "
            f"it: give --dataset {' or '.join(BUNDLED)}"
        )
    return None


@contextlib.contextmanager
def _lock(directory: Path, name: str) -> Iterator[str | None]:
    """Holds the lock of a set, so that one process prepares and decodes while others wait.

    Yields None, or what prevents locking where the directory cannot be written.
    """
    from filelock import FileLock, Timeout

    try:
        directory.mkdir(parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        # Mode: other users lock the same file.
        lock = FileLock(directory / f".{name.replace('/', '.')}.lock", mode=0o666)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            print(f"jaxae: waiting for another process to prepare {name} ...", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        yield error.strerror
        return
    try:
        yield None
    finally:
        lock.release()


def _decode_and_cache(folder: Path, name: str) -> Dataset:
    if (folder / cache.FOLDER).exists():
        print(
            f"jaxae: the cache in {folder / cache.FOLDER} is damaged, or of another state of the "
            f"set: decoding {name} anew",
            file=sys.stderr,
        )
    dataset = preparation.decode(folder, name)
    try:
        cache.write(folder, dataset)
    except OSError as error:
        _say_uncached(folder, name, error.strerror)
    return dataset


def _say_uncached(folder: Path, name: str, problem: str | None) -> None:
    print(f"jaxae: no cache beside {folder} ({problem}): decoding {name} anew", file=sys.stderr)
