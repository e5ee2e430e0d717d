"""Runs side by side: their states, and tables, plots and a page of what differs between them."""

from jaxae.comparison.curves import Curves, read_curves
from jaxae.comparison.formats import aligned, render
from jaxae.comparison.listing import (
    Listed,
    find_runs,
    listed,
    read_each,
    resuming_command,
    run_around,
)
from jaxae.comparison.page import render_page
from jaxae.comparison.plot import Plot, plot_figure
from jaxae.comparison.reconstructions import Reconstructions, draw_reconstructions
from jaxae.comparison.rows import Comparison
from jaxae.comparison.table import compare

__all__ = [
    "Comparison",
    "Curves",
    "Listed",
    "Plot",
    "Reconstructions",
    "aligned",
    "compare",
    "draw_reconstructions",
    "find_runs",
    "listed",
    "plot_figure",
    "read_curves",
    "read_each",
    "render",
    "render_page",
    "resuming_command",
    "run_around",
]
