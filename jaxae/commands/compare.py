"""Compares runs in a table: the options that differ, and figures as mean ± std over seeds.

    jaxae compare results/first results/second
    jaxae compare results/sweeps --figures test_mse fid --format latex

Takes runs, or folders of runs. Runs that differ only in their seeds share a row. The best figures
are bold, or have an asterisk; losses are only compared within one objective, likelihood and
dataset. Figures are those of each run's last epoch, and those of `jaxae evaluate` if it was
evaluated. Takes a second or two.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxae.cli import run_tool
from jaxae.comparison import compare, find_runs, render
from jaxae.files import write_whole


@dataclass(frozen=True)
class Options:
    """Compares runs in a table."""

    # folders of the runs to compare, or folders of runs
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]

    # --- table ---
    # names of figures, of metrics.jsonl or evaluation.json (default: the usual ones)
    figures: tuple[str, ...] | None = None
    # figure to compare with the best row, by a paired t-test over the seeds that both have
    # (default: none)
    significance: str | None = None

    # --- output ---
    format: Literal["text", "markdown", "csv", "latex"] = "text"  # format of the table
    out: Path | None = None  # file to write the table to (default: print it)


def main(options: Options) -> None:
    """Prints or writes the table."""
    comparison = compare(
        find_runs(options.runs), options.figures, significance=options.significance
    )
    table = render(comparison, options.format)
    if options.out is None:
        print(table)
        return
    options.out.parent.mkdir(parents=True, exist_ok=True)
    write_whole(options.out, f"{table}\n")
    print(f"done: {options.out}")


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
