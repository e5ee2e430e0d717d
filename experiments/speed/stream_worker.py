"""Measures one part of the page of training from disk, and prints it as JSON. stream.py starts it.

    python stream_worker.py PART FOLDER SECONDS ROUNDS [DATA_DIR]

FOLDER holds pictures.npy. "make" caches it and times reading the cache. "fashion" and "conv" train
on it from memory and from disk. "decoding", "png fashion" and "png conv" use MNIST in DATA_DIR.
"""

import io
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import jax
import numpy as np
from PIL import Image
from tensorflow_datasets.proto import tf_example_pb2

from experiment_files import load_experiment
from jaxae import data, runs, train
from speed_workloads import host_memory

PICTURES = "pictures.npy"
_IMAGES = 20_000  # to measure decoding with
_SKIPPED = 3  # pieces after each change, of which two were read before it

_Way = tuple[Iterator[int], Callable[[], object]]
"""A training's pieces, and what to do before they are timed."""


def main() -> None:
    """Measures the part that the command line names."""
    part, folder, seconds, rounds, *more = sys.argv[1:]
    pictures = str(Path(folder) / PICTURES)
    if part == "make":
        result: Any = _make(pictures)
    elif part == "decoding":
        result = _decode(Path(more[0]))
    elif part.startswith("png "):
        result = _compare(_of_png(part.removeprefix("png "), Path(more[0])), seconds, rounds)
    else:
        result = _train(part, pictures, seconds, rounds)
    print(json.dumps(result))


def _make(pictures: str) -> dict[str, float]:
    """Caches the pictures; times a sequential read of the cache from the disk and from memory."""
    started = time.perf_counter()
    streamed = data.load(pictures, stream=True)
    result = {"seconds": time.perf_counter() - started, "peak": host_memory()}
    drop = _dropper(streamed)
    drop()
    for name in ("disk", "memory"):
        buffer, total = bytearray(2**24), 0
        started = time.perf_counter()
        with _file_of(streamed).open("rb", buffering=0) as file:
            while count := file.readinto(buffer):
                total += count
        result[name] = total / (time.perf_counter() - started)
    return {**result, "bytes": total, "images": len(streamed.train.images)}


def _train(recipe: str, pictures: str, seconds: str, rounds: str) -> dict[str, Any]:
    """Trains on the cache; the peak memory is that before anything is trained from memory."""
    streamed = data.load(pictures, stream=True)
    drop = _dropper(streamed)
    disk = _pieces(recipe, streamed.train)
    _measure(disk, float(seconds), drop)
    peak = host_memory()
    images = np.load(_file_of(streamed))
    ways: Mapping[str, _Way] = {
        "memory": (_pieces(recipe, data.Split(images, None)), lambda: None),
        "disk, cached by the system": (disk, lambda: None),
        "disk, not cached": (disk, drop),
    }
    return {"peak": peak, "ways": _compare(ways, seconds, rounds)}


def _of_png(recipe: str, data_dir: Path) -> Mapping[str, _Way]:
    """Returns trainings on MNIST in memory, from its cache, and decoded in every epoch."""
    decoded = {n: _uncached(data_dir, n).train for n in (0, 1, 2)}
    load = partial(data.load, "mnist", data_dir=data_dir)
    ways = {"memory": load().train, "cache": load(stream=True).train}
    for workers, split in decoded.items():
        name = f"PNG, {workers} process{'es' * (workers > 1)}" if workers else "PNG, a thread"
        ways[name] = split
    return {name: (_pieces(recipe, split), lambda: None) for name, split in ways.items()}


def _compare(ways: Mapping[str, _Way], seconds: str, rounds: str) -> dict[str, list[float]]:
    """Returns images per second by way of reading, in rounds in which the ways take turns."""
    for pieces, _ in ways.values():
        next(pieces)  # compiles
    measured: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(int(rounds)):
        for name, (pieces, prepare) in ways.items():
            measured[name].append(_measure(pieces, float(seconds), prepare))
    return measured


def _measure(pieces: Iterator[int], seconds: float, prepare: Callable[[], object]) -> float:
    """Returns the images per second of the next pieces, for so many seconds."""
    prepare()
    for _ in range(_SKIPPED):
        next(pieces)
    images, started = 0, time.perf_counter()
    while (taken := time.perf_counter() - started) < seconds:
        images += next(pieces)
    return images / taken


def _pieces(recipe_name: str, split: data.Split) -> Iterator[int]:
    """Trains for a long time, in chunks of 32 steps; yields the number of images in each."""
    experiment = load_experiment(recipe_name)
    options = experiment.Options()
    shape = split.images.shape[1:]
    recipe: runs.Recipe = experiment.make_recipe(options, shape)
    state = runs.initial_state(options.run, recipe.network.model, recipe.optimizer, shape)
    before = 0
    for progress in train.fit(
        state,
        train.Examples(split.images),
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=1000,
        batch_size=options.run.batch_size,
        chunk_steps=32,
    ):
        jax.block_until_ready(progress.state)
        yield (progress.steps - before) * options.run.batch_size
        before = 0 if progress.finished_epoch else progress.steps


def _decode(data_dir: Path) -> dict[str, float]:
    """Returns seconds to cache MNIST, and images per second of Pillow and of readers of MNIST."""
    columns: Any = [_uncached(data_dir, n).train.images for n in (0, 1, 2)]
    proto: Any = tf_example_pb2
    pictures = [
        proto.Example.FromString(record).features.feature["image"].bytes_list.value[0]
        for record in columns[0].split.source.source.__getitems__(range(_IMAGES))
    ]
    started = time.perf_counter()
    for picture in pictures:
        Image.open(io.BytesIO(picture)).load()
    result = {"Pillow alone": _IMAGES / (time.perf_counter() - started)}
    indices = np.random.default_rng(0).permutation(len(columns[0]))[:_IMAGES]
    for workers, column in enumerate(columns):
        with data.open_reader(column.split) as read:
            read(indices[:100], 100)  # waits until the processes have started
            started = time.perf_counter()
            read(indices, _IMAGES)
            result[str(workers)] = _IMAGES / (time.perf_counter() - started)
    started = time.perf_counter()
    dataset = data.load("mnist", data_dir=data_dir, stream=True)
    result["seconds"] = time.perf_counter() - started
    result["images"] = len(dataset.train.images) + len(dataset.test.images)
    return result


def _uncached(data_dir: Path, workers: int) -> data.Dataset:
    """Removes the cache of MNIST, and returns MNIST as if the disk had no room for another."""
    load = partial(data.load, "mnist", data_dir=data_dir, stream=True, workers=workers)
    column: Any = load().train.images
    shutil.rmtree(column.split.source.path.parent)
    with mock.patch("shutil.disk_usage", return_value=SimpleNamespace(free=0)):
        return load()


def _file_of(dataset: data.Dataset) -> Path:
    """Returns the file that a streamed dataset's images are in."""
    column: Any = dataset.train.images
    return column.split.source.path


def _dropper(dataset: data.Dataset) -> Callable[[], None]:
    """Returns a function that has the system forget what it caches of a dataset's images."""
    path = _file_of(dataset)

    def drop() -> None:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)

    return drop


if __name__ == "__main__":
    main()
