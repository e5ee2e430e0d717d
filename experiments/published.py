"""The numbers that papers print, met: each table is one command, which can be killed and resumed.

    python experiments/published.py rae

Trains what the table needs with experiments/family.py, evaluates each run with jaxae.evaluate, and
puts the table, mean ± standard deviation over replicas, into results/README.md. What is finished
is not done again, and a run that was stopped goes on from its last checkpoint; after kill -9 wait
until the run in progress has ended. `--help` lists the
tables; with the default epochs they take from ten minutes to some hours on two cores.
"""

import json
import math
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxae import classifier, data, metrics, plots
from jaxae.cli import run_tool
from jaxae.sections import put_section

SIZES = (2, 8, 16, 32, 64)  # of the code, of the table of PCA


@dataclass(frozen=True)
class Options:
    """Reproduces a table of published numbers."""

    table: Annotated[Literal["vae", "iwae", "deep", "pca", "rae"], tyro.conf.Positional]
    epochs: int | None = None  # of each training; None: as many as two cores carry
    replicas: int = 3  # seeds
    dataset: tuple[str, ...] | None = None  # None: the table's own
    folder: Path = Path("results/published")  # where the runs go
    page: Path = Path("results/README.md")  # that the table goes into
    data_dir: Path | None = None  # as in the experiments
    sources: Path | None = None  # as in the experiments


@dataclass(frozen=True)
class Job:
    """A run that a table needs."""

    table: str
    name: str  # of its folder
    arguments: str  # of experiments/family.py
    epochs: int
    published: str  # what the source prints for it


def jobs_of(table: str, dataset: str) -> list[Job]:
    """The runs of a table on a dataset."""
    dynamic = "--binarization dynamic --schedule cosine"
    iwae = f"--hidden 200 200 --activation tanh --latent 50 {dynamic}"
    deep = "--hidden 1000 500 250 --activation tanh --latent 30 --schedule cosine"
    size16 = "--latent 16 --likelihood gaussian"
    jobs = {
        "vae": [
            Job("", "784-500-20", "--hidden 500 --latent 20 --binarization static", 10, "near 104"),
        ],
        "iwae": [
            Job("", "784-400-40", f"--hidden 400 --latent 40 {dynamic}", 40, "89.8"),
            Job("", "vae-1", f"--objective iwae --samples 1 {iwae}", 30, "86.8"),
            Job("", "vae-5", f"--objective miwae --samples 1 --groups 5 {iwae}", 20, "86.5"),
            Job("", "iwae-5", f"--objective iwae --samples 5 {iwae}", 20, "85.5"),
            Job("", "miwae-8-8", f"--objective miwae --samples 8 --groups 8 {iwae}", 4, "85.0"),
        ],
        "deep": [
            Job("", "30", f"--objective reconstruction {deep}", 60, "3.00"),
        ],
        "pca": [
            Job("", str(size), f"--objective reconstruction --latent {size}", 10, published)
            for size, published in zip(
                SIZES, ("0.0557", "0.0374", "0.0269", "0.0168", "0.0090"), strict=True
            )
        ],
        "rae": [
            Job("", name, f"--objective {name} {size16}", 15, "")
            for name in ("rae-l2", "rae-gp", "vae", "wae")
        ],
    }
    return [replace(job, table=table, name=f"{table}-{dataset}-{job.name}") for job in jobs[table]]


