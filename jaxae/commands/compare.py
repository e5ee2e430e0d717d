"""Compares runs: a table of the options that differ and of figures, a page, and plots.

    jaxae compare results/first results/second
    jaxae compare results/sweeps --page compare.html
    jaxae compare results/sweeps --plot test_mse --against latent
    jaxae compare results/sweeps --figures test_mse fid --format latex

Takes runs, or folders of runs. Runs that differ only in their seeds share a row, with mean ± std
over seeds. The best figures are bold, or have an asterisk: of losses the best of each objective,
since they compare only between runs of one objective with the same weights, likelihood and
dataset. Figures are those of each run's last epoch,
and those of `jaxae evaluate` if it was evaluated.

The page is one file that any browser opens: the table, curves over epochs, reconstructions of the
same test images by each row, and links to the runs' own pages. The plot is a PNG and an SVG for a
column of a paper, with a line for each combination of the other options that differ.

Takes a few seconds; about ten with the page of nine small runs.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxae.cli import run_tool, use_cache
from jaxae.comparison import (
    Comparison,
    compare,
    draw_reconstructions,
    find_runs,
    plot_figure,
    read_curves,
    render,
    render_page,
    run_around,
)
from jaxae.errors import UserError
from jaxae.files import write_whole
from jaxae.pages import check_page
from jaxae.plots import save_drawing


@dataclass(frozen=True)
class Options:
    """Compares runs in a table, on a page, and in plots."""

    # folders of the runs to compare, or folders of runs
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]

    # --- table ---
    # names of figures, of metrics.jsonl or evaluation.json (default: the usual ones)
    figures: tuple[str, ...] | None = None
    # figure to compare with the best row, by a paired t-test over the seeds that both have
    # (default: none)
    significance: str | None = None

    # --- plot ---
    plot: str | None = None  # figure to plot, with --against (default: none)
    against: str | None = None  # option to plot it against, of those that differ (default: none)

    # --- data ---
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    format: Literal["text", "markdown", "csv", "latex"] = "text"  # format of the table
    page: Path | None = None  # HTML file to write the page to (default: none)
    # file to write the table to; with --plot, the plot is saved under this name as .png and .svg
    # (default: print the table, and name the plot FIGURE_by_OPTION)
    out: Path | None = None


_PICTURES = (".png", ".svg")


def main(options: Options) -> None:
    """Prints or writes the table, and writes the plot and the page."""
    _check_options(options)
    comparison = compare(
        find_runs(options.runs), options.figures, significance=options.significance
    )
    _warn_of_runs(comparison)
    plot = None
    if options.plot is not None and options.against is not None:
        plot = plot_figure(comparison, options.plot, options.against)
    table = render(comparison, options.format)
    if options.out is None or options.out.suffix in _PICTURES:
        print(table)
    else:
        _write(options.out, f"{table}\n")
        print(f"done: {options.out}")
    drawing = None
    if plot is not None:
        drawing = plot.draw()
        paths = save_drawing(drawing, _stem_of(options.out) if options.out else Path(plot.name))
        print(f"done: {paths[0]} and {paths[1]}")
    if options.page is not None:
        use_cache(wanted=True)
        groups, notes = draw_reconstructions(
            comparison, data_dir=options.data_dir, sources=options.sources
        )
        shown = plot and drawing and (plot.title, drawing)
        curves = read_curves(comparison)
        _write(options.page, render_page(comparison, options.page, curves, groups, notes, shown))
        print(f"done: {options.page}; open it in a browser")


def _check_options(options: Options) -> None:
    """Raises `UserError` for options that do not fit together, or files that cannot be written."""
    if (options.plot is None) != (options.against is None):
        raise UserError(
            "--plot and --against belong together: give a figure and an option, as in --plot "
            "test_mse --against latent"
        )
    if options.plot is None and options.out is not None and options.out.suffix in _PICTURES:
        raise UserError(
            f"--out {options.out} is a picture: give --plot and --against too, or another ending "
            "for the table"
        )
    if options.out is not None:
        _check_out(options.out, plots=options.plot is not None)
    if options.page is not None:
        check_page("--page", options.page)
        if options.page == options.out:
            raise UserError(f"--out and --page are both {options.page}: give two files")


def _check_out(out: Path, *, plots: bool) -> None:
    """Raises `UserError` if --out is a folder, or a file to write is one of a run already."""
    if out.is_dir():
        raise UserError(f"--out {out} is a folder: give the file to write")
    stem = _stem_of(out)
    pictures = [stem.with_name(f"{stem.name}{ending}") for ending in _PICTURES] if plots else []
    for path in (out, *pictures):
        run = run_around(path)
        if run is not None and path.exists():
            raise UserError(f"--out {out}: {path} is a file of the run {run.name}; give another")


def _stem_of(out: Path) -> Path:
    """Returns a file without its ending; digits after a point are no ending."""
    return out.with_suffix("") if out.suffix[1:].isalpha() else out


def _warn_of_runs(comparison: Comparison) -> None:
    """Says which runs are left out, and which are not finished."""
    for reason in comparison.left_out:
        print(f"warning: left out: {reason}", file=sys.stderr)
    for run in (run for row in comparison.rows for run in row.runs):
        if run.state in ("running", "unfinished"):
            planned = run.config.options.run.epochs
            print(
                f"warning: {run.folder} is {run.state}, after {run.epochs} of {planned} epochs",
                file=sys.stderr,
            )


def _write(path: Path, text: str) -> None:
    """Writes a file, in a folder that is created."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, text)


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
