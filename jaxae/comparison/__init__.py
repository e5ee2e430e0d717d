"""Runs side by side: their states, and tables of what differs between them and was measured."""

from jaxae.comparison.formats import FORMATS, render
from jaxae.comparison.listing import Listed, find_runs, listed, resuming_command
from jaxae.comparison.table import DIRECTIONS, Comparison, compare

__all__ = [
    "DIRECTIONS",
    "FORMATS",
    "Comparison",
    "Listed",
    "compare",
    "find_runs",
    "listed",
    "render",
    "resuming_command",
]
