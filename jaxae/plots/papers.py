"""Charts for papers: means with error bars, as SVG and as a PNG of the same size."""

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxae.errors import UserError
from jaxae.files import whole, write_text

if TYPE_CHECKING:  # slow to import, and not needed for grids
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's colors, which the color-blind can tell apart, that show on white and black."""

_LINE_STYLES = ("-", "--", ":", "-.")  # of the first lines in each color, of the next, ...
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
_WIDTH, _HEIGHT = 3.35, 2.4  # inches: a column of a paper of two, and what stands above the legend
_LEGEND_LINE = 0.17  # inches
_WITHIN = 4  # entries of a legend that stands within the axes
_DOTS_PER_INCH = 300
_MOST_TICKS = 8
_SETTINGS: dict[Any, Any] = {
    "font.size": 8,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "axes.linewidth": 0.6,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "jaxae",  # the same bytes each time
}


@dataclass(frozen=True)
class Points:
    """Means over seeds at P places, which a line joins."""

    x: np.ndarray  # float [P], ascending; indices of categories if there are any
    means: np.ndarray  # float [P]
    deviations: np.ndarray  # float [P]; NaN where there is one seed


@dataclass(frozen=True)
class Drawing:
    """A chart as the contents of two files."""

    svg: str
    png: bytes


def error_bars(
    lines: Mapping[str, Points],
    *,
    xlabel: str,
    ylabel: str,
    legend: str = "",
    categories: Sequence[str] = (),
) -> Drawing:
    """Draws means with a bar of ± one deviation, as wide as a column of a paper of two columns.

    Each line has a color, a style and a marker of its own. The x axis has the categories, or else
    numbers: on a logarithmic scale if that spaces them more evenly than a linear one. The legend
    has a title, and stands below the axes if there are many lines; one line has none. Raises
    `UserError` without lines, or for numbers that are not finite.
    """
    import matplotlib
    from matplotlib.figure import Figure

    numbers = [array for each in lines.values() for array in (each.x, each.means)]
    if not numbers or not all(array.size and np.isfinite(array).all() for array in numbers):
        raise UserError(f"{len(lines)} lines were given: give one or more, of finite numbers")
    with matplotlib.rc_context(_SETTINGS):
        columns = 1 if max(map(len, lines)) > 18 else 2
        below = -(-len(lines) // columns) + bool(legend) if len(lines) > _WITHIN else 0
        figure = Figure((_WIDTH, _HEIGHT + _LEGEND_LINE * below), layout="constrained")
        axes = figure.add_subplot()
        _draw_lines(axes, lines)
        _set_x_axis(
            axes, np.unique(np.concatenate([each.x for each in lines.values()])), categories
        )
        axes.set(xlabel=xlabel, ylabel=ylabel)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", alpha=0.25, linewidth=0.5)
        look: dict[str, Any] = {"frameon": False, "title": legend or None}
        if below:
            figure.legend(loc="outside lower center", ncols=columns, **look)
        elif len(lines) > 1:
            axes.legend(**look)
        return Drawing(_saved(figure, "svg").decode(), _saved(figure, "png"))


def _draw_lines(axes: "Axes", lines: Mapping[str, Points]) -> None:
    """Draws each line with its markers and bars."""
    for number, (name, each) in enumerate(lines.items()):
        axes.errorbar(
            each.x,
            each.means,
            yerr=np.nan_to_num(each.deviations) if np.isfinite(each.deviations).any() else None,
            label=name,
            color=LINE_COLORS[number % len(LINE_COLORS)],
            linestyle=_LINE_STYLES[number // len(LINE_COLORS) % len(_LINE_STYLES)],
            marker=_MARKERS[number % len(_MARKERS)],
            markersize=3.5,
            linewidth=1.2,
            elinewidth=0.9,
            capsize=2,
        )


def _set_x_axis(axes: "Axes", places: np.ndarray, categories: Sequence[str]) -> None:
    """Chooses the scale and the ticks: the places themselves if they are few."""
    from matplotlib.ticker import NullLocator

    if categories:
        axes.set_xticks(range(len(categories)), labels=list(categories))
        axes.set_xlim(-0.4, len(categories) - 0.6)
        if sum(map(len, categories)) > 36:  # characters that fit side by side
            axes.tick_params(axis="x", rotation=30)
            for label in axes.get_xticklabels():
                label.set(ha="right", rotation_mode="anchor")
        return
    if spans_factors(places):
        axes.set_xscale("log")
    if len(places) <= _MOST_TICKS:
        axes.set_xticks(places, labels=[f"{place:g}" for place in places])
        axes.xaxis.set_minor_locator(NullLocator())


def spans_factors(places: np.ndarray) -> bool:
    """Returns whether numbers [P] are rather multiplied than added to, as 2, 8 and 32 are.

    Two numbers are if the larger one is at least ten times the smaller one.
    """
    values = np.unique(places)
    if len(values) < 2 or values[0] <= 0:
        return False
    if len(values) == 2:
        return bool(values[1] >= 10 * values[0])
    gaps, factors = np.diff(values), np.diff(np.log(values))
    return bool(factors.max() / factors.min() < gaps.max() / gaps.min())


def _saved(figure: "Figure", kind: str) -> bytes:
    """Returns a figure as a file of a kind, without the date."""
    file = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {}
    figure.savefig(file, format=kind, dpi=_DOTS_PER_INCH, metadata=metadata)
    return file.getvalue()


def save_drawing(drawing: Drawing, stem: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Writes STEM.svg and STEM.png, each whole or not at all, and returns their paths.

    Missing folders are created, and files of the same names replaced.
    """
    stem = Path(stem)
    svg, png = (stem.with_name(f"{stem.name}.{kind}") for kind in ("svg", "png"))
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_text(svg, drawing.svg)
    with whole(png) as temporary:
        temporary.write_bytes(drawing.png)
    return svg, png
