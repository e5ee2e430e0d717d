"""Lists runs: what they train, how far they are, and their losses.

    jaxae runs results

Shows all runs below the folders, the latest last. The lowest test loss of each objective has an
asterisk, among runs that compare: those with the same weights, likelihood and dataset. Unfinished
runs follow with the line that resumes each. Takes a second or two.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from jaxae.cli import run_tool
from jaxae.comparison import Listed, aligned, find_runs, listed, read_each, resuming_command
from jaxae.errors import UserError
from jaxae.runs import format_figure


@dataclass(frozen=True)
class Options:
    """Lists runs, and how to resume those that are unfinished."""

    # folders of runs, or runs themselves
    folders: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER ...")
    ] = (Path("results"),)

    sort: Literal["age", "name", "loss"] = "age"  # what to sort runs by
    best: bool = False  # print only the folder of each best run, as for another command


def main(options: Options) -> None:
    """Prints the list."""
    found, errors = read_each(listed, find_runs(options.folders))
    for error in errors:
        print(f"warning: left out: {error}", file=sys.stderr)
    found.sort(key=_SORTED_BY[options.sort])
    best = _best_of(found)
    if options.best:
        if not best:
            raise UserError(
                "no run is the best: none has a test loss, or no two compare, which takes one "
                "objective with the same weights, likelihood and dataset"
            )
        print("\n".join(found[number].folder.as_posix() for number in sorted(best)))
        return
    now = time.time()
    head = ["run", "member", "dataset", "state", "epochs", "test loss", "age"]
    rows = [_row(run, number in best, now) for number, run in enumerate(found)]
    print(aligned([head, *rows], left=len(head)))
    unfinished = [run for run in found if run.state == "unfinished"]
    if unfinished:
        print("\nto resume:")
        for run in unfinished:
            print(f"    {resuming_command(run)}")


def _loss(run: Listed) -> float:
    """Returns a run's test loss; infinite if it has none that is a number."""
    loss = run.figures.get("test_loss", math.inf)
    return math.inf if math.isnan(loss) else loss


_SORTED_BY: dict[str, Any] = {
    "age": lambda run: run.changed,
    "name": lambda run: run.folder,
    "loss": _loss,
}


def _best_of(found: Sequence[Listed]) -> set[int]:
    """Returns the numbers of the runs with the lowest test loss of two or more that compare."""
    groups: dict[Any, list[int]] = {}
    for number, run in enumerate(found):
        if math.isfinite(_loss(run)):
            groups.setdefault(run.compared_with, []).append(number)
    return {
        min(numbers, key=lambda number: _loss(found[number]))
        for numbers in groups.values()
        if len(numbers) > 1
    }


def _row(run: Listed, is_best: bool, now: float) -> list[str]:
    """Returns the cells of a run."""
    tested = "test_loss" in run.figures
    loss = format_figure(run.figures, "test_loss") if tested else "-"
    return [
        run.folder.as_posix(),
        run.member,
        run.config.dataset.name,
        run.state,
        f"{run.epochs}/{run.config.options.run.epochs}",
        f"{loss}*" if is_best else loss,
        _age(now - run.changed),
    ]


def _age(seconds: float) -> str:
    """Returns a time span in its largest unit."""
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        count = int(seconds // length)
        if count:
            return f"{count} {unit}{'' if count == 1 else 's'}"
    return "now"


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
