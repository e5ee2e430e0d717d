"""Compares training from disk with training from memory, on the same images.

    python experiments/speed/stream.py

Writes images per second and peak memory to results/streaming.md. The images are those of the
bundled subsets, shifted, in a temporary file of 4.7 GB, and MNIST for the decoding of PNG. About
six minutes on two cores, with 10 GB free on the disk of temporary files and 12 GB of memory.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxae import data
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.pages import markdown_table
from speed_machine import describe_machine
from speed_tables import spread
from stream_worker import PICTURES

_WORKER = Path(__file__).with_name("stream_worker.py")
_SETS = ("mnist_mini", "fashion_mnist_mini")


@dataclass(frozen=True)
class Options:
    """Compares streamed training with training from memory."""

    # --- timing ---
    recipes: tuple[str, ...] = ("fashion", "conv")  # names of the experiments to time
    rounds: int = 3  # number of rounds in which all ways of reading take turns
    seconds: float = 3.0  # seconds to time each way for, in each round
    parts: tuple[str, ...] = ()  # the parts to measure now (default: those not in --work yet)

    # --- data ---
    images: int = 6_000_000  # number of images of 28x28 pixels; a tenth is held out for testing
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None
    # folder to keep the images and results of parts in (default: a temporary one)
    work: Path | None = None

    # --- output ---
    out: Path = Path("results/streaming.md")  # file to write the page to


def main(options: Options) -> None:
    """Measures each part in a process of its own, and writes the page if all are there."""
    if options.work is not None:
        options.work.mkdir(parents=True, exist_ok=True)
        _measure(options, options.work)
        return
    with tempfile.TemporaryDirectory() as folder:
        _measure(options, Path(folder))


def _measure(options: Options, work: Path) -> None:
    """Measures the parts whose results are not in a folder yet."""
    names = ["make", *options.recipes, "decoding", *(f"png {name}" for name in options.recipes)]
    for name in options.parts:
        if name not in names:
            raise UserError(f"--parts {name}: give some of {', '.join(names)}")
    for name in options.parts or names:
        if not _results(work, name).exists():
            _measure_part(options, work, name)
    if all(_results(work, name).exists() for name in names):
        results = {name: json.loads(_results(work, name).read_text()) for name in names}
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(_page(options, results))


def _results(work: Path, part: str) -> Path:
    return work / f"{part}.json"


def _measure_part(options: Options, work: Path, part: str) -> None:
    """Runs the worker for a part, and keeps its results."""
    pictures, mnist = work / PICTURES, []
    if part == "decoding" or part.startswith("png "):
        given = options.data_dir
        streamed = data.load("mnist", data_dir=given, sources=options.sources, stream=True)
        column: Any = streamed.train.images
        mnist = [str(column.split.source.path.parents[3])]
    elif not pictures.exists():
        _write_pictures(pictures, options.images)
    process = subprocess.run(
        [
            *(sys.executable, str(_WORKER), part, str(work)),
            *(str(options.seconds), str(options.rounds), *mnist),
        ],
        env=os.environ | {"XDG_CACHE_HOME": str(work / "cache")},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    _results(work, part).write_text(process.stdout.splitlines()[-1])
    print(part, process.stdout.splitlines()[-1], flush=True)


def _write_pictures(path: Path, count: int) -> None:
    """Writes the bundled images, shifted in one direction by another distance each time."""
    bundled = np.concatenate([data.load(name).train.images for name in _SETS])
    unfinished = path.with_suffix(".unfinished")
    array = np.lib.format.open_memmap(unfinished, "w+", np.uint8, (count, *bundled.shape[1:]))
    for shift, start in enumerate(range(0, count, len(bundled))):
        part = array[start : start + len(bundled)]
        part[:] = np.roll(bundled[: len(part)], shift, axis=2)
    unfinished.rename(path)


def _page(options: Options, results: dict[str, Any]) -> str:
    """Returns the text of the page."""
    made, decoding = results["make"], results["decoding"]
    gigabytes, size = made["bytes"] / 1e9, made["bytes"] / made["images"]
    rows = []
    for recipe in options.recipes:
        ways = results[recipe]["ways"]
        for name in ways:
            peak = f"{results[recipe]['peak'] / 1e9:.2f} GB" if name != "memory" else ""
            rows.append([recipe, *_row(ways, name), peak])
    decoded = [[name, f"{decoding[key]:,.0f}"] for name, key in _READERS.items()]
    from_png = [
        [recipe, *_row(results[f"png {recipe}"], name)]
        for recipe in options.recipes
        for name in results[f"png {recipe}"]
    ]
    head = ["recipe", "images from", "images/s", "of memory's speed, by round"]
    lines = [
        "# Training from disk",
        "",
        "`python experiments/speed/stream.py` makes this page. Chunks of 32 steps are timed, for",
        "some seconds in each of several rounds in which the ways of reading take turns. Tables",
        "show medians, and for ratios also the smallest and the largest.",
        "",
        *(f"- {line}" for line in describe_machine()),
        "",
        "## A decoded set on disk",
        "",
        f"The cache of {made['images']:,} images of 28x28 pixels has {gigabytes:.2f} GB. Read from",
        f"its start to its end, the disk gives {_rate(made['disk'], size)}, and the system's cache",
        f"gives {_rate(made['memory'], size)}. Images that are not cached by the system are read",
        "one by one, in random order. Making the cache and checking it took "
        f"{made['seconds']:.0f} s and at most",
        f"{made['peak'] / 1e9:.2f} GB of memory; the table has the most memory of a process that",
        "loaded, checked and trained on it.",
        "",
        markdown_table([*head, "peak memory"], rows),
        "",
        "## PNG",
        "",
        f"MNIST as TFDS prepares it, in array_record. Its {decoding['images']:,} images were",
        f"decoded into a cache in {decoding['seconds']:.1f} s, after which training reads that. "
        "Images per second:",
        "",
        markdown_table(["decoder", "images/s"], decoded),
        "",
        "If the disk has no room for the cache, images are decoded in every epoch:",
        "",
        markdown_table(head, from_png),
    ]
    return "\n".join(lines) + "\n"


_READERS = {
    "Pillow alone, on one core": "Pillow alone",
    "jaxae, a thread": "0",
    "jaxae, 1 process": "1",
    "jaxae, 2 processes": "2",
}


def _rate(speed: float, size: float) -> str:
    """Formats bytes per second, also in images of a size."""
    return f"{speed / 1e9:.2f} GB/s or {speed / size:,.0f} images/s"


def _row(measured: dict[str, list[float]], name: str) -> list[str]:
    """Returns the cells for a way of reading: its name, images per second, and ratios to memory."""
    ratios = [a / b for a, b in zip(measured[name], measured["memory"], strict=True)]
    return [name, f"{statistics.median(measured[name]):,.0f}", spread(ratios)]


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