# A table's title, the figures in it by the name that jaxae.evaluate or the run itself gives them,
# and what must be known to read it.
TABLES = {
    "vae": (
        "A variational autoencoder of binarized MNIST",
        {"test_loss": "test loss, nats", "negative_log_likelihood": "NLL, 200 samples, nats"},
        "Test loss is the negative ELBO, which Flax's example of the same network prints. Training "
        "images are binarized once (static binarization), test images as well.",
    ),
    "iwae": (
        "Importance-weighted autoencoders of binarized MNIST",
        {"negative_log_likelihood": "NLL, 200 samples, nats", "active_units": "active units"},
        "Training pixels are binarized at each step (dynamic), test images once; numbers on "
        "statically binarized MNIST do not compare. The sources train for hundreds to thousands "
        "of epochs, with 200 (784-400) and 5,000 importance samples; the epochs here are shown.",
    ),
    "deep": (
        "Hinton and Salakhutdinov's deep autoencoder",
        {"squared_error": "squared error an image"},
        "784-1000-500-250-30, a linear code, all layers trained at once, without pretraining layer "
        "by layer, on cross-entropy. Hinton and Salakhutdinov 2006 print 3.00, and 13.87 for PCA. "
        "Their logistic units are trained here as tanh(x) = 2 logistic(2x) - 1, the same network "
        "with other weights, which Adam finds sooner where units have mean 0.",
    ),
    "pca": (
        "Squared error a pixel by size of the code",
        {"test_mse": "autoencoder"},
        "One hidden layer of 500 ReLU on each side of the code, trained on cross-entropy. The "
        "column at the right is what is published for PCA.",
    ),
    "rae": (
        "Regularized, variational and Wasserstein autoencoders",
        {
            "test_mse": "MSE",
            "fid": "FID, prior",
            "mixture_fid": "FID, mixture",
            "reconstruction_fid": "FID, reconstructions",
            "linear_probe_accuracy": "linear probe",
            "negative_log_likelihood": "NLL, nats",
            "training_seconds": "seconds, all replicas",
        },
        f"Codes of 16 numbers, one hidden layer of 500 on each side, Gaussian pixels with a "
        f"standard deviation of 0.1. Seconds also depend on what else the machine did. "
        f"{classifier.FEATURES_NOTE}",
    ),
}


def main(options: Options) -> None:
    """Trains and evaluates what is not there yet, then writes the table."""
    usual = ("mnist", "fashion_mnist") if options.table == "rae" else ("mnist",)
    rows = [
        measure(job, dataset, options)
        for dataset in options.dataset or usual
        for job in jobs_of(options.table, dataset)
    ]
    title, columns, note = TABLES[options.table]
    heads = ("run", "dataset", "epochs, replicas", *columns.values(), "published")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    lines += [f"| {' | '.join(cells(row, columns))} |" for row in rows]
    parts = [f"## {title}", f"    {portable(['python', *sys.argv])}", note, "\n".join(lines)]
    if options.table in ("pca", "deep"):
        for dataset in dict.fromkeys(row.dataset for row in rows):
            same = [row for row in rows if row.dataset == dataset]
            parts.append(compare_with_pca(same, options))
    parts.append("\n".join(map(describe, rows)))
    put_section(options.page, f"published-{options.table}", "\n\n".join(parts))
    print(f"the table is in {options.page}")


def portable(words: Sequence[str]) -> str:
    """A command without the places where one machine has its data and its runs."""
    kept, skip = [], False
    for word in words:
        if skip or word in ("--data-dir", "--sources", "--out", "--folder", "--page"):
            skip = not skip
        else:
            kept.append(word)
    return shlex.join(kept)


@dataclass(frozen=True)
class Row:
    """A finished job and what it measured."""

    job: Job
    dataset: str
    config: dict[str, Any]
    figures: dict[str, Any]  # those of the run itself, and of jaxae.evaluate


def measure(job: Job, dataset: str, options: Options) -> Row:
    """Trains and evaluates a job, as far as that has not been done and the table needs it."""
    folder = folder_of(job, options)
    train(job, dataset, options)
    config, figures = (
        json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("config", "summary")
    )
    pixels = math.prod(config["dataset"]["image_shape"])
    for suffix in ("", "_std"):
        figures[f"squared_error{suffix}"] = pixels * figures.get(f"test_mse{suffix}", math.nan)
    _, columns, _ = TABLES[options.table]
    if not columns.keys() <= figures.keys():
        figures |= evaluate(folder, options)
    return Row(job, dataset, config, figures)


