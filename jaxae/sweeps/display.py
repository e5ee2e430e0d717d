"""The table of a sweep while it runs: redrawn on a terminal; elsewhere a line as each cell ends."""

import contextlib
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from jaxae.runs import format_figure
from jaxae.sweeps.cells import Cell
from jaxae.sweeps.training import Report, Result

_MOST_ROWS = 20  # of the table on a terminal
_LINES_AROUND = 6  # of the table's head, borders and caption
_ORDER = ("training", "failed", "done", "waiting")  # of the states, where not all have a row


@contextlib.contextmanager
def show_progress(cells: Sequence[Cell]) -> Iterator[Report]:
    """Shows how far cells are until the block ends; yields the function to report it with."""
    # The file is named, because stdout goes elsewhere while a cell trains.
    console = Console(file=sys.stdout, highlight=False)
    results = {cell.name: Result("waiting") for cell in cells}
    if not console.is_terminal:

        def print_ended(cell: Cell, result: Result) -> None:
            results[cell.name] = result
            if result.state in ("done", "failed"):
                print(_line(cell, results), file=console.file, flush=True)

        yield print_ended
        return
    started, done_before = time.monotonic(), sum(cell.is_finished for cell in cells)
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:

        def redraw(cell: Cell, result: Result) -> None:
            results[cell.name] = result
            passed = time.monotonic() - started
            rows = max(1, console.height - _LINES_AROUND)
            table = make_table(cells, results, passed, done_before, most=min(rows, _MOST_ROWS))
            live.update(table, refresh=True)

        yield redraw


def _line(cell: Cell, results: Mapping[str, Result]) -> str:
    """Returns a line that says how a cell has ended, and how many have."""
    result = results[cell.name]
    said = result.error or f"test loss {_loss(result)}"
    return f"[{_ended(results)}/{len(results)}] {cell.name} {result.state}: {said}"


def make_table(
    cells: Sequence[Cell],
    results: Mapping[str, Result],
    passed: float,
    done_before: int,
    *,
    most: int = _MOST_ROWS,
) -> Table:
    """Returns the table of the cells, or of those that matter most, so many seconds after start."""
    left = _describe_time_left(results, passed, done_before)
    table = Table(caption=f"{_ended(results)} of {len(cells)} runs have ended{left}")
    for column in ("run", "state", "epoch", "test loss"):
        justify = "left" if column in ("run", "state") else "right"
        table.add_column(column, justify=justify, no_wrap=True, overflow="ellipsis")
    shown = list(cells)
    if len(cells) > most:
        ranked = sorted(cells, key=lambda cell: _ORDER.index(results[cell.name].state))
        chosen = {cell.name for cell in ranked[:most]}
        shown = [cell for cell in cells if cell.name in chosen]
    for cell in shown:
        result = results[cell.name]
        epochs = f"{result.epoch}/{cell.options.run.epochs}" if result.figures else ""
        last = result.error or _loss(result)
        # As Text, because a name or an error may look like markup.
        table.add_row(*map(Text, (cell.name, result.state, epochs, last)))
    return table


def _ended(results: Mapping[str, Result]) -> int:
    """Returns the number of cells that are done or have failed."""
    return sum(result.state in ("done", "failed") for result in results.values())


def _loss(result: Result) -> str:
    """Returns the test loss of a cell's last tested epoch as text; empty without one."""
    if result.figures is None or "test_loss" not in result.figures:
        return ""
    return format_figure(result.figures, "test_loss")


def _describe_time_left(results: Mapping[str, Result], passed: float, done_before: int) -> str:
    """Says how long the rest takes if cells take as long as those so far; empty if none ended."""
    done = sum(result.state == "done" for result in results.values()) - done_before
    waiting = len(results) - _ended(results)
    if done < 1 or not waiting:
        return ""
    return f", {describe_time(passed / done * waiting)} are left"


def describe_time(seconds: float) -> str:
    """Returns a time span in words, rounded up: 40 s, 3 min or 2.5 h."""
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 90 * 60:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
