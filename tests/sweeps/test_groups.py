"""Groups of cells: those that one program trains, in the numbers that suit a device."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxae import data, devices
from jaxae.sweeps import Cell, group_cells, make_cells, read_axes
from jaxae.sweeps.cells import read_cells
from jaxae.sweeps.groups import bytes_of_cell, cells_at_once, cells_in_memory

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8)


def cells(line: str) -> list[Cell]:
    return read_cells(make_cells(read_axes(line.split())), Path("never"))


def sizes(line: str) -> list[int]:
    return [len(group) for group in group_cells(cells(line), most=100)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--objective beta-vae --beta 1 2 4 --learning-rate 0.1 0.2 --seed 0 1", [12]),
        ("--objective denoising --noise 0.1 0.2 0.3", [3]),
        ("--objective vq --commitment 0.1 0.2 --decay 0.9 0.99", [4]),
        ("--objective vae rae-l2 --seed 0 1", [2, 2]),
        ("--latent 2 8 --learning-rate 0.1 0.2", [2, 2]),
        ("--objective iwae --samples 1 5", [1, 1]),  # a shape of the program
        ("--objective vq --codebook 8 16", [1, 1]),
        ("--objective fsq --levels 8 5 --levels 4 4", [1, 1]),
        ("--batch-size 10 20", [1, 1]),
        ("--schedule cosine constant", [1, 1]),
        ("--seed 0 1 --track wandb", [1, 1]),
        ("--seed 0 1 --track mlflow", [2]),
        ("--objective capacity --anneal-steps 10 20", [1, 1]),
        # A setting that is given as its default is no other program.
        ("--objective beta-vae --beta 4 2", [2]),
    ],
)
def test_cells_of_a_group_differ_only_in_numbers(line: str, expected: list[int]) -> None:
    assert sizes(line) == expected


def test_groups_keep_all_cells_in_order() -> None:
    every = cells("--latent 2 8 --seed 0 1 2")
    groups = group_cells(every, most=2)
    assert [len(group) for group in groups] == [2, 1, 2, 1]
    assert [cell.name for group in groups for cell in group] == [cell.name for cell in every]


def test_groups_leave_no_core_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    monkeypatch.setattr(devices, "cores", lambda: 8)
    assert [cells_at_once(replicas) for replicas in (1, 2, 3, 6, 8, 9)] == [8, 4, 8, 4, 1, 1]
    monkeypatch.setattr(jax, "device_count", lambda: 4)  # which share the batches of one cell
    assert cells_at_once(1) == 1


def test_groups_fit_in_memory() -> None:
    dataset = data.from_arrays(IMAGES)
    (small, large) = cells("--hidden 16 --hidden 512 256")
    taken = [bytes_of_cell(cell, dataset) for cell in (small, large)]
    # Adam's state has three numbers for each parameter, of which there are 2 x 64 x 512 and more.
    assert taken[0] < 3 * 4 * 2 * 64 * 512 < taken[1]
    assert cells_in_memory(taken[1], 100 * taken[1]) == 60
    assert cells_in_memory(taken[1], taken[1]) == 1
    (three,) = cells("--hidden 16 --replicas 3")
    assert bytes_of_cell(three, dataset) == 3 * taken[0]
