"""A run and its folder: config, metrics, pictures, checkpoints, and the training between them.

config.json      options, dataset, versions, devices, git commit
metrics.jsonl    one line an epoch
pictures/        PNG, each with its caption inside
checkpoints/     the full state, by step: the latest two and the best
summary.json     the last epoch's numbers, the parameter count, the time
"""

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxae import checkpoint, data, plots, records
from jaxae.cli import Options, RunOptions
from jaxae.errors import UserError


@dataclass(frozen=True)
class Run:
    """An open run."""

    experiment: str
    folder: Path
    options: RunOptions
    dataset: data.Dataset
    checkpointer: checkpoint.Checkpointer
    board: Any  # a tensorboardX SummaryWriter, or None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels of the dataset's images."""
        height, width, channels = self.dataset.train.images.shape[1:]
        return height, width, channels


@contextlib.contextmanager
def start(
    experiment: str, options: Options, *, dataset: str, keep_all: bool = False
) -> Iterator[Run]:
    """Opens a run: a new folder, or that of the run to resume.

    Args:
      experiment: the name its folder goes by.
      options: the experiment's options, which config.json keeps.
      dataset: what to train on where the options name no dataset.
      keep_all: keep the checkpoint of every epoch.

    Raises:
      UserError: the dataset cannot be had, or the folder cannot be written.
    """
    shared = options.run
    places = {"data_dir": shared.data_dir, "sources": shared.sources}
    load = data.load if shared.dataset else data.load_default
    examples = load(shared.dataset or dataset, **places)
    folder = shared.resume or new_folder(experiment, shared.out)
    records.write_config(folder, experiment, options, examples)
    print(f"{experiment} on {examples.name}: {folder}", flush=True)
    try:
        with (
            checkpoint.open_checkpoints(folder / "checkpoints", keep_all=keep_all) as checkpointer,
            records.open_board(folder, wanted=shared.tensorboard) as board,
        ):
            yield Run(experiment, folder, shared, examples, checkpointer, board)
        print(f"done: pictures and summary.json in {folder}", flush=True)
    except UserError:
        if shared.resume is None and not (folder / "metrics.jsonl").exists():
            shutil.rmtree(folder)
        raise
    except KeyboardInterrupt:
        print(
            f"\ninterrupted; the state is saved in {folder}: go on with\n"
            f"    python {sys.argv[0]} --resume {folder}",
            file=sys.stderr,
        )
        raise


def new_folder(experiment: str, out: Path | None) -> Path:
    """Makes a run's folder, `out` or one named by the time; UserError if it holds something."""
    folder = out or Path("results") / experiment / time.strftime("%Y-%m-%d_%H-%M-%S")
    if out is None and folder.exists():
        folder = next(
            other
            for n in range(2, 1000)
            if not (other := folder.with_name(f"{folder.name}-{n}")).exists()
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise UserError(
                f"--out {folder} holds files already: give a new folder, or go on with "
                f"--resume {folder}"
            )
    except OSError as error:
        raise UserError(
            f"the run's folder {folder} cannot be made ({error.strerror}): give a folder that can "
            "be written with --out"
        ) from None
    return folder


def add_to_summary(run: Run, results: dict[str, float]) -> None:
    """Adds an experiment's own numbers to summary.json, and prints them."""
    records.add_to_summary(run.folder, results)
    print("  ".join(f"{name} {value:.5g}" for name, value in results.items()), flush=True)


def save_picture(run: Run, name: str, picture: np.ndarray, caption: str) -> None:
    """Writes pictures/NAME.png, uint8 [H, W] or [H, W, 3].

    The caption goes into the file, with experiment and dataset; pictures of the bundled subset also
    show it.
    """
    folder = run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    caption = f"{run.experiment}, {run.dataset.name}: {caption}"
    plots.save(picture, folder / f"{name}.png", caption=caption, strip=run.dataset.bundled)
    if run.board is not None:
        image = picture if picture.ndim == 3 else picture[..., None]
        run.board.add_image(name, image, dataformats="HWC")
