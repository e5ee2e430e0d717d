"""A user's own data: read from a path, decoded once, and kept in the user's cache folder.

The kind of the data chooses the reader. The cache also remembers the path, so that the data of a
run are found again although its config holds no path.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from jaxae import files
from jaxae.data import cache, stored
from jaxae.data.dataset import Dataset, Split, assemble, sides_of
from jaxae.data.locks import lock
from jaxae.data.readers import ARRAYS, PICTURES, TABLES, hub, open_dataset, size_and_time
from jaxae.data.readers import name_of as name_of_path
from jaxae.data.reading import Opened, Reader, Reading
from jaxae.errors import UserError

_READERS = {".npz": ARRAYS, ".npy": ARRAYS, ".csv": TABLES, ".tsv": TABLES}


@dataclass(frozen=True)
class _Place:
    """Where data lies, and how it is read."""

    given: str  # absolute, as in a cache's metadata
    name: str  # what configs and captions show
    identify: Callable[[], str]  # returns a digest that changes when the data does
    open: Callable[[Reading], Opened]


def is_path(name: str) -> bool:
    """Returns whether a dataset's name can only be a path, or begins with hf:."""
    return (
        name.startswith((hub.PREFIX, ".", "~", "/", "\\"))
        or name.endswith(("/", os.sep))
        or Path(name).is_absolute()
        or Path(name).suffix.lower() in _READERS
    )


def name_of(given: str) -> str:
    """Returns the name of data for configs and captions: the last part of its path."""
    if given.startswith(hub.PREFIX):
        place = hub.locate(given)
        return str(replace(place, folder=None))
    return name_of_path(_expand(given))


def shown(given: str) -> str:
    """Returns a dataset's name as configs show it: of a path that can be no TFDS name, its end."""
    try:
        return name_of(given) if is_path(given) else given
    except UserError:  # of a command that cannot have read data
        return given


def load(given: str, reading: Reading) -> Dataset:
    """Returns the data at a path from the cache, or reads and caches it; describes it on stderr.

    If the cache cannot be written, the arrays are in memory. Raises `UserError` if there is no data
    that can be read.
    """
    dataset = _load(_find_place(given), reading)
    print(f"jaxae: {_describe(dataset)}", file=sys.stderr)
    return dataset


def _load(place: _Place, reading: Reading) -> Dataset:
    folder = cache_folder()
    stem = re.sub(r"[^\w.-]", "_", place.name)[:60]
    key = hashlib.sha256(f"{place.given}\0{reading}".encode("utf-8", "surrogateescape")).hexdigest()
    cached = folder / f"{stem}-{key[:16]}"
    found = cache.read_arrays(cached, place.name, place.identify(), own=True)
    if found is not None:
        return found
    with lock(folder, cached.name, place.name) as problem:
        if problem is None:  # another process may have cached it in the meantime
            identity = place.identify()
            found = cache.read_arrays(cached, place.name, identity, own=True)
            return found or _read_and_cache(place, reading, cached, identity)
    print(f"jaxae: no cache in {folder} ({problem}): reading {place.name} again", file=sys.stderr)
    return read(place.name, place.open(reading), None)


def find(name: str, fingerprint: str) -> str | None:
    """Returns the path of data of a name, as the cache remembers it; None if nothing is there.

    Data of this fingerprint come first; other data of the same name may have changed since.
    """
    same_name = []
    try:
        folders = sorted(cache_folder().iterdir())
    except OSError:  # there is no cache, or not for this user
        return None
    for folder in folders:
        try:
            metadata = cache.read_metadata(folder)
            given, recorded = metadata["given"], metadata["fingerprint"]
            fits = name_of(given) == name and _exists(given)
        except Exception:  # missing or damaged, which is noticed when it is loaded, or data is gone
            continue
        if fits and recorded == fingerprint:
            return given
        if fits:
            same_name.append(given)
    return same_name[0] if len(set(same_name)) == 1 else None


def cache_folder() -> Path:
    """Returns the folder of the arrays that were read from the user's own data."""
    return files.cache_folder() / "datasets"


def _expand(path: str) -> Path:
    """Returns an absolute path without "..", which keeps the names of links."""
    try:
        return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(
            f"--dataset {path}: this path cannot be read ({error}): give another"
        ) from None


def _exists(given: str) -> bool:
    """Returns whether there is something at an absolute path; a name on a hub always counts."""
    return given.startswith(hub.PREFIX) or os.path.exists(given)  # noqa: PTH110