def evaluate(folder: Path, options: Options) -> dict[str, Any]:
    """The figures of jaxae.evaluate for a run, which it evaluates unless that has been done."""
    judged = folder / "judged"  # not where a user's own evaluation goes
    if not (judged / "evaluation.json").exists():
        where = ["--out", str(judged), *places(options)]
        run([sys.executable, "-m", "jaxae.evaluate", str(folder), *where])
    evaluation = json.loads((judged / "evaluation.json").read_text(encoding="utf-8"))
    figures = evaluation["figures"]
    if evaluation["settings"]["prior"] == "mixture":
        for suffix in ("", "_std"):
            figures[f"mixture_fid{suffix}"] = figures.pop(f"fid{suffix}", math.nan)
    return figures


def folder_of(job: Job, options: Options) -> Path:
    """Where a job's run goes; with other epochs or replicas it is another run."""
    return options.folder / f"{job.name}-{options.epochs or job.epochs}x{options.replicas}"


def train(job: Job, dataset: str, options: Options) -> None:
    """Starts a job's run, or goes on with it, unless it has ended."""
    folder = folder_of(job, options)
    if (folder / "summary.json").exists():
        return
    if (folder / "config.json").exists():
        how = ["--resume", str(folder)]
    else:
        how = [*shlex.split(job.arguments), "--dataset", dataset, "--out", str(folder)]
        how += ["--epochs", str(options.epochs or job.epochs), "--replicas", str(options.replicas)]
    script = os.path.relpath(Path(__file__).with_name("family.py"))
    run([sys.executable, script, *how, *places(options)])


def places(options: Options) -> list[str]:
    """The flags that say where data are."""
    flags = {"--data-dir": options.data_dir, "--sources": options.sources}
    return [part for flag, path in flags.items() if path for part in (flag, str(path))]


def cells(row: Row, columns: dict[str, str]) -> list[str]:
    """A line of the table."""
    name = row.job.name.removeprefix(f"{row.job.table}-{row.dataset}-")
    figures = [number(row.figures, column) for column in columns]
    published = row.job.published if row.dataset == "mnist" else ""
    epochs = f"{row.figures['epoch']}, {row.config['options']['run']['replicas']}"
    return [name, row.dataset, epochs, *figures, published]


def describe(row: Row) -> str:
    """What a row was made by."""
    config = row.config
    return (
        f"- {row.job.name}: `{portable(shlex.split(config['command']))}`, commit "
        f"{config['git_commit']}, JAX {config['versions']['jax']} on {config['devices'][0]}, "
        f"{config['cpu_count']} cores"
    )


def number(figures: dict[str, Any], name: str) -> str:
    """A figure to four digits with its standard deviation over replicas; a dash for none."""
    if name not in figures:
        return "-"
    deviation = figures.get(f"{name}_std", math.nan)
    text = f"{figures[name]:.4g}"
    return text if math.isnan(deviation) else f"{text} ± {deviation:.2g}"


def compare_with_pca(rows: list[Row], options: Options) -> str:
    """PCA of the same sizes in words; for several sizes also a picture of both errors."""
    sizes = [row.config["options"]["latent"] for row in rows]
    split = data.load(rows[0].dataset, data_dir=options.data_dir, sources=options.sources)
    errors = [pca_error(split, size) for size in sizes]
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
    path = options.page.parent / "pictures" / f"published-pca-{rows[0].dataset}.png"
    plots.save(picture, path, caption="squared error a pixel by size of the code, PCA and ours")
    return f"{text}.\n\n![{path.stem}](pictures/{path.name})"


def pca_error(dataset: data.Dataset, size: int) -> float:
    """The mean squared error a pixel in [0, 1] of test images through PCA."""
    images = np.asarray(dataset.test.images)
    reconstructions = metrics.fit_pca(np.asarray(dataset.train.images), size).reconstruct(images)
    return float(np.square((reconstructions - images) / 255).mean(dtype=np.float64))


def run(command: list[str]) -> None:
    """Runs a command and shows what it prints; ends with its code if it fails."""
    print(f"+ {shlex.join(['python', *command[1:]])}", flush=True)
    with subprocess.Popen(command) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()  # it saves its state; where Ctrl-C has reached it, it has begun to
            process.wait()
            raise
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_tool(main, Options)
