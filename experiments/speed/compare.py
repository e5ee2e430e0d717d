"""Times all six recipes, compares them with PyTorch and with their sources, and scales their sizes.

    python experiments/speed/compare.py --quick
    python experiments/speed/compare.py
    python experiments/speed/compare.py --parts batch floor

Each measurement is a process of its own, and the contenders take turns. A round during which other
processes used the cores is repeated. Writes results/speed/MACHINE.md, and MACHINE.json beside it,
which keeps the parts that --parts leaves out. pip install ".[bench]" installs the peers; the page
reports which were missing. The first command takes ten minutes at most, the second takes hours.
"""

import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from experiment_files import default_workload
from jaxae import data, devices
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.files import write_text
from jaxae.runs import git_commit
from speed_machine import describe_hardware, machine_name, slug
from speed_page import page_text
from speed_processes import (
    Contender,
    Outcome,
    Place,
    images_file,
    last_error,
    measure_rounds,
    run_script,
)
from speed_records import Floor, Record, read_record, record_text
from speed_tables import ONE_BY_ONE, OURS, PYTORCH, SOURCES, Row
from speed_workloads import CHUNKS, Measurement, Workload

# Timed steps per process, of about equal total work; the tables that scale a size scale them too.
STEPS = {
    "fashion": 200,
    "denoise": 50,
    "latent2d": 50,
    "latent3d": 1000,
    "conv": 200,
    "deep": 400,
}
_QUICK_REPEATS = 400  # seconds after which --quick repeats no round, to end within ten minutes
_FROM_KERAS = ("fashion", "denoise", "latent2d")

_Recipe = Literal["fashion", "denoise", "latent2d", "latent3d", "conv", "deep"]
_Peer = Literal["pytorch", "sources"]
_Part = Literal["recipes", "batch", "code", "images", "replicas", "floor"]
_PARTS: tuple[_Part, ...] = ("recipes", "batch", "code", "images", "replicas", "floor")


@dataclass(frozen=True)
class Options:
    """Times the recipes and their peers, and writes a page of tables."""

    # --- comparison ---
    # parts to measure: the recipes, the growth with one size, what bounds the dense recipe
    # (default: all; with --quick, the recipes)
    parts: tuple[_Part, ...] = ()
    # measure at most ten minutes, or each other part in few sizes: three rounds, without the
    # sources, with PyTorch's three likeliest variants
    quick: bool = False
    # recipes to time
    recipes: tuple[_Recipe, ...] = ("fashion", "denoise", "latent2d", "latent3d", "conv", "deep")
    # contenders to compare with jaxae; give none to time jaxae alone
    peers: tuple[_Peer, ...] = ("pytorch", "sources")
    # number of rounds in which all contenders of a recipe take turns (default: 5; with --quick, 3)
    pairs: int | None = None
    # number of steps to time in each process (default: as suits the recipe)
    steps: int | None = None
    keras_python: Path | None = None  # Python interpreter that has Keras (default: this one)

    # --- scaling ---
    scaling_recipes: tuple[_Recipe, ...] = ("fashion", "conv")  # recipes in the tables that scale
    scaling_pairs: int = 1  # number of rounds for each row of the tables that scale

    # --- output ---
    # name of the page (default: the processor and its cores)
    machine: str | None = None
    out: Path = Path("results/speed")  # folder to write the page to


def main(options: Options) -> None:
    """Measures the parts, and writes the page after each row."""
    _check_options(options)
    options = settled(options)
    name = machine_name() if options.machine is None else options.machine
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{name}.json"
    record = read_record(file, describe_hardware())
    with tempfile.TemporaryDirectory() as folder:
        repeats_until = time.monotonic() + (_QUICK_REPEATS if options.quick else math.inf)
        keras = options.keras_python or Path(sys.executable)
        place = Place(Path(folder), keras, repeats_until)
        np.save(images_file(place), data.load("mnist_mini").train.images)
        for part in options.parts:
            for measured in _measure(part, place, record, options):
                record = measured
                write_text(file, record_text(record))
                write_text(file.with_suffix(".md"), page_text(record))
    print(page_text(record))


def _check_options(options: Options) -> None:
    """Raises `UserError` for the first option that is out of range."""
    if not options.recipes:
        raise UserError("--recipes names none: give one or more")
    for name in ("pairs", "scaling_pairs"):
        count = getattr(options, name)
        if count is not None and count < 1:
            raise UserError(f"--{name.replace('_', '-')} {count}: give 1 or more")
    if options.steps is not None and options.steps < CHUNKS:
        raise UserError(f"--steps {options.steps}: give {CHUNKS} or more")
    if options.machine is not None and options.machine != slug(options.machine):
        raise UserError(f"--machine {options.machine}: give lower-case letters, digits and hyphens")


def settled(options: Options) -> Options:
    """Returns the options with the defaults that depend on --quick."""
    if options.quick:
        peers = tuple(peer for peer in options.peers if peer == "pytorch")
        parts = options.parts or ("recipes",)
        return replace(options, parts=parts, peers=peers, pairs=options.pairs or 3)
    return replace(options, parts=options.parts or _PARTS, pairs=options.pairs or 5)


