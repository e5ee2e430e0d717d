"""A run's config.json, read and checked."""

import shlex
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from jaxae import data, files
from jaxae.errors import UserError
from jaxae.files import Count, Index, convert
from jaxae.runs.environment import split_command, words_of
from jaxae.runs.options import Binarization, RunOptions

CONFIG_FILE = "config.json"


@dataclass(frozen=True)
class SavedDataset:
    """The dataset that a run was trained on."""

    name: str
    train_images: Count  # without those held out for validation
    test_images: Count
    image_shape: tuple[Count, ...]  # of an image or a vector
    fingerprint: str
    classes: Index | None = None  # their number; older runs do not keep it
    own: bool = False  # whether it is the user's own data
    scaling: data.Scaling | None = None
    validation_images: Index = 0  # older runs hold none out


@dataclass(frozen=True)
class _SavedRunOptions:
    """The shared options that are read without the experiment's own options class."""

    epochs: Count
    replicas: Count
    dataset: str | None = None
    data_dir: str | None = None
    stream: bool = False
    patience: Count | None = None
    reading: data.Reading = data.Reading()


@dataclass(frozen=True)
class _SavedOptions:
    """An experiment's own options that are read without its class, if it has them."""

    run: _SavedRunOptions
    objective: str | None = None
    binarization: Binarization = "none"
    latent: Any = None  # a number in the experiments of jaxae


@dataclass(frozen=True)
class SavedNetwork:
    """A network's description, which `load` builds it from."""

    model: dict[str, Any]
    likelihood: str


@dataclass(frozen=True)
class _Versions:
    """The package versions that a page shows."""

    jax: str


@dataclass(frozen=True)
class _Resumed:
    """The command that resumed a run."""

    command: str


@dataclass(frozen=True)
class Config:
    """A run's config.json; fields that older runs lack are optional."""

    experiment: str
    dataset: SavedDataset
    options: _SavedOptions
    steps_per_epoch: Count
    command: str
    versions: _Versions
    devices: tuple[str, ...]
    git_commit: str | None = None
    cpu_count: int | None = None
    network: SavedNetwork | None = None
    corrupted_tests: bool | None = None
    standardized: bool = False  # hardly any older run was trained on floats around 0
    loss_unit: str = ""  # older runs do not keep it
    resumed: tuple[_Resumed, ...] = ()
    values: dict[str, Any] = field(default_factory=dict)  # the whole file, as decoded JSON

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that started and resumed the run, each once."""
        return tuple(dict.fromkeys([self.command, *(each.command for each in self.resumed)]))

    @property
    def device(self) -> str:
        """The first device that the run was trained on."""
        device = next(iter(self.devices), "an unknown device")
        return " ".join(dict.fromkeys(device.split()))  # a CPU's kind is "cpu", too

    @property
    def label(self) -> str:
        """What pictures and pages call the run: the member of the family, or the experiment."""
        return label_run(self.experiment, self.options.objective)

    @property
    def default_step(self) -> Literal["best"] | None:
        """The checkpoint to take by default: the best of a run with --patience, else the latest."""
        return None if self.options.run.patience is None else "best"


def label_run(experiment: str, objective: str | None) -> str:
    """Returns what pictures and pages call a run: the member of the family, or the experiment."""
    if objective is None:
        return experiment
    return objective if experiment == "family" else f"{experiment}: {objective}"


def label_replica(number: int, seed: int, replicas: int) -> str:
    """Returns which replica a picture shows, after a comma; nothing for a run of one."""
    return f", replica {number} (seed {seed + number})" if replicas > 1 else ""


def check_dataset(folder: Path, config: Config, dataset: data.Dataset) -> None:
    """Raises `UserError` if a dataset has other content than the one a run was trained on."""
    changes = describe_changes(config, dataset)
    if changes is not None:
        raise UserError(
            f"{folder} was trained on {config.dataset.name} with other content than is found now "
            f"({changes}): give the data that it was trained on (--dataset, --data-dir, --sources)"
        )


def check_restorable(shared: RunOptions, experiment: str, dataset: data.Dataset) -> data.Dataset:
    """Returns the dataset of a restored run, under the name that it had when the run started.

    A run that is loaded may be evaluated on other data; if they only share the name of what it was
    trained on, a warning says so. Raises `UserError` if the run is of another experiment, or if it
    is resumed and was trained on other data.
    """
    folder = shared.restored
    assert folder is not None
    config = read_config(folder)
    if config.experiment != experiment:
        program, _ = split_command(words_of(config.command))
        raise UserError(
            f"{folder} is a run of {config.experiment}, and this is {experiment}: give it to "
            f"{shlex.join(program)}, which started it"
        )
    if shared.resume is not None:
        check_dataset(folder, config, dataset)
        return replace(dataset, name=config.dataset.name)
    changes = describe_changes(config, dataset)
    if dataset.own and dataset.name == config.dataset.name and changes is not None:
        print(
            f"warning: {folder} was trained on {dataset.name} with other content than is found "
            f"now ({changes}), and its numbers are of what is found",
            file=sys.stderr,
        )
    return dataset


def describe_changes(config: Config, dataset: data.Dataset) -> str | None:
    """Says how a dataset differs from the one a run was trained on; None if it does not."""
    expected = config.dataset
    if dataset.fingerprint == expected.fingerprint:
        return None
    shape = dataset.train.images.shape[1:]
    found = {
        "training images": (
            expected.train_images + expected.validation_images,
            len(dataset.train.images) + dataset.validation_images,
        ),
        "test images": (expected.test_images, len(dataset.test.images)),
        "the shape": (data.sides_of(expected.image_shape), data.sides_of(shape)),
        "classes": (expected.classes, len(dataset.class_names)),
    }
    changes = [
        f"{what} were {before} and are {now}"
        if what != "the shape"
        else f"{what} was {before} and is {now}"
        for what, (before, now) in found.items()
        if before is not None and before != now
    ]
    return "; ".join(changes) or "as many images, of which some differ"


def read_config(folder: Path) -> Config:
    """Reads a run's config.json; raises `UserError` if it is missing, unreadable or invalid."""
    path = folder / CONFIG_FILE
    if not path.exists():
        below = sorted(each.parent for each in folder.glob("*/checkpoints"))
        here = [each for each in below if (each / CONFIG_FILE).is_file()]
        if here:
            raise UserError(
                f"{folder} is not a run, but holds runs, such as {here[0]}: give one of these"
            )
        raise UserError(f"{folder} is not a run: {path} does not exist; give a run's folder")
    try:
        values = files.read_json(path)
    except UserError as error:
        raise UserError(f"{folder} is not a run: {error}") from None
    try:
        return convert(Config, {**values, "values": values}, "")
    except ValueError as error:
        raise files.unfit(path, error) from None
