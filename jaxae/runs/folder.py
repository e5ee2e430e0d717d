"""A run and its folder: config, metrics, pictures, checkpoints.

config.json      options, dataset, versions, devices, git commit
metrics.jsonl    one line per epoch
pictures/        PNG, each with its caption under it and as metadata
checkpoints/     the full state, by step: the latest two and the best
summary.json     the last epoch's numbers, the parameter count, the training time, the best epoch
"""

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from jax.sharding import Mesh

from jaxae import checkpoint, data
from jaxae.devices import data_mesh
from jaxae.runs import records
from jaxae.runs.config import check_restorable, label_run, read_config
from jaxae.runs.disk import clean_up_on_error, lock, new_folder, remove_if_empty
from jaxae.runs.environment import command_line, split_command
from jaxae.runs.options import Options, RunOptions
from jaxae.runs.progress import show_line
from jaxae.runs.reading import read_summary
from jaxae.runs.trackers import Tracker
from jaxae.runs.tracking import open_trackers


@dataclass(frozen=True)
class Run:
    """An open run."""

    experiment: str
    folder: Path
    options: Options  # the experiment's
    dataset: data.Dataset
    checkpointer: "checkpoint.Checkpointer"
    trackers: tuple[Tracker, ...]  # which show the run while it trains
    mesh: Mesh | None  # the devices that share each batch; None for a single device
    command: Sequence[str] | None = None  # words of one that trains it; None for this process's

    @property
    def shared(self) -> RunOptions:
        """The options that all experiments share."""
        return self.options.run

    @property
    def label(self) -> str:
        """What output and captions call it: the member of the family, or the experiment."""
        objective = getattr(self.options, "objective", None)
        return label_run(self.experiment, objective if isinstance(objective, str) else None)

    @property
    def shape(self) -> tuple[int, ...]:
        """Height, width and channels of the dataset's images, or the length of its vectors."""
        return self.dataset.train.images.shape[1:]


@contextlib.contextmanager
def start(
    experiment: str,
    options: Options,
    *,
    dataset: str | data.Dataset,
    keep_all: bool = False,
    how_to_resume: Callable[[Path], str] | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[Run]:
    """Opens a run in a new folder, or in the folder of the run to resume.

    Args:
      experiment: the experiment's name, which also names the folder.
      options: the experiment's options, which config.json keeps.
      dataset: the dataset to train on, or the name of one if the options name none.
      keep_all: keep the checkpoint of every epoch.
      how_to_resume: returns the code that resumes a run in a folder, to print after Ctrl-C; None
        for the command.
      command: the words of a command that trains the run, which config.json keeps; None for this
        process's command line.

    Raises:
      UserError: the dataset cannot be loaded, the folder cannot be written, or the run to start
        from is of another experiment or was trained on other data.
    """
    shared = options.run
    checkpoint.check_path(shared.resume or shared.out or Path("results"))
    examples = dataset if isinstance(dataset, data.Dataset) else find_dataset(shared, dataset)
    if shared.restored is not None:
        examples = check_restorable(shared, experiment, examples)
    examples = data.hold_out_validation(examples, shared.validation)
    mesh = data_mesh(shared.devices)
    mesh = mesh if mesh.size > 1 else None
    # Path.exists raises for a name that is too long, which new_folder reports better.
    existed = shared.resume is not None or os.path.exists(shared.out or "")  # noqa: PTH110
    folder = shared.resume or new_folder(experiment, shared.out)
    checkpoints = folder / "checkpoints"
    if how_to_resume is None:
        program, _ = split_command(command_line(sys.argv) if command is None else list(command))
        how_to_resume = partial(_resuming_command, program, shared=shared, own=examples.own)
    with (
        remove_if_empty(folder, wanted=not existed),
        lock(folder),
        clean_up_on_error(folder, shared, how_to_resume),
        checkpoint.open_checkpoints(checkpoints, keep_all=keep_all) as checkpointer,
        open_trackers(folder, experiment, options, examples, command) as trackers,
    ):
        yield Run(experiment, folder, options, examples, checkpointer, trackers, mesh, command)
    print(_describe_end(folder, shared.epochs, how_to_resume), flush=True)


def _describe_end(folder: Path, epochs: int, how_to_resume: Callable[[Path], str]) -> str:
    """Says how a run has ended without an error: done, diverged, or stopped before its last epoch.

    It stops early if the loop over its epochs is left, whose last checkpoint is then on disk.
    """
    if (folder / "summary.json").exists():
        warning = read_summary(folder).get("warning")
        done = "done" if warning is None else f"done, but {warning}"
        return f"{done}: pictures and summary.json in {folder}"
    steps = checkpoint.steps(folder / "checkpoints")
    if not steps:
        return f"stopped before the end of an epoch: nothing is saved in {folder}"
    epoch = steps[-1] // read_config(folder).steps_per_epoch
    return (
        f"stopped after epoch {epoch} of {epochs}, which is saved in {folder}: resume "
        f"with\n    {how_to_resume(folder)}"
    )


def _resuming_command(
    program: Sequence[str], folder: Path, shared: RunOptions, *, own: bool
) -> str:
    """Returns the command that continues a run, which a program has started.

    It names the data again if they are the user's `own`, or prepared in a folder of the user's.
    """
    place = shared.data_dir and ["--data-dir", shared.data_dir.as_posix()]
    if own and shared.dataset:
        place = ["--dataset", shared.dataset]
    return shlex.join([*program, "--resume", folder.as_posix(), *(place or [])])


def find_dataset(shared: RunOptions, name: str) -> data.Dataset:
    """Loads the dataset that the options name, else the one of this name or its subset."""
    load = data.load if shared.dataset else data.load_default
    return load(
        shared.dataset or name,
        data_dir=shared.data_dir,
        sources=shared.sources,
        stream=shared.stream,
        workers=shared.workers,
        reading=shared.reading,
    )


def add_to_summary(run: Run, results: dict[str, float]) -> None:
    """Adds an experiment's own numbers to summary.json, and prints them."""
    records.add_to_summary(run.folder, results)
    show_line("  ".join(f"{name} {value:.5g}" for name, value in results.items()))
