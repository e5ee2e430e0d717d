"""The page of results: the Markdown and the pictures of finished runs."""

import math
import re
import shlex
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxae import plots, runs
from jaxae.errors import UserError
from jaxae.pages import markdown_table
from jaxae.runs import Config, format_figure, read_config
from report_recipes import RECIPES, PeerFigures, Peers, Wanted, published_epochs

_EVALUATED = {
    "test_ssim": "SSIM",
    "linear_probe_accuracy": "linear probe",
    "neighbour_accuracy": "nearest neighbors",
    "pixels_linear_probe_accuracy": "linear probe of pixels",
    "negative_log_likelihood": "NLL, nats",
    "active_units": "active units",
}


@dataclass(frozen=True)
class Finished:
    """The files of a finished run, read."""

    folder: Path
    config: Config
    summary: dict[str, Any]
    lines: list[dict[str, Any]]
    evaluation: Mapping[str, Any] = field(default_factory=dict)  # empty if it was not evaluated

    @property
    def name(self) -> str:
        """The experiment and the flags that the run was started with."""
        command = runs.portable(self.config.command)
        _, flags = runs.split_command(runs.words_of(command))
        return " ".join([self.config.experiment, *flags])

    @property
    def wanted(self) -> Wanted | None:
        """The recipe that this is a run of, if it has no other options than seeds and epochs."""
        own = re.sub(r" --(epochs|replicas|seed|dataset)[ =]\S+", "", self.name)
        for wanted in RECIPES.values():
            if own == " ".join([wanted.experiment, wanted.arguments]).strip():
                return wanted
        return None

    @property
    def label(self) -> str:
        """The name in the table, without seeds and epochs, which are in columns of their own."""
        return re.sub(r" --(epochs|replicas)[ =]\d+", "", self.name)

    @property
    def slug(self) -> str:
        """The label as part of a file name."""
        return re.sub(r"\W+", "-", self.label)

    @property
    def commands(self) -> list[str]:
        """The commands that trained the run: the first, and the last that gave it more epochs."""
        again = [resumed.command for resumed in self.config.resumed]
        longer = [command for command in again if "--epochs" in command]
        return [_from_checkout(command) for command in (self.config.command, *longer[-1:])]


def _from_checkout(command: str) -> str:
    """Returns a command as it is given in the checkout's folder, without paths of one machine."""
    words = runs.words_of(runs.portable(command))
    return shlex.join(
        f"experiments/{Path(word).name}" if word.endswith(".py") else word for word in words
    )


def read(folder: Path) -> Finished:
    """Reads a run's files; raises `UserError` unless it is finished."""
    lines = runs.read_records(folder)
    if not lines or not (folder / "summary.json").exists():
        raise UserError(f"{folder} is not a finished run: give one that has trained to its end")
    judged = [place for place in (folder / "judged", folder) if (place / _EVALUATION).exists()]
    evaluation = runs.read_evaluation(judged[0]).figures if judged else {}
    return Finished(folder, read_config(folder), runs.read_summary(folder), lines, evaluation)


_EVALUATION = "evaluation.json"


def page_of(finished: Sequence[Finished], peers: Peers, pictures: Path) -> list[str]:
    """Returns the parts of the page, and copies the pictures that it shows."""
    sections = ["\n".join(section(run, pictures)) for run in finished]
    compared = _compared(finished, peers)
    parts = [_INTRODUCTION, _environment(finished), table(finished, peers), compared, *sections]
    return [part for part in parts if part]


_INTRODUCTION = """# Results

`experiments/report.py` makes this page from finished runs, which it trains first if it is given
`--run`. `experiments/published.py` adds the tables of published numbers, and
`experiments/latents.py` draws the pictures of codes. With several seeds, figures are means ±
standard deviations over them. Each recipe has its own loss, so losses do not compare between rows.
Test MSE compares reconstructions in [0, 1] with the whole test set, which vae.py binarizes first.
The PyTorch columns are the same recipes, with the same initialization, in
`experiments/speed/pytorch_trainings.py`."""


def _environment(finished: Sequence[Finished]) -> str:
    """Returns a sentence with the commit and the machine of all runs, or of each if they differ."""
    by_place: dict[str, list[str]] = {}
    for run in finished:
        config = run.config
        commit = config.git_commit or "unknown"
        place = f"commit {commit}, JAX {config.versions.jax} on {config.device}"
        by_place.setdefault(f"{place}, {config.cpu_count} cores", []).append(run.label)
    if len(by_place) == 1:
        return f"All runs: {next(iter(by_place))}."
    return "\n".join(f"- {', '.join(labels)}: {place}" for place, labels in by_place.items())


def table(finished: Sequence[Finished], peers: Peers) -> str:
    """Returns a table with a row for each run."""
    head = ["recipe", "epochs", "seeds", "train loss", "test loss", "test MSE"]
    head += ["PyTorch: seeds", "train loss", "test loss", "test MSE"]
    return markdown_table(head, [_row(run, peers) for run in finished])


