"""Reproduces numbers from papers: one command per table, which can be killed and resumed.

    python experiments/published.py rae

The table `pictures` has no published numbers: it compares members on a folder of color pictures,
by default the one that experiments/pictures.py makes in ./emoji.

Trains the table's runs as `jaxae sweep` does, evaluates each with `jaxae evaluate`, and puts the
table, with mean ± standard deviation over replicas, into a page beside the runs, or another one
(--page results/README.md). The same command skips runs that are finished and resumes stopped ones
from their last checkpoints. With the default
epochs a table takes ten minutes to several hours on two cores. published_tables.py lists the tables
and their runs.
"""

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

import jobs
from jaxae import data, metrics, plots, runs, sweeps
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.pages import markdown_table, put_section
from jaxae.runs import Config, format_figure, read_config, read_evaluation, read_summary
from published_tables import TABLES, Job, jobs_of


@dataclass(frozen=True)
class Options:
    """Reproduces a table of published numbers."""

    # table to make: vae, iwae, deep, deep-settings, pca, rae or pictures
    table: Annotated[
        Literal["vae", "iwae", "deep", "deep-settings", "pca", "rae", "pictures"],
        tyro.conf.Positional,
    ]

    # --- training ---
    # number of epochs of each training (default: as many as two cores can train)
    epochs: int | None = None
    replicas: int = 3  # number of seeds to train

    # --- data ---
    # names of TFDS datasets, or paths of your own data (default: the table's own)
    dataset: tuple[str, ...] | None = None
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    folder: Path = Path("results/published")  # folder to write the runs to
    page: Path = Path("results/published/README.md")  # file to put a table for each dataset into


def main(options: Options) -> None:
    """Trains and evaluates the missing runs, then writes the tables."""
    _check_options(options)
    usual = {"rae": ("mnist", "fashion_mnist"), "pictures": ("emoji",)}
    for dataset in options.dataset or usual.get(options.table, ("mnist",)):
        listed = jobs_of(options.table, dataset)
        _train(listed, dataset, options)
        _write_table([_measure(job, dataset, options) for job in listed], dataset, options)
    print(f"the table is in {options.page}")


def _write_table(rows: list["_Row"], dataset: str, options: Options) -> None:
    """Puts the table of a dataset into the page, with the notes that explain it."""
    name = data.shown_name(dataset)
    section = f"published-{options.table}-{name}".replace("/", "-")
    title, columns, note = TABLES[options.table]
    command = runs.portable(shlex.join(runs.command_line(sys.argv)))
    if options.table == "pictures":  # its members generate in different ways
        columns = {
            key: text for key, text in columns.items() if any(key in r.figures for r in rows)
        }
    parts = [f"## {title}: {name}", f"    {command}", note, _make_table(rows, columns)]
    if options.table in ("pca", "deep"):
        parts.append(_compare_with_pca(rows, options, section))
    if "fid" in columns and rows[0].figures["classifier"] is not None:
        parts.append(_describe_classifier(rows[0]))
    if options.table == "pictures":
        parts += [part for row in rows for part in _show_pictures(row, options, section)]
    parts.append("\n".join(map(_describe, rows)))
    put_section(options.page, section, "\n\n".join(parts))


def _show_pictures(row: "_Row", options: Options, section: str) -> Iterator[str]:
    """Copies a run's reconstructions, samples and interpolations, and yields their Markdown."""
    pictures = folder_of(row.job, options) / "pictures"
    last = list(runs.pictures_by_epoch(folder_of(row.job, options)).values())[-1:]
    yield f"Reconstructions, samples and interpolations of {row.job.label}:"
    shown = []
    for path in [*last, pictures / "samples.png", pictures / "interpolations.png"]:
        if path.exists():
            kind = "reconstructions" if path in last else path.stem
            copy = options.page.parent / "pictures" / f"{section}-{row.job.label}-{kind}.png"
            plots.copy_small(path, copy)
            shown.append(f"![{kind} of {row.job.label}](pictures/{copy.name})")
    yield " ".join(shown)


