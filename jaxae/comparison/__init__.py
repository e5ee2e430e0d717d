"""Runs side by side: their states, and tables of what differs between them and was measured."""

from jaxae.comparison.formats import aligned, render
from jaxae.comparison.listing import Listed, find_runs, listed, resuming_command
from jaxae.comparison.table import Comparison, compare

__all__ = [
    "Comparison",
    "Listed",
    "aligned",
    "compare",
    "find_runs",
    "listed",
    "render",
    "resuming_command",
]
