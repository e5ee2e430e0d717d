"""A run's config.json, read and checked: what was trained, on what, and with what."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxae import data, json_files
from jaxae.errors import UserError
from jaxae.options import Binarization
from jaxae.typed import Count, convert

FILE = "config.json"


@dataclass(frozen=True)
class SavedDataset:
    """The dataset that a run has trained on."""

    name: str
    train_images: Count
    test_images: Count
    image_shape: tuple[Count, Count, Count]
    fingerprint: str


@dataclass(frozen=True)
class SavedRunOptions:
    """Those of a run's shared options that are read without its experiment."""

    epochs: Count
    replicas: Count
    dataset: str | None = None
    data_dir: str | None = None
    stream: bool = False


@dataclass(frozen=True)
class SavedOptions:
    """Those of an experiment's options that are read without it, where it has them."""

    run: SavedRunOptions
    objective: str | None = None
    binarization: Binarization = "none"
    latent: Count | None = None


@dataclass(frozen=True)
class SavedNetwork:
    """What a network is built from."""

    model: dict[str, Any]
    likelihood: str


@dataclass(frozen=True)
class Versions:
    """Those of the packages that a page names."""

    jax: str


@dataclass(frozen=True)
class Resumed:
    """How a run went on."""

    command: str


@dataclass(frozen=True)
class Config:
    """A run's config.json; what older runs do not have is optional."""

    experiment: str
    dataset: SavedDataset
    options: SavedOptions
    steps_per_epoch: Count
    command: str
    versions: Versions
    devices: tuple[str, ...]
    git_commit: str | None = None
    cpu_count: int | None = None
    network: SavedNetwork | None = None
    corrupted_tests: bool | None = None
    standardized: bool = False  # of older runs hardly any was trained on such floats
    resumed: tuple[Resumed, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)  # all of the file, as JSON has it

    @property
    def device(self) -> str:
        """The first of the devices that it was trained on."""
        return next(iter(self.devices), "an unknown device")


def read_config(folder: Path) -> Config:
    """A run's config.json; UserError where the folder has none, or one that no run has written."""
    path = folder / FILE
    if not path.exists():
        raise UserError(f"{folder} is not a run, for {path} is not there: give a run's folder")
    try:
        values = json_files.read_object(path)
    except UserError as error:
        raise UserError(f"{folder} is not a run, for {error}") from None
    try:
        return convert(Config, {**values, "values": values}, "")
    except ValueError as error:
        raise json_files.unfit(path, error) from None


def check_data_dir(run: Path, name: str, recorded: str | Path | None, given: Path | None) -> None:
    """UserError where a run's dataset lies in a folder that the user has not named.

    A run may come from a stranger, and a prepared set can name code that is imported with it. So a
    run's own folder is opened only if it is the user's default, or given now by --data-dir.
    """
    if given is not None or recorded is None or name in data.BUNDLED:
        return
    recorded = Path(recorded)
    if recorded.absolute() == data.data_directory(None):
        return
    start = "" if recorded.is_absolute() else ", relative to where it was started"
    raise UserError(
        f"{run} was trained on data in {recorded}{start}, which is not your data folder: give "
        f"--data-dir {recorded} if you trust what is in it"
    )