def _find_place(given: str) -> _Place:
    """Finds the data at a path; raises `UserError` if there is none, or no reader for it."""
    name = name_of(given)
    if given.startswith(hub.PREFIX):
        found = hub.locate(given)
        folder = found.folder and _expand(str(found.folder))
        source = str(replace(found, folder=folder))
        return _Place(source, name, partial(hub.identify, source), partial(open_dataset, source))
    path = _expand(given)
    kinds = "a folder of pictures, or a file that ends in " + ", ".join(_READERS)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise UserError(
            f"--dataset {given}: there is no such file or folder; give {kinds}"
        ) from None
    except (OSError, ValueError) as error:  # such as a folder that the user may not enter
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"--dataset {given}: it cannot be read ({reason}); give {kinds}") from None
    reader = PICTURES if stat.S_ISDIR(mode) else _READERS.get(path.suffix.lower())
    if reader is None or not (stat.S_ISDIR(mode) or stat.S_ISREG(mode)):
        raise UserError(f"--dataset {given}: this kind of file cannot be read; give {kinds}")
    return _Place(str(path), name, partial(_identify, path, reader), partial(reader.open, path))


def _identify(path: Path, reader: Reader) -> str:
    """Returns a digest of the names, sizes and times of the data's files."""
    states = [(str(file), size_and_time(file)) for file in reader.files(path)]
    return hashlib.sha256(repr(states).encode("utf-8", "surrogateescape")).hexdigest()


def _read_and_cache(place: _Place, reading: Reading, cached: Path, identity: str) -> Dataset:
    """Reads data into a new cache, and returns it from there; without room, from memory."""
    opened = place.open(reading)
    try:
        with cache.staging(cached) as staging:
            dataset = read(place.name, opened, staging)
            cache.write_metadata(staging, dataset, identity, given=place.given)
            nothing = Split(np.zeros(0), None)
            # Windows does not rename files that are mapped.
            dataset = replace(dataset, train=nothing, test=nothing)
        return cache.mapped(cached, dataset)
    except OSError as error:
        reason = error.strerror or error
        print(
            f"jaxae: no cache in {cached.parent} ({reason}): reading {place.name} into memory",
            file=sys.stderr,
        )
        return read(place.name, opened, None)


def read(name: str, opened: Opened, folder: Path | None) -> Dataset:
    """Reads all examples into arrays, in files of a folder or in memory, and scales them."""
    arrays, seen = {}, {}
    for split, count in opened.counts.items():
        path = folder and folder / f"{split}_images.npy"
        arrays[split] = _new_array(path, (count, *opened.shape), opened.dtype)
        seen[split] = np.zeros(count, bool)
    for piece in opened.read():
        arrays[piece.split][piece.positions] = piece.examples
        stored.release(arrays[piece.split])
        seen[piece.split][piece.positions] = True
    for split, there in seen.items():
        if not there.any():
            raise UserError(
                f"none of the {len(there)} {split} examples of {name} can be read: give data "
                "of which some can"
            )
        if not there.all():
            arrays[split] = _keep(folder, split, arrays[split], np.flatnonzero(there))
    scaling = opened.scaling and opened.scaling(arrays["train"])
    if scaling is not None:
        for array in arrays.values():
            for part in stored.parts(array):
                scaled = scaling.apply(array[part])
                array[part] = scaled.clip(0, 1) if opened.clipped else scaled
    labels = None
    if opened.labels is not None:
        labels = {split: opened.labels[split][there] for split, there in seen.items()}
        if folder is not None:
            for split, values in labels.items():
                np.save(folder / f"{split}_labels.npy", values)
    train, test = (
        Split(arrays[split], None if labels is None else labels[split])
        for split in ("train", "test")
    )
    return assemble(name, train, test, opened.class_names, scaling=scaling, own=True)


def _new_array(path: Path | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Returns a new array, mapped to a file whose room on disk is reserved, or in memory."""
    if path is not None:
        return stored.create(path, shape, dtype)
    try:
        return np.empty(shape, dtype)
    except (MemoryError, ValueError):
        raise UserError(
            f"{shape[0]} examples of shape {shape[1:]} do not fit in memory, and the folder "
            f"{cache_folder()} cannot be written: make it writable, or give a smaller --size"
        ) from None


def _keep(folder: Path | None, split: str, array: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Returns an array of some examples, in place of the array in a folder, or in memory."""
    if folder is None:
        return array[positions]
    kept = _new_array(folder / "kept.npy", (len(positions), *array.shape[1:]), array.dtype)
    for part in stored.parts(kept):
        kept[part] = array[positions[part]]
        stored.release(array)
    (folder / "kept.npy").replace(folder / f"{split}_images.npy")
    return kept


def _describe(dataset: Dataset) -> str:
    """Returns a line about data that was read."""
    shape, classes = dataset.train.images.shape[1:], len(dataset.class_names)
    kind = f"vectors of {shape[0]} numbers" if len(shape) == 1 else f"images of {sides_of(shape)}"
    return (
        f"{dataset.name}: {len(dataset.train.images):,} training and {len(dataset.test.images):,} "
        f"test {kind}, {f'in {classes} classes' if classes else 'without labels'}"
    )
