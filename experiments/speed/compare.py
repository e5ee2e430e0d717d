"""Times all six recipes, compares them with PyTorch and with their sources, and scales their sizes.

    python experiments/speed/compare.py

Each measurement is a process of its own, and the contenders take turns. Writes its tables and a
description of the machine to results/speed.md. pip install ".[bench]" installs the peers; the page
reports which were missing. The whole comparison takes hours; the options choose parts of it.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from experiment_files import default_workload
from jaxae import data
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.files import write_text
from speed_machine import describe_machine
from speed_page import Growth, Page, page_text
from speed_processes import Contender, Place, images_file, measure_rounds
from speed_tables import OURS, PYTORCH, SOURCES, Row
from speed_workloads import CHUNKS, Measurement, NotMeasured, Workload

# Timed steps per process, of about equal total work; the tables that scale a size scale them too.
STEPS = {
    "fashion": 200,
    "denoise": 50,
    "latent2d": 50,
    "latent3d": 1000,
    "conv": 200,
    "deep": 400,
}
_FROM_KERAS = ("fashion", "denoise", "latent2d")

_Recipe = Literal["fashion", "denoise", "latent2d", "latent3d", "conv", "deep"]
_Peer = Literal["pytorch", "sources"]
_Scale = Literal["batch", "code", "images", "replicas", "devices"]


@dataclass(frozen=True)
class Options:
    """Times the recipes and their peers, and writes a page of tables."""

    # --- comparison ---
    # recipes to time
    recipes: tuple[_Recipe, ...] = ("fashion", "denoise", "latent2d", "latent3d", "conv", "deep")
    # contenders to compare with jaxae; give none to time jaxae alone
    peers: tuple[_Peer, ...] = ("pytorch", "sources")
    pairs: int = 5  # number of rounds in which all contenders of a recipe take turns
    # number of steps to time in each process (default: as suits the recipe)
    steps: int | None = None
    keras_python: Path | None = None  # Python interpreter that has Keras (default: this one)

    # --- scaling ---
    # quantities that further tables scale
    scaling: tuple[_Scale, ...] = ("batch", "code", "images", "replicas", "devices")
    scaling_recipes: tuple[_Recipe, ...] = ("fashion", "conv")  # recipes in the tables that scale
    scaling_pairs: int = 1  # number of rounds for each row of the tables that scale

    # --- output ---
    out: Path = Path("results/speed.md")  # file to write the tables to


def main(options: Options) -> None:
    """Measures the recipes, then their growth; writes the page after each measurement."""
    _check_options(options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    page = Page(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        place = Place(Path(folder), options.keras_python or Path(sys.executable))
        np.save(images_file(place), data.load("mnist_mini").train.images)
        for recipe in options.recipes:
            workload = default_workload(recipe, options.steps or STEPS[recipe])
            pilot = _try_pytorch(place, workload, options)
            rivals = _contenders(recipe, pilot, options.peers)
            row = _train(place, workload, rivals, options.pairs)
            page = replace(page, rows=[*page.rows, row], pilots={**page.pilots, recipe: pilot})
            write_text(options.out, page_text(page))
        for scale in options.scaling:
            for row in page.rows:
                recipe = row.workload.recipe
                if recipe not in options.scaling_recipes:
                    continue
                rivals = _contenders(recipe, page.pilots[recipe], options.peers)
                growth = _grow(place, scale, row, rivals, options.scaling_pairs)
                page = replace(page, growths=[*page.growths, *growth])
                write_text(options.out, page_text(page))
    print(page_text(page))


def _check_options(options: Options) -> None:
    """Raises `UserError` for the first option that is out of range."""
    if not options.recipes:
        raise UserError("--recipes names none: give one or more")
    for name in ("pairs", "scaling_pairs"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: give 1 or more")
    if options.steps is not None and options.steps < CHUNKS:
        raise UserError(f"--steps {options.steps}: give {CHUNKS} or more")


def _try_pytorch(
    place: Place, workload: Workload, options: Options
) -> Measurement | NotMeasured | None:
    """Tries each PyTorch variant briefly in one process; returns None if PyTorch is not a peer."""
    if "pytorch" not in options.peers:
        return None
    pilot = Contender(PYTORCH, "pytorch_worker.py", "pilot")
    brief = replace(workload, steps=max(CHUNKS, workload.steps // 4))
    (outcomes,) = measure_rounds(place, brief, [pilot], 1)
    return outcomes[PYTORCH]


def _contenders(
    recipe: str, pilot: Measurement | NotMeasured | None, peers: Sequence[_Peer]
) -> list[Contender]:
    """Returns jaxae and the chosen peers, in the order in which they take turns."""
    ours = Contender(OURS, "jaxae_worker.py")
    fastest = pilot.variant if isinstance(pilot, Measurement) else "eager"
    pytorch = Contender(PYTORCH, "pytorch_worker.py", fastest)
    keras = Contender(SOURCES, "keras_worker.py", "fit")
    loader = Contender(SOURCES, "pytorch_worker.py", "loader")
    by_name = {"pytorch": pytorch, "sources": keras if recipe in _FROM_KERAS else loader}
    return [ours, *(by_name[peer] for peer in peers)]


def _train(place: Place, workload: Workload, rivals: Sequence[Contender], rounds: int) -> Row:
    """Measures a row; raises `UserError` if jaxae could not be measured."""
    row = Row(workload, measure_rounds(place, workload, rivals, rounds))
    if not row.measured(OURS):
        raise UserError(f"{workload.label} could not be measured: {row.reason(OURS)}")
    return row


def _grow(
    place: Place, scale: _Scale, row: Row, rivals: Sequence[Contender], rounds: int
) -> list[Growth]:
    """Measures how a recipe's cost grows with one size, in jaxae and, if possible, PyTorch."""
    on_cpu = row.measured(OURS)[0].device == "cpu"
    if scale == "devices" and not on_cpu:  # the devices are virtual ones of the CPU
        return []
    alone = scale in ("replicas", "devices")
    rivals = [rival for rival in rivals if rival.name in ((OURS,) if alone else (OURS, PYTORCH))]
    rows = [_train(place, workload, rivals, rounds) for workload in _sizes(scale, row.workload)]
    return [Growth(scale, alone, rows)] if rows else []


def _sizes(scale: _Scale, base: Workload) -> list[Workload]:
    """Returns a table's workloads: one size changes, and the steps keep the work about equal."""
    match scale:
        case "batch":
            return [
                replace(
                    base,
                    batch_size=batch_size,
                    images=max(base.images, batch_size),
                    steps=max(CHUNKS, base.steps * base.batch_size // batch_size),
                )
                for batch_size in (32, 128, 512, 2048, 8192)
            ]
        case "code":
            codes = () if base.latent is None else (2, 8, 32, 128, 512)
            return [replace(base, latent=code) for code in codes]
        case "images":
            return [replace(base, images=images) for images in (1_000, 10_000, 60_000)]
        case "replicas":
            return [
                replace(base, replicas=replicas, steps=max(CHUNKS, base.steps // replicas))
                for replicas in (1, 2, 4, 8, 16, 32, 64)
            ]
        case "devices":
            steps = max(CHUNKS, base.steps // 8)
            eight = replace(base, replicas=8, steps=steps)
            return [replace(eight, devices=devices) for devices in (1, 2, 4, 8)]


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
