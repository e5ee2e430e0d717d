"""Part 1 of gpu.py: compares the first losses of all networks on this device with a CPU's."""

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax

import gpu_trainings as trainings
from experiment_files import default_workload
from gpu_rows import Row, attempt
from gpu_sizes import Sizes, tiled
from jaxae import family, train
from speed_workloads import CHUNKS

GOLDEN = Path(__file__).with_name("gpu_golden.json")

# For each column, the precision of JAX's matrix products and that of the networks.
PRECISIONS: dict[str, tuple[str | None, trainings.Precision]] = {
    "float32": ("float32", "float32"),
    "default": (None, "float32"),
    "bf16": (None, "bf16"),
}

PERTURBATION = 1e-6  # relative, of the initial parameters: about another device's rounding error


def correctness(sizes: Sizes) -> Iterator[Row]:
    """Yields each network's largest relative deviation from a CPU's losses, by precision."""
    golden = json.loads(GOLDEN.read_text())
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # XLA compiles most of the time
        jobs = {
            pool.submit(deviations, name, sizes, golden[name]): name
            for name in (*sizes.recipes, *sizes.members)
        }
        for job in as_completed(jobs):
            yield attempt(jobs[job], job.result)


def deviations(name: str, sizes: Sizes, golden: dict[str, Any]) -> Row:
    """Returns a network's row: its deviation in each precision, and the one allowed in float32."""
    state = _training_of(name, "float32").state  # parameters are float32 in every precision
    row: Row = {}
    for column in PRECISIONS:
        row |= attempt(name, partial(_deviate, name, sizes, column, golden["losses"], state))
    row["allowed"] = allowed = tolerance(golden)
    if not row.get("float32", float("nan")) <= allowed:
        row["float32 is"] = "WRONG"
    return row


def _deviate(
    name: str, sizes: Sizes, column: str, golden: Sequence[float], state: train.State
) -> Row:
    """Returns the deviation of a network's first losses in one precision."""
    products, precision = PRECISIONS[column]
    with jax.default_matmul_precision(products):
        training = _training_of(name, precision, state)
        losses = trainings.first_losses(training, _steps_of(name, sizes))
    return {column: trainings.deviation(losses, golden[: len(losses)])}


def tolerance(golden: dict[str, Any]) -> float:
    """Returns the deviation allowed in float32: ten times that of perturbed parameters."""
    return max(1e-5, 10 * golden["sensitivity"])


def _steps_of(name: str, sizes: Sizes) -> int:
    """Returns the number of losses of a network to compare."""
    return sizes.member_losses if name in family.FAMILY else sizes.recipe_losses


def _training_of(
    name: str, precision: trainings.Precision, state: train.State | None = None
) -> trainings.Training:
    """Returns a training of a recipe or a member, on as many images as the golden losses need."""
    if name in family.FAMILY:
        images = tiled(64 * Sizes.member_losses)
        return trainings.of_member(name, images, precision=precision, state=state)
    batch_size = min(128, default_workload(name, CHUNKS).batch_size)
    images = tiled(batch_size * Sizes.recipe_losses)
    return trainings.of_experiment(
        name, images, precision=precision, batch_size=batch_size, state=state
    )


def golden_losses() -> dict[str, dict[str, Any]]:
    """Returns all networks' first losses in float32, and how far a perturbation moves them."""
    names = (*Sizes.recipes, *Sizes.members)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return dict(zip(names, pool.map(_golden_of, names), strict=True))


def _golden_of(name: str) -> dict[str, Any]:
    """Returns a network's entry of the golden losses."""
    with jax.default_matmul_precision("float32"):
        training = _training_of(name, "float32")
        losses = trainings.first_losses(training, _steps_of(name, Sizes()))
        moved = trainings.first_losses(_perturbed(training), _steps_of(name, Sizes()))
    return {"losses": losses, "sensitivity": trainings.deviation(moved, losses)}


def _perturbed(training: trainings.Training) -> trainings.Training:
    """Returns the training with slightly changed initial parameters."""
    leaves, structure = jax.tree.flatten(training.state.params)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    moved = [
        leaf * (1 + PERTURBATION * jax.random.normal(key, leaf.shape))
        for leaf, key in zip(leaves, keys, strict=True)
    ]
    params = jax.tree.unflatten(structure, moved)
    return replace(training, state=replace(training.state, params=params))
