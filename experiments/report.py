"""Makes the page of results from the folders of finished runs.

    python experiments/report.py results/fashion/RUN results/vae/RUN ...

Writes results/README.md and copies the pictures it shows to results/pictures/ in a few seconds.
"""

import math
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from jaxae import runs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.pages import rewrite, sections_of
from jaxae.runs import Config, format_figure, read_config

_COLUMNS = ("train_loss", "test_loss", "test_mse", "test_psnr")

# The epochs of each published recipe, so that the page shows if a run was shorter.
_PUBLISHED_EPOCHS = {
    "fashion": 100,
    "denoise": 50,
    "latent2d": 200,
    "latent3d": 100,
    "conv": 40,
    "deep": 5,
    "vae": 30,
}

# The results that the sources print for their own runs, if any.
_ORIGINALS = {
    "latent3d": "loss 109.05, 95.47, 89.84, 107.56, 92.21 at epochs 20, 40, 60, 80, 100, "
    "each of the last training batch only",
    "conv": "loss 101.23 and 86.24 at epochs 20 and 40, each of the last training batch only",
    "vae": "test loss near 104 nats after 10 epochs, on statically binarized MNIST "
    "(Flax's example of the same net)",
}


@dataclass(frozen=True)
class Options:
    """Writes results/README.md from finished runs."""

    # folders of finished runs, in the order of the page
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN ...")]

    # --- output ---
    out: Path = Path("results")  # folder to write README.md and pictures/ to


@dataclass(frozen=True)
class Finished:
    """The files of a finished run, read."""

    folder: Path
    config: Config
    summary: dict[str, Any]
    lines: list[dict[str, Any]]

    @property
    def name(self) -> str:
        """The experiment and the flags that the run was started with."""
        command = runs.portable(self.config.command)
        _, flags = runs.split_command(runs.words_of(command))
        return " ".join([self.config.experiment, *flags])

    @property
    def commands(self) -> list[str]:
        """The commands that trained the run: the first, and the last that gave it more epochs."""
        again = [resumed.command for resumed in self.config.resumed]
        longer = [command for command in again if "--epochs" in command]
        return [runs.portable(command) for command in (self.config.command, *longer[-1:])]

    @property
    def slug(self) -> str:
        """The name as part of a file name."""
        return re.sub(r"\W+", "-", self.name)


def main(options: Options) -> None:
    """Reads the runs, then writes the page and its pictures."""
    finished = [read(folder) for folder in options.runs]  # errors come before anything is written
    names = [run.name for run in finished]
    if len(set(names)) < len(names):
        raise UserError(
            f"several runs were started as {max(names, key=names.count)}: give only one of them"
        )
    pictures = options.out / "pictures"
    pictures.mkdir(parents=True, exist_ok=True)
    sections = ["\n".join(section(run, pictures)) for run in finished]

    def renew(page: str) -> str:
        published = sections_of(page)  # made by other commands
        parts = [_INTRODUCTION, table(finished), *published, *sections]
        return "\n\n".join(part.strip() for part in parts) + "\n"

    rewrite(options.out / "README.md", renew)


def read(folder: Path) -> Finished:
    """Reads a run's config, summary and metrics; raises `UserError` unless it is finished."""
    lines = runs.read_records(folder)
    if not lines or not (folder / "summary.json").exists():
        raise UserError(f"{folder} is not a finished run: give one that has trained to its end")
    return Finished(folder, read_config(folder), runs.read_summary(folder), lines)


_INTRODUCTION = """# Results

`python experiments/report.py` makes this page from the runs' files; `experiments/published.py` adds
the tables of published numbers, and `experiments/latents.py` draws the pictures of codes. Each
section gives its command and commit. Each experiment has its own loss, so losses do not compare
between rows. Test MSE and PSNR compare reconstructions in [0, 1] with the whole test set, which
vae.py binarizes first. "5 of 50" epochs means that the run had 5 and the published recipe has 50.
Seconds count training and its compilation, but not evaluation."""


def table(finished: list[Finished]) -> str:
    """Returns a table with a row for each run."""
    head = "| run | parameters | epochs | train loss | test loss | test MSE | PSNR, dB | seconds |"
    rows = [head, "|---" * 8 + "|"]
    for run in finished:
        cells = [
            f"[{run.name}](#{run.slug})",
            f"{run.summary['parameters']:,}",
            _epochs(run),
            *(format_figure(run.summary, f) for f in _COLUMNS),
            f"{run.summary['training_seconds']:.0f}",
        ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _epochs(run: Finished) -> str:
    """Returns a run's epochs, and those of its published recipe if there is one."""
    published = _PUBLISHED_EPOCHS.get(run.config.experiment)
    return f"{run.summary['epoch']}" + ("" if published is None else f" of {published}")


def section(run: Finished, pictures: Path) -> list[str]:
    """Returns a run's heading, command, figures and pictures as lines; copies the pictures."""
    config, summary = run.config, run.summary
    lines = [
        f'<a id="{run.slug}"></a>',
        f"## {run.name}",
        "",
        *(f"    {command}" for command in run.commands),
        "",
        f"{config.dataset.name}, {config.dataset.train_images:,} training and "
        f"{config.dataset.test_images:,} test images{_describe_binarization(config)}; "
        f"commit {config.git_commit}; JAX {config.versions.jax} on "
        f"{config.device}, {config.cpu_count} cores.",
        "",
        f"{describe_best(summary)} Test loss at epochs {_milestones(run.lines)}.",
    ]
    own = {
        name: value
        for name, value in summary.items()
        if name.startswith(("pca_", "test_negative", "test_kl", "test_reconstruction"))
        and isinstance(value, float)
        and not name.endswith("_std")
    }
    if own:
        lines += ["", ", ".join(f"{name} {value:.5g}" for name, value in own.items()) + "."]
    original = _ORIGINALS.get(config.experiment)
    if original:
        lines += ["", f"The original: {original}."]
    for path in _shown(run.folder):
        copy = pictures / f"{run.slug}-{path.name}"
        shutil.copyfile(path, copy)
        lines += ["", f"![{path.stem} of {run.name}](pictures/{copy.name})"]
    return lines


def describe_best(summary: dict[str, Any]) -> str:
    """Returns a sentence about the best test loss."""
    best, epoch = summary.get("best_test_loss", math.nan), summary.get("best_epoch")
    if not math.isfinite(best):
        return "No test loss is finite."
    return f"Best test loss {best:.5g} at epoch {epoch}."


def _describe_binarization(config: Config) -> str:
    """Returns how a run binarized its images, as the end of a phrase; empty if it did not."""
    how = config.options.binarization
    return "" if how == "none" else f", {how} binarization"


def _milestones(lines: list[dict[str, Any]]) -> str:
    """Returns the test losses at the first, the last and some epochs between, as text."""
    wanted = {1, 5, 10, 20, 40, 60, 80, 100, lines[-1]["epoch"]}
    return ", ".join(
        f"{line['epoch']}: {format_figure(line, 'test_loss')}"
        for line in lines
        if line["epoch"] in wanted and "test_loss" in line
    )


def _shown(folder: Path) -> list[Path]:
    """Returns the pictures to show: of those by epoch only the last, and none by step."""
    epochs = list(runs.pictures_by_epoch(folder).values())
    drawn = sorted((folder / "pictures").glob("*.png"))
    return epochs[-1:] + [p for p in drawn if not p.name.startswith(("epoch_", "step_"))]


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