def _row(run: Finished, peers: Peers) -> list[str]:
    """Returns the cells of a run's row."""
    theirs = _spread(_seeds_of(run, peers))
    names = ("train_loss", "test_loss", "test_mse")
    return [
        f"[{run.label}](#{run.slug})",
        _epochs(run),
        str(run.config.options.run.replicas),
        *(format_figure(run.summary, name) for name in names),
        str(len(_seeds_of(run, peers)) or "-"),
        *(format_figure(theirs, name) if name in theirs else "-" for name in names),
    ]


def _seeds_of(run: Finished, peers: Peers) -> Sequence[PeerFigures]:
    """Returns the figures of the same training in PyTorch."""
    wanted = run.wanted
    seeds = peers.get(wanted.peer, ()) if wanted is not None and wanted.peer is not None else ()
    trained = (run.config.dataset.name, run.summary["epoch"])
    return [each for each in seeds if (each.dataset, each.epochs) == trained]


def _spread(seeds: Sequence[PeerFigures]) -> dict[str, float]:
    """Returns means, and sample standard deviations as NAME_std, of the figures of seeds."""
    spread = {}
    for name in ("train_loss", "test_loss", "test_mse") if seeds else ():
        values = [getattr(each, name) for each in seeds]
        spread[name] = statistics.fmean(values)
        if len(values) > 1:
            spread[f"{name}_std"] = statistics.stdev(values)
    return spread


def _compared(finished: Iterable[Finished], peers: Peers) -> str:
    """Says which recipes have a larger test loss than PyTorch's by more than both deviations."""
    compared, worse = [], []
    for run in finished:
        theirs = _spread(_seeds_of(run, peers))
        if "test_loss_std" in theirs and "test_loss_std" in run.summary:
            compared.append(run.label)
            excess = run.summary["test_loss"] - theirs["test_loss"]
            if excess > run.summary["test_loss_std"] + theirs["test_loss_std"]:
                worse.append(run.label)
    if not compared:
        return ""
    which = ", ".join(worse) or "none"
    return (
        f"Compared on the {len(compared)} recipes with several seeds on both sides. Test loss "
        f"above PyTorch's by more than the sum of both standard deviations: {which}."
    )


def _epochs(run: Finished) -> str:
    """Returns a run's epochs, and those of its recipe if they are not all."""
    trained = run.summary["epoch"]
    whole = published_epochs(run.config.experiment) if run.wanted else trained
    return f"{trained}" if trained == whole else f"{trained} of {whole}"


def section(run: Finished, pictures: Path) -> list[str]:
    """Returns a run's heading, command, figures and pictures as lines; copies the pictures."""
    config, summary = run.config, run.summary
    lines = [
        f'<a id="{run.slug}"></a>',
        f"## {run.label}",
        "",
        *(f"    {command}" for command in run.commands),
        "",
        f"{config.dataset.name}, {config.dataset.train_images:,} training and "
        f"{config.dataset.test_images:,} test images{_describe_binarization(config)}; "
        f"{summary['parameters']:,} parameters; {summary['training_seconds']:.0f} seconds of "
        "training, all seeds together, on a machine that may have done other work.",
        "",
        f"{describe_best(summary)} Test loss at epochs {_milestones(run.lines)}.",
    ]
    own = {
        name: value
        for name, value in summary.items()
        if name.startswith(("pca_", "test_negative", "test_kl"))
        and isinstance(value, float)
        and not name.endswith("_std")
    }
    shown = [f"{name} {format_figure(summary, name)}" for name in own]
    known = [name for name in _EVALUATED if name in run.evaluation]
    shown += [f"{_EVALUATED[name]} {format_figure(run.evaluation, name)}" for name in known]
    if shown:
        lines += ["", f"{', '.join(shown)}."]
    if run.wanted is not None and run.wanted.source:
        lines += ["", f"The source prints: {run.wanted.source}."]
    for path in _shown(run.folder):
        copy = pictures / f"{run.slug}-{path.name}"
        plots.copy_small(path, copy)
        lines += ["", f"![{path.stem} of {run.label}](pictures/{copy.name})"]
    return lines


def describe_best(summary: dict[str, Any]) -> str:
    """Returns a sentence about the best epoch, the images that chose it, and its losses."""
    chosen_on = summary.get("best_chosen_on", "test")
    best, epoch = summary.get(f"best_{chosen_on}_loss", math.nan), summary.get("best_epoch")
    if not math.isfinite(best):
        return f"No {chosen_on} loss is finite."
    if chosen_on == "test":
        return f"Best test loss {best:.5g} at epoch {epoch}, which is chosen on the test images."
    test = summary.get("best_test_loss", math.nan)
    return f"Best validation loss {best:.5g} at epoch {epoch}, where the test loss is {test:.5g}."


def _describe_binarization(config: Config) -> str:
    """Returns how a run binarized its images, as the end of a phrase; empty if it did not."""
    how = config.options.binarization
    return "" if how == "none" else f", {how} binarization"


def _milestones(lines: list[dict[str, Any]]) -> str:
    """Returns the test losses at the first, the last and some epochs between, as text."""
    wanted = {1, 5, 10, 20, 40, 60, 80, 100, 150, lines[-1]["epoch"]}
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
