"""Sweeps: a run for each combination of values, which can be killed and started again."""

from jaxae.sweeps.arguments import Axis, make_cells, read_axes
from jaxae.sweeps.cells import Cell
from jaxae.sweeps.command import start, train
from jaxae.sweeps.groups import group_cells
from jaxae.sweeps.training import Result, train_cells

__all__ = [
    "Axis",
    "Cell",
    "Result",
    "group_cells",
    "make_cells",
    "read_axes",
    "start",
    "train",
    "train_cells",
]
