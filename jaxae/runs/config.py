"""A run's config.json, read and checked: what was trained, on what, and with what."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxae import files
from jaxae.errors import UserError
from jaxae.files import Count, convert
from jaxae.runs.options import Binarization

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class _SavedDataset:
    """The dataset that a run has trained on."""

    name: str
    train_images: Count
    test_images: Count
    image_shape: tuple[Count, Count, Count]
    fingerprint: str


@dataclass(frozen=True)
class _SavedRunOptions:
    """Those of a run's shared options that are read without its experiment."""

    epochs: Count
    replicas: Count
    dataset: str | None = None
    data_dir: str | None = None
    stream: bool = False


@dataclass(frozen=True)
class _SavedOptions:
    """Those of an experiment's options that are read without it, where it has them."""

    run: _SavedRunOptions
    objective: str | None = None
    binarization: Binarization = "none"
    latent: Any = None  # a number in those of jaxae


@dataclass(frozen=True)
class SavedNetwork:
    """What a network is built from."""

    model: dict[str, Any]
    likelihood: str


@dataclass(frozen=True)
class _Versions:
    """Those of the packages that a page names."""

    jax: str


@dataclass(frozen=True)
class _Resumed:
    """How a run went on."""

    command: str


@dataclass(frozen=True)
class Config:
    """A run's config.json; what older runs do not have is optional."""

    experiment: str
    dataset: _SavedDataset
    options: _SavedOptions
    steps_per_epoch: Count
    command: str
    versions: _Versions
    devices: tuple[str, ...]
    git_commit: str | None = None
    cpu_count: int | None = None
    network: SavedNetwork | None = None
    corrupted_tests: bool | None = None
    standardized: bool = False  # of older runs hardly any was trained on such floats
    resumed: tuple[_Resumed, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)  # all of the file, as JSON has it

    @property
    def device(self) -> str:
        """The first of the devices that it was trained on."""
        return next(iter(self.devices), "an unknown device")


def read_config(folder: Path) -> Config:
    """A run's config.json; UserError where the folder has none, or one that no run has written."""
    path = folder / CONFIG_FILE
    if not path.exists():
        raise UserError(f"{folder} is not a run: {path} does not exist; give a run's folder")
    try:
        values = files.read_json(path)
    except UserError as error:
        raise UserError(f"{folder} is not a run: {error}") from None
    try:
        return convert(Config, {**values, "values": values}, "")
    except ValueError as error:
        raise files.unfit(path, error) from None
