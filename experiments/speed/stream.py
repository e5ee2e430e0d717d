"""Compares training from disk with training from memory, on the same images in the same order.

    python experiments/speed/stream.py

Writes the images per second of whole epochs to results/streaming.md. About five minutes on two
cores.
"""

import statistics
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax

from experiment_files import load_experiment
from jaxae import data, runs, train
from jaxae.cli import run_tool
from speed_machine import describe_machine
from speed_tables import markdown, spread


@dataclass(frozen=True)
class Options:
    """Compares streamed training with training from memory."""

    # --- timing ---
    recipes: tuple[str, ...] = ("fashion", "conv")  # names of the experiments to time
    rounds: int = 3  # number of rounds in which all ways of reading take turns

    # --- data ---
    dataset: str = "mnist"  # name of the TFDS dataset to train on
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None
    workers: tuple[int, ...] = (0, 2)  # numbers of processes that read images; 0 uses threads

    # --- output ---
    out: Path = Path("results/streaming.md")  # file to write the table to


@dataclass(frozen=True)
class _Epoch:
    """One timed epoch."""

    images_per_second: float
    loss: float


def main(options: Options) -> None:
    """Measures training from memory and from disk in turns, and writes the page."""
    load = partial(data.load, options.dataset, data_dir=options.data_dir, sources=options.sources)
    load(stream=True)  # prepares the dataset
    splits = {"memory": load().train}
    for workers in options.workers:
        name = f"disk, {workers} processes" if workers else "disk, threads"
        splits[name] = load(stream=True, workers=workers).train
    rows = []
    for recipe in options.recipes:
        measured: dict[str, list[_Epoch]] = {name: [] for name in splits}
        for _ in range(options.rounds):
            for name, split in splits.items():
                measured[name].append(_second_epoch(recipe, split))
                print(recipe, name, measured[name][-1], flush=True)
        memory = [epoch.images_per_second for epoch in measured["memory"]]
        for name, epochs in measured.items():
            speeds = [epoch.images_per_second for epoch in epochs]
            ratios = [a / b for a, b in zip(speeds, memory, strict=True)]
            rows.append(
                [
                    recipe,
                    name,
                    f"{statistics.median(speeds):,.0f}",
                    spread(ratios),
                    f"{statistics.median(epoch.loss for epoch in epochs):.6g}",
                ]
            )
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(_page(options, rows))


def _second_epoch(recipe_name: str, split: data.Split) -> _Epoch:
    """Trains two epochs and times the second; the first compiles."""
    experiment = load_experiment(recipe_name)
    options = experiment.Options()
    shape = split.images.shape[1:]
    recipe: runs.Recipe = experiment.make_recipe(options, shape)
    state = runs.initial_state(options.run, recipe.network.model, recipe.optimizer, shape)
    started, metrics = 0.0, {}
    for progress in train.fit(
        state,
        runs.of_split(split),
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=2,
        batch_size=options.run.batch_size,
        chunk_steps=32,
    ):
        jax.block_until_ready(progress.state)
        metrics = progress.metrics
        if progress.finished_epoch and progress.epoch == 1:
            started = time.perf_counter()
    seconds = time.perf_counter() - started
    return _Epoch(len(split.images) / seconds, float(metrics["loss"]))


def _page(options: Options, rows: list[list[str]]) -> str:
    """Returns the text of the page."""
    head = ["recipe", "images from", "images/s", "ratio to memory, by round", "train loss"]
    lines = [
        "# Training from disk",
        "",
        "`python experiments/speed/stream.py` makes this page. It times the second epoch of a fit",
        f"in chunks of 32 steps on {options.dataset}, whose images are PNG files in array_record.",
        f"The table shows medians over {options.rounds} rounds, and for ratios also the smallest",
        "and the largest. Equal losses mean that the images came in the same order.",
        "",
        *(f"- {line}" for line in describe_machine()),
        "",
        markdown(head, rows),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
