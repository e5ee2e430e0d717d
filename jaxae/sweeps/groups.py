"""Groups of cells that one compiled program trains side by side."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxae import data, devices, family, runs
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.sweeps.cells import Cell
from jaxae.train import Batch, take_step

_SHARE = 0.6  # of a device's memory that the cells of a group may take


def group_cells(cells: Sequence[Cell], most: int | None = None) -> list[list[Cell]]:
    """Returns the cells in groups that train side by side, in the order of their first cells.

    The cells of a group differ only in their seeds and in the numbers that a compiled program takes
    as values: the learning rate, and settings such as weights and noise.

    Args:
      cells: cells of any options.
      most: the number of cells in a group; by default as many as the device suits, as
        `cells_at_once` says.
    """
    alike: dict[Any, list[Cell]] = {}
    for cell in cells:
        alike.setdefault(_program_of(cell.options), []).append(cell)
    groups = []
    for members in alike.values():
        shared = members[0].options.run
        # Weights & Biases and Trackio track one run at a time.
        alone = shared.track in ("wandb", "trackio")
        size = 1 if alone else most or cells_at_once(shared.replicas)
        groups += [members[start : start + size] for start in range(0, len(members), size)]
    return groups


def cells_at_once(replicas: int) -> int:
    """Returns the number of cells that suits a device: on a CPU, so many that no core is idle.

    On other devices it is not limited here, but by `split_by_memory`; several devices share each
    batch of a single cell.
    """
    if jax.device_count() > 1:
        return 1
    if jax.default_backend() == "cpu":
        cores = devices.cores()
        return cores // math.gcd(cores, replicas) if replicas < cores else 1
    return 2**31 - 1


def split_by_memory(
    group: Sequence[Cell], dataset: data.Dataset, most: int | None
) -> list[Sequence[Cell]]:
    """Returns a group in parts that fit in a device's memory, unless `most` sets their size."""
    if most is not None or jax.default_backend() == "cpu" or len(group) == 1:
        return [group]
    for cell in group:
        with contextlib.suppress(UserError):  # of a setting that the others need not have
            size = cells_in_memory(bytes_of_cell(cell, dataset), devices.memory())
            return [group[start : start + size] for start in range(0, len(group), size)]
    return [group]


def cells_in_memory(bytes_of_cell: int, memory: int | None) -> int:
    """Returns the number of cells, at least one, that fit in memory; no limit if that is unknown.

    Args:
      bytes_of_cell: what one cell takes while it trains.
      memory: of the device, in bytes.
    """
    if memory is None:
        return 2**31 - 1
    return max(1, int(_SHARE * memory) // max(1, bytes_of_cell))


def bytes_of_cell(cell: Cell, dataset: data.Dataset) -> int:
    """Returns the bytes that a cell takes on the device while it trains, without the images."""
    recipe, shared = train.make_recipe(cell.options, dataset), cell.options.run
    make = partial(
        runs.seeded_state,
        model=recipe.network.model,
        optimizer=recipe.optimizer,
        shape=dataset.train.images.shape[1:],
        collections=recipe.collections,
    )
    state = jax.eval_shape(make, 0)
    count = shared.batch_size
    images: Any = np.zeros((count, *dataset.train.images.shape[1:]), np.uint8)
    labels: Any = np.zeros(count, np.int32)
    weights: Any = np.ones(count, np.float32)
    step = partial(take_step, objective=recipe.objective, optimizer=recipe.optimizer)
    taken = (
        jax.jit(step).lower(state, Batch(images, labels, None, weights)).compile().memory_analysis()
    )
    assert taken is not None
    # Groups keep the states before and after a chunk, and a stacked one.
    return shared.replicas * (taken.temp_size_in_bytes + 3 * taken.output_size_in_bytes)


def _program_of(options: train.Options) -> Any:
    """Returns what two cells must have in common to train side by side; hashable."""
    try:
        settings = train.settings_of(options)
    except UserError:  # it fails alone
        return options
    numbers = family.numbers_of(options.objective, settings)
    fixed = {name: value for name, value in settings.items() if name not in numbers}
    run = replace(options.run, seed=0, learning_rate=1.0, out=None, resume=None)
    same = replace(options, run=run, settings=train.SettingOptions())
    return same, tuple(sorted(fixed.items()))
