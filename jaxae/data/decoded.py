"""Prepared sets as arrays: decoded once into their cache, or on each load if it has no room."""

from __future__ import annotations

import importlib
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from jaxae.data import bundled, cache, prepared, streaming
from jaxae.data.dataset import Dataset
from jaxae.data.locks import lock


def load(
    folder: Path, name: str, directory: Path, *, label: str | None, stream: bool, workers: int
) -> Dataset:
    """Returns the set that is prepared in `folder`, with the options of `data.load`.

    Its lock is in `directory`. Without a cache, a line on stderr says why.
    """
    cached, problem = _cached(folder, name, directory, label, workers)
    if cached is not None and stream:
        identity = prepared.stream_fingerprint(folder, label)
        return replace(streaming.stream_arrays(cached), fingerprint=identity)
    if cached is not None:
        return cached
    when = "in every epoch" if stream else "again"
    print(f"jaxae: no cache beside {folder} ({problem}): decoding {name} {when}", file=sys.stderr)
    if stream:
        return prepared.open_stream(folder, name, workers, label)
    return prepared.decode(folder, name, label, workers=workers)


def _cached(
    folder: Path, name: str, directory: Path, label: str | None, workers: int
) -> tuple[Dataset | None, str | None]:
    """Returns a prepared set from its cache, which is made first if it can be; or the problem."""
    found = cache.read(folder, name, label)
    if found is not None:
        return found, None
    check_array_record(name)
    with lock(directory, prepared.split_version(name)[0]) as problem:
        if problem is not None:
            return None, problem
        try:  # another process may have cached it in the meantime
            return cache.read(folder, name, label) or _decode_and_cache(
                folder, name, label, workers
            ), None
        except OSError as error:
            return None, error.strerror or str(error)


def _decode_and_cache(folder: Path, name: str, label: str | None, workers: int) -> Dataset:
    """Decodes a set into its cache; raises `OSError` if it cannot be written, and leaves no files.

    The set is decoded before the first epoch rather than in it: from its first record to its last,
    in all cores, so that it is complete and verified before anything is trained on it.
    """
    place = cache.place_of(folder, label)
    if place.exists():
        print(
            f"jaxae: the cache in {place} is damaged, or the dataset has changed: "
            f"decoding {name} again",
            file=sys.stderr,
        )
        shutil.rmtree(place, ignore_errors=True)  # now, because the new one may need its room
    with cache.staging(place) as staging:
        dataset = prepared.decode(folder, name, label, into=staging, workers=workers)
        cache.write_metadata(staging, dataset, cache.identity(folder, label))
    return cache.mapped(place, dataset)


def check_array_record(name: str) -> None:
    """Raises `UnobtainableError` if array_record, which prepared sets need, is not installed."""
    try:
        importlib.import_module("array_record.python.array_record_module")
    except ImportError:
        raise prepared.UnobtainableError(
            f"{name} cannot be loaded: a set that TFDS prepares needs the package array_record, "
            "which is not installed and has no build for Windows; everything else works without "
            f"it: give --dataset {' or '.join(bundled.NAMES)}"
        ) from None
