"""A figure plotted against an option, with a line for each combination of the others."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from jaxae import runs
from jaxae.comparison.rows import Comparison, Row, check_measured
from jaxae.errors import UserError
from jaxae.plots import Drawing, Points, error_bars


@dataclass(frozen=True)
class Plot:
    """A figure as means and deviations over seeds, by the values of an option."""

    figure: str
    option: str
    others: tuple[str, ...]  # the other options that differ, whose values name the lines
    lines: Mapping[str, Points]
    categories: tuple[str, ...]  # the option's values if they are not numbers

    @property
    def title(self) -> str:
        """The title of its section on a page."""
        title = f"{runs.spell_out(self.figure)} by {runs.spell_out(self.option)}"
        return title[0].upper() + title[1:]

    @property
    def name(self) -> str:
        """The name of its files, without an ending."""
        return f"{self.figure}_by_{self.option}"

    def draw(self) -> Drawing:
        """Draws the plot for a paper."""
        return error_bars(
            self.lines,
            xlabel=runs.spell_out(self.option),
            ylabel=runs.spell_out(self.figure),
            legend=", ".join(map(runs.spell_out, self.others)),
            categories=self.categories,
        )


def plot_figure(comparison: Comparison, figure: str, option: str) -> Plot:
    """Returns a figure of a comparison against one of the options that differ.

    Raises `UserError` if no run has the figure, the option does not differ, a row lacks one of
    them, or two rows differ only in their data.
    """
    check_measured(comparison.rows, figure)
    _check_differs(comparison, option)
    others = tuple(name for name in comparison.options if name != option)
    texts = list(dict.fromkeys(row.options[option] for row in comparison.rows))
    numbers = {text: _number(text) for text in texts}
    categories = () if all(map(math.isfinite, numbers.values())) else tuple(texts)
    places = {text: float(n) for n, text in enumerate(texts)} if categories else numbers
    rows: dict[str, dict[float, Row]] = {}
    for row in comparison.rows:
        _check_complete(row, figure, option)
        line = rows.setdefault(", ".join(row.options[name] for name in others), {})
        place = places[row.options[option]]
        if place in line:
            raise UserError(
                f"{line[place].name} and {row.name} have the same options and other data: give "
                "runs of one dataset"
            )
        line[place] = row
    lines = {name: _points(line, figure) for name, line in rows.items()}
    return Plot(figure, option, others, lines, categories)


def _check_differs(comparison: Comparison, option: str) -> None:
    """Raises `UserError` unless an option differs between rows."""
    if option in comparison.options:
        return
    if option == "seed":
        raise UserError("runs that differ only in their seeds share a row: give another option")
    differing = ", ".join(comparison.options)
    advice = f"give one of {differing}" if differing else "give runs whose options differ"
    if option in comparison.shared:
        raise UserError(f"{option} is {comparison.shared[option]} in all runs: {advice}")
    raise UserError(f"no run has the option {option}: {advice}")


def _check_complete(row: Row, figure: str, option: str) -> None:
    """Raises `UserError` if a row lacks the figure or the option."""
    if row.options[option] == "-":
        raise UserError(
            f"{row.name} has no option {option}: give runs that have it, or another option"
        )
    values = row.values.get(figure, {})
    for run in row.runs:
        measured = [values[seed] for seed in run.seeds if seed in values]
        if len(measured) < len(run.seeds):
            raise UserError(
                f"{run.folder} has no {figure}: leave it out, or finish it and run jaxae evaluate"
            )
        if not all(map(math.isfinite, measured)):
            raise UserError(f"the {figure} of {run.folder} is not finite: leave it out")


def _points(line: Mapping[float, Row], figure: str) -> Points:
    """Returns the means and deviations of rows by their places."""
    places = sorted(line)
    return Points(
        np.array(places),
        np.array([line[place].mean(figure) for place in places]),
        np.array([line[place].deviation(figure) for place in places]),
    )


def _number(text: str) -> float:
    """Returns text as a number; NaN if it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