def _check_options(options: Options) -> None:
    """Raises `UserError` for options that would otherwise fail only after the training."""
    for name, value in (("epochs", options.epochs), ("replicas", options.replicas)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: give 1 or more")
    if options.page.is_dir():
        raise UserError(f"--page {options.page} is a folder: give the file to put the table into")


@dataclass(frozen=True)
class _Row:
    """A finished job and its figures."""

    job: Job
    dataset: str
    config: Config
    figures: dict[str, Any]  # from the run's summary and from jaxae.evaluate


def _train(listed: Sequence[Job], dataset: str, options: Options) -> None:
    """Trains the jobs as a sweep, unless that is done."""
    places, words = jobs.places(options.data_dir, options.sources), {}
    for job in listed:
        how = [*shlex.split(job.arguments), "--dataset", dataset]
        how += ["--epochs", str(options.epochs or job.epochs), "--replicas", str(options.replicas)]
        words[folder_of(job, options).name] = [*how, *places]
    sweeps.train(words, options.folder)


def _measure(job: Job, dataset: str, options: Options) -> _Row:
    """Evaluates a job that is trained, unless that is done or the table does not need it."""
    folder = folder_of(job, options)
    places = jobs.places(options.data_dir, options.sources)
    config, figures = read_config(folder), read_summary(folder)
    pixels = math.prod(config.dataset.image_shape)
    for prefix, suffix in product(("", "validation_"), ("", "_std")):
        mse = figures.get(f"{prefix or 'test_'}mse{suffix}", math.nan)
        figures[f"{prefix}squared_error{suffix}"] = pixels * mse
    _, columns, _ = TABLES[options.table]
    if not columns.keys() <= figures.keys():
        figures |= _evaluate(folder, options.table, places)
    if options.table == "pictures" and not (folder / "pictures/interpolations.png").exists():
        jobs.run(["-m", "jaxae", "latents", str(folder), *places])
    return _Row(job, dataset, config, figures)


def _evaluate(folder: Path, table: str, places: list[str]) -> dict[str, Any]:
    """Evaluates a run unless that is done, and returns the figures of jaxae.evaluate."""
    # Few images: the table does not show their figures.
    few = [] if "fid" in TABLES[table][1] else ["--generated", "1000"]
    evaluation = read_evaluation(jobs.evaluate(folder, [*few, *places]))
    figures = evaluation.figures | {"classifier": evaluation.classifier}
    prior = evaluation.settings.prior
    if prior != "normal":
        for name in {"fid", "fid_std"} & figures.keys():
            figures[f"{prior}_{name}"] = figures.pop(name)
    return figures


def folder_of(job: Job, options: Options) -> Path:
    """Returns the folder of a job's run, which differs by epochs and replicas."""
    return options.folder / f"{job.name}-{options.epochs or job.epochs}x{options.replicas}"


def _make_table(rows: list[_Row], columns: dict[str, str]) -> str:
    """Returns the table as Markdown, with a column of published numbers if there are any."""
    lines = [["run", "dataset", "epochs, replicas", *columns.values(), "published"]]
    lines += [_cells(row, columns) for row in rows]
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    return markdown_table(lines[0], lines[1:])


def _cells(row: _Row, columns: dict[str, str]) -> list[str]:
    """Returns the cells of a row of the table."""
    figures = [_number(row.figures, column) for column in columns]
    published = row.job.published if row.dataset == "mnist" else ""
    epochs = f"{row.figures['epoch']}, {row.config.options.run.replicas}"
    return [row.job.label, data.shown_name(row.dataset), epochs, *figures, published]


def _describe(row: _Row) -> str:
    """Returns a Markdown item with a row's command, commit and machine."""
    config = row.config
    return (
        f"- {row.job.name}: `{runs.portable(config.command)}`, commit "
        f"{config.git_commit}, JAX {config.versions.jax} on {config.device}, "
        f"{config.cpu_count} cores"
    )


def _describe_classifier(row: _Row) -> str:
    """Describes the classifier whose features FID and similar figures use."""
    judge, name = row.figures["classifier"], data.shown_name(row.dataset)
    return (
        f"The classifier of {name}: accuracy {judge.accuracy:.4g} on the test images, "
        f"digest `{judge.digest[:16]}`."
    )


def _number(figures: dict[str, Any], name: str) -> str:
    """Returns a figure as text, or a dash if there is none."""
    return format_figure(figures, name) if name in figures else "-"


def _compare_with_pca(rows: list[_Row], options: Options, section: str) -> str:
    """Returns PCA's errors in words; for several sizes also draws a picture of both errors."""
    sizes = [_code_size(row) for row in rows]
    split = data.load(rows[0].dataset, data_dir=options.data_dir, sources=options.sources)
    errors = [_pca_error(split, size) for size in sizes]
    scale = math.prod(split.train.images.shape[1:]) if options.table == "deep" else 1
    text = "PCA of the same sizes, fitted on the training images, on test images: " + ", ".join(
        f"{scale * error:.4g} at {size}" for size, error in zip(sizes, errors, strict=True)
    )
    if len(rows) == 1:
        return f"{text}."
    ours = [row.figures.get("test_mse_replicas", [row.figures["test_mse"]]) for row in rows]
    picture = plots.curves(
        sizes,
        {"PCA": np.array(errors), "autoencoder": np.array(ours).T},
        "squared error a pixel",
        f"{rows[0].dataset}: test images through codes of a size",
        xlabel="size of the code",
    )
    path = options.page.parent / "pictures" / f"{section}.png"
    plots.save(picture, path, caption="squared error a pixel by size of the code, PCA and ours")
    return f"{text}.\n\n![{path.stem}](pictures/{path.name})"


def _code_size(row: _Row) -> int:
    """Returns the size of a row's codes; raises `UserError` if the run has no such option."""
    if row.config.options.latent is None:
        raise UserError(f"the run of {row.job.name} has no option latent: give another --folder")
    return row.config.options.latent


def _pca_error(dataset: data.Dataset, size: int) -> float:
    """Returns PCA's mean squared error per pixel in [0, 1] on the test images."""
    images = np.asarray(dataset.test.images)
    reconstructions = metrics.fit_pca(np.asarray(dataset.train.images), size).reconstruct(images)
    return float(np.square((reconstructions - images) / 255).mean(dtype=np.float64))


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