def _measure(part: _Part, place: Place, record: Record, options: Options) -> Iterator[Record]:
    """Measures a part, and yields the record after each row."""
    if part == "floor":
        yield replace(record, floor=_measure_floor(place))
        return
    recipes = options.recipes if part == "recipes" else options.scaling_recipes
    for recipe in recipes:
        for row in _rows(part, recipe, place, record, options):
            record = record.with_row(part, row)
            yield record


def _rows(
    part: _Part, recipe: _Recipe, place: Place, record: Record, options: Options
) -> Iterator[Row]:
    """Measures the rows of a recipe in a part."""
    base = default_workload(recipe, options.steps or STEPS[recipe])
    if part == "recipes":
        pilot = _try_pytorch(place, base, options)
        rivals = _contenders(recipe, pilot, options.peers)
        yield _train(place, base, rivals, options.pairs or 1, options, pilot)
        return
    if part == "replicas":
        pilot = None
        rivals = [
            Contender(OURS, "jaxae_worker.py"),
            Contender(ONE_BY_ONE, "jaxae_worker.py", alone=True),
        ]
    else:
        known = [row.pilot for row in record.rows("recipes") if row.workload.recipe == recipe]
        pilot = next(filter(None, known), None) or _try_pytorch(place, base, options)
        rivals = _contenders(recipe, pilot, [peer for peer in options.peers if peer == "pytorch"])
    for workload in _sizes(part, base, quick=options.quick):
        yield _train(place, workload, rivals, options.scaling_pairs, options, pilot)


def _try_pytorch(place: Place, workload: Workload, options: Options) -> Outcome | None:
    """Tries PyTorch's variants briefly in one process; returns None if PyTorch is not a peer."""
    if "pytorch" not in options.peers:
        return None
    pilot = Contender(PYTORCH, "pytorch_worker.py", "quick pilot" if options.quick else "pilot")
    brief = replace(workload, steps=max(CHUNKS, workload.steps // 4))
    return measure_rounds(place, brief, [pilot], 1, spare=1)[-1][PYTORCH]


def _contenders(recipe: str, pilot: Outcome | None, peers: Sequence[_Peer]) -> list[Contender]:
    """Returns jaxae and the chosen peers, in the order in which they take turns."""
    ours = Contender(OURS, "jaxae_worker.py")
    fastest = pilot.variant if isinstance(pilot, Measurement) else "eager"
    pytorch = Contender(PYTORCH, "pytorch_worker.py", fastest)
    keras = Contender(SOURCES, "keras_worker.py", "fit")
    loader = Contender(SOURCES, "pytorch_worker.py", "loader")
    by_name = {"pytorch": pytorch, "sources": keras if recipe in _FROM_KERAS else loader}
    return [ours, *(by_name[peer] for peer in peers)]


def _train(
    place: Place,
    workload: Workload,
    rivals: Sequence[Contender],
    rounds: int,
    options: Options,
    pilot: Outcome | None,
) -> Row:
    """Measures a row; raises `UserError` if jaxae could not be measured."""
    spare = 2 if options.quick else 2 * rounds
    row = Row(workload, measure_rounds(place, workload, rivals, rounds, spare), pilot, git_commit())
    if not row.measured(OURS):
        raise UserError(f"{workload.label} could not be measured: {row.reason(OURS)}")
    return row


def _measure_floor(place: Place) -> Floor:
    """Times the parts of the dense recipe with one thread and with all."""
    threads, loads = {}, []
    for count in sorted({1, devices.cores()}):
        done = run_script(
            "speed_floor.py", str(count), place.folder / "floor", Path(sys.executable)
        )
        if done.returncode:
            raise UserError(f"the floor could not be measured: {last_error(done.stderr)}")
        found = json.loads(done.stdout.splitlines()[-1])
        print(f"floor: {count} threads, load by others {found['others']}", flush=True)
        threads[str(count)] = found["rows"]
        loads += [found["others"]]
    known = [load for load in loads if load is not None]
    return Floor(git_commit(), threads, max(known, default=None))


def _sizes(part: _Part, base: Workload, *, quick: bool) -> list[Workload]:
    """Returns a table's workloads: one size changes, and the steps keep the work about equal."""
    match part:
        case "batch":
            return [
                replace(
                    base,
                    batch_size=batch_size,
                    images=max(base.images, batch_size),
                    steps=max(CHUNKS, base.steps * base.batch_size // batch_size),
                )
                for batch_size in ((32, 512, 8192) if quick else (32, 128, 512, 2048, 8192))
            ]
        case "code":
            codes = () if base.latent is None else (2, 8, 32, 128, 512)
            return [replace(base, latent=code) for code in codes]
        case "images":
            return [replace(base, images=images) for images in (1_000, 10_000, 60_000)]
        case _:  # replicas, in chunks of 10 steps or more, because each chunk has a fixed cost
            return [
                replace(base, replicas=replicas, steps=max(10 * CHUNKS, base.steps // replicas))
                for replicas in ((2, 8, 64) if quick else (2, 4, 8, 16, 32, 64))
            ]


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
