"""Cells: the runs of a sweep, as the options of `jaxae train`, and whether each is finished."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxae import checkpoint, cli
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.runs import CONFIG_FILE, describe_stop, read_config, read_records, read_summary


@dataclass(frozen=True)
class Cell:
    """A run of a sweep, which `jaxae train` would train with the same words."""

    folder: Path
    words: tuple[str, ...]  # without those for its folder
    options: train.Options
    error: str | None = None  # why the run in its folder cannot be read

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.name

    @property
    def command(self) -> list[str]:
        """The words of a command that trains it."""
        return ["jaxae", "train", *self.words, *_place(self.folder)]

    @property
    def is_finished(self) -> bool:
        """Whether it has trained for as many epochs as the options say, or stopped early.

        Its last checkpoint and its last picture must be there, too, which are written last.
        """
        ended = all((self.folder / name).exists() for name in (CONFIG_FILE, "summary.json"))
        if self.error is not None or not ended:
            return False
        patience, lines = self.options.run.patience, read_records(self.folder)
        trained = self.trained_epochs >= self.options.run.epochs
        if not trained and describe_stop(lines, patience) is None:
            return False
        config = read_config(self.folder)
        has_images = len(config.dataset.image_shape) == 3
        saved = checkpoint.steps(self.folder / "checkpoints")
        return (
            bool(saved)
            and saved[-1] >= self.trained_epochs * config.steps_per_epoch
            and (not has_images or (self.folder / "pictures" / "samples.png").exists())
        )

    @property
    def trained_epochs(self) -> int:
        """The number of epochs that it had trained when it ended, or 0 if it has not."""
        if not (self.folder / "summary.json").exists():
            return 0
        return read_summary(self.folder)["epoch"]

    @property
    def epochs_left(self) -> int:
        """The number of epochs that it has not trained yet, finished or not."""
        records = read_records(self.folder)
        return max(0, self.options.run.epochs - (records[-1]["epoch"] if records else 0))


def read_cells(words: Mapping[str, Sequence[str]], out: Path) -> list[Cell]:
    """Returns the cells with these words by their names, in folders below `out`.

    A cell whose folder holds a run continues it. One whose run is damaged has an error.

    Raises:
      UserError: an option is out of its range, or a folder holds a run of another one, or one that
        has trained for more epochs.
    """
    return [_read(tuple(each), out / name) for name, each in words.items()]


def _read(words: tuple[str, ...], folder: Path) -> Cell:
    """Returns the cell of a folder, checked as far as it can be without its dataset."""
    started = (folder / CONFIG_FILE).exists()
    advice = f"; or remove {folder} to train the run anew" if started else ""
    damage = _damage_of(folder) if started else None
    place = _place(folder) if damage is None else ["--out", folder.as_posix()]
    try:
        options = cli.parse(train.Options, [*words, *place], program="jaxae sweep")
    except UserError as error:
        raise UserError(f"{folder.name}: {error}{advice}") from None
    if damage is not None:
        return Cell(folder, words, options, f"{damage}{advice}")
    cell = Cell(folder, words, options)
    if cell.trained_epochs > options.run.epochs:
        raise UserError(
            f"{folder} has trained for {cell.trained_epochs} epochs, more than the "
            f"{options.run.epochs} of --epochs: give that number, or another folder for the runs"
        )
    return cell


def _damage_of(folder: Path) -> str | None:
    """Returns the error of the first of a run's files that cannot be read; None if all can."""
    try:
        read_config(folder)
        read_records(folder)
        if (folder / "summary.json").exists():
            read_summary(folder)
        checkpoint.steps(folder / "checkpoints")
    except UserError as error:
        return str(error)
    return None


def _place(folder: Path) -> list[str]:
    """Returns the words for a cell's folder, which continue the run in it if there is one."""
    return ["--resume" if (folder / CONFIG_FILE).exists() else "--out", folder.as_posix()]


def as_it_is_now(cell: Cell) -> Cell:
    """Returns a cell that continues the run in its folder, if there is one by now."""
    if not (cell.folder / CONFIG_FILE).exists():
        return cell
    run = replace(cell.options.run, resume=cell.folder, out=None)
    return replace(cell, options=replace(cell.options, run=run))
