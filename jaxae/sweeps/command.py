"""Trains a run for each combination of the values given to options of `jaxae train`.

    jaxae sweep --objective vae rae-l2 --latent 2 8 32 --dataset mnist_mini --replicas 3 --out first

Takes all options of `jaxae train`. One that takes one value may be given several, and one that
takes several, such as --hidden, may be given several times. Each combination is a run in a folder
of its own in --out. The same command continues a sweep that was stopped or killed, and tries failed
runs again. Runs that differ only in --seed, --learning-rate, weights or noise share one compiled
program, and train side by side. Ends with the table that `jaxae compare` makes. --dry-run
estimates the minutes or hours that a sweep takes.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from jaxae import cli
from jaxae.comparison import aligned, compare, render
from jaxae.errors import UserError
from jaxae.sweeps.arguments import make_cells, read_axes
from jaxae.sweeps.cells import Cell, read_cells
from jaxae.sweeps.display import describe_time, show_progress
from jaxae.sweeps.estimates import Estimate, estimate
from jaxae.sweeps.groups import group_cells
from jaxae.sweeps.training import LOG, one_dataset_at_a_time, train_cells


@dataclass(frozen=True)
class Options:
    """A run for each combination of values."""

    out: Path  # folder of the sweep, with a folder for each run
    # names of options whose values are taken in pairs, or threes, instead of in all combinations;
    # may be given several times
    zip: Annotated[
        tuple[tuple[str, ...], ...],
        tyro.conf.arg(metavar="NAME NAME ..."),
        tyro.conf.UseAppendAction,
    ] = ()
    # list the runs, their parameters and an estimate of the training time, and train nothing
    dry_run: bool = False
    # number of runs to train side by side, where they share a program (default: one for each core
    # of a CPU; as many as fit in memory elsewhere)
    side_by_side: int | None = None


_OWN = ("--out", "--zip", "--dry-run", "--no-dry-run", "--side-by-side", "--help", "-h")


def main(options: Options, swept: Sequence[str]) -> None:
    """Trains all runs of the sweep, or lists them."""
    if options.side_by_side is not None and options.side_by_side < 1:
        raise UserError(f"--side-by-side {options.side_by_side}: give 1 or more")
    if options.out.exists() and not options.out.is_dir():
        raise UserError(f"--out {options.out} is a file: give a folder")
    words = make_cells(read_axes(swept, options.zip))
    if options.dry_run:
        _list(read_cells(words, options.out), options.side_by_side)
        return
    train(words, options.out, most=options.side_by_side)


def train(words: Mapping[str, Sequence[str]], out: Path, *, most: int | None = None) -> None:
    """Trains the runs of a sweep that are not finished, and shows how far they are.

    Args:
      words: of `jaxae train` for each run, by the name of its folder.
      out: the folder for these folders, and for the log of all output.
      most: the number of runs that train side by side; by default as many as the device suits.

    Raises:
      UserError: an option is out of its range, a folder holds a run of another one, or some runs
        failed; the others are trained then.
    """
    cells = read_cells(words, out)
    cli.use_cache(wanted=all(cell.options.run.compilation_cache for cell in cells))
    try:
        with show_progress(cells) as report:
            errors = train_cells(cells, out / LOG, report, most=most)
    except KeyboardInterrupt:
        print("\ninterrupted: the same command continues", file=sys.stderr)
        raise
    finished = [cell.folder for cell in cells if cell.is_finished]
    if finished:
        print(f"\n{render(compare(finished), 'text')}\n")
    if errors:
        raise UserError(
            f"{len(errors)} of {len(cells)} runs failed ({'; '.join(errors)}), as said above and "
            f"in {out / LOG}: the same command tries them again"
        )
    print(f"done: runs in {out}, their output in {out / LOG}")


def _list(cells: Sequence[Cell], most: int | None) -> None:
    """Prints the cells that are left, with their parameters and an estimate of the time."""
    load = one_dataset_at_a_time()
    waiting = [cell for cell in cells if not cell.is_finished and cell.error is None]
    found = {cell.name: Estimate(error=cell.error) for cell in cells if cell.error is not None}
    for group in group_cells(waiting, most):
        try:
            found |= estimate(group, load(group[0].options), most)
        except UserError as error:  # of the dataset
            found |= dict.fromkeys((cell.name for cell in group), Estimate(error=str(error)))
    rows = [_describe(cell, found.get(cell.name)) for cell in cells]
    seconds = sum(found[cell.name].seconds * cell.epochs_left for cell in waiting)
    print(aligned([["run", "parameters", "epochs", "training"], *rows], left=1))
    failing = [f"{name} fails: {each.error}" for name, each in found.items() if each.error]
    if failing:
        print("", *failing, sep="\n")
    count = sum(each.error is None for each in found.values())
    all_runs = "1 run" if len(cells) == 1 else f"{len(cells)} runs"
    print(
        f"\n{all_runs}, {count} of them to train: about {describe_time(seconds)} of training, "
        "estimated from a few steps; compilation, tests and pictures come on top"
    )


def _describe(cell: Cell, found: Estimate | None) -> list[str]:
    """Returns the row of a cell; without an estimate, of one that is finished."""
    if found is None:
        return [cell.name, "", "", "done"]
    epochs = str(cell.options.run.epochs)
    if found.error is not None:
        return [cell.name, "", epochs, "fails"]
    left = cell.epochs_left
    count = f"{left} of {epochs}" if left < cell.options.run.epochs else epochs
    return [cell.name, f"{found.parameters:,}", count, describe_time(left * found.seconds)]


def _split(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Returns the words of the options of the sweep itself, and those of `jaxae train`."""
    own: list[str] = []
    swept: list[str] = []
    here = swept
    for word in words:
        if word.startswith("--") or word == "-h":
            name = word.partition("=")[0].replace("_", "-")
            here = own if name in _OWN else swept
        here.append(word)
    return own, swept


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    own, swept = _split(sys.argv[1:] if arguments is None else arguments)
    cli.run_tool(
        partial(main, swept=swept), Options, description=__doc__, arguments=own, program=program
    )
