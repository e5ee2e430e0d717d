"""Options of every run: their ranges, and which of them a resumed run may change."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import jax.numpy as jnp

from jaxae import data
from jaxae.errors import UserError

Binarization = Literal["none", "dynamic", "static"]


@dataclass(frozen=True)
class RunOptions:
    """The options that all experiments share; each experiment sets the first three.

    --help shows the comments.
    """

    epochs: int  # number of passes over the training images
    batch_size: int  # number of training images per step
    learning_rate: float  # learning rate of the optimizer
    seed: int = 0  # seed of the initial parameters, the order of the images and the noise
    precision: Literal["float32", "bf16"] = "float32"  # number format that the network computes in
    replicas: int = 1  # number of seeds to train at once, counted up from --seed
    # leave out an incomplete last batch; each epoch leaves out other images
    drop_remainder: bool = False
    evaluate_every: int = 1  # number of epochs between two tests; the last epoch is always tested
    # stop after this many tested epochs in a row without a new lowest validation loss, or without a
    # new lowest test loss if there is no --validation (default: train all epochs)
    patience: int | None = None
    # number of training images to hold out, the same ones in each run: they are tested like the
    # test images, and choose the best checkpoint in their place
    validation: int = 0
    # dataset to train on: a name from TFDS, spelled exactly, or data of your own: the path of a
    # folder of pictures, or of an .npz, .npy or .csv file, or hf:NAME from Hugging Face (default:
    # the experiment's own)
    dataset: str | None = None
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None
    # read training images from disk during training, for datasets larger than memory
    stream: bool = False
    # number of processes that decode streamed images (default: one per core for a cache, else 0)
    workers: int = 0
    reading: data.Reading = data.Reading()
    # new folder to write the run to (default: results/EXPERIMENT/TIME)
    out: Path | None = None
    # continue the run in the folder --out if there is one, and else start it there
    continue_: bool = False
    # folder of a run to continue with its own options (default: start a new run)
    resume: Path | None = None
    # train the run given by --resume from its start again; its checkpoints are set aside
    restart: bool = False
    # folder of a run to evaluate and draw instead of training (default: train)
    load: Path | None = None
    # epoch of the checkpoint to load, or to resume from; --resume deletes later checkpoints, and
    # --load takes the best of a run with --patience (default: the latest)
    initial_epoch: int | None = None
    tensorboard: bool = False  # also write TensorBoard event files
    # experiment tracker that also records the run, each an extra of jaxae; a resumed run continues
    # there
    track: Literal["none", "wandb", "trackio", "mlflow"] = "none"
    compilation_cache: bool = True  # keep compiled programs, so that the next start is faster
    devices: int | None = None  # number of devices that share each batch (default: all)
    # address of the first of several processes as HOST:PORT, or auto on a cluster that JAX supports
    # (default: train in one process)
    coordinator: str | None = None
    # number of processes that train together; needed with HOST:PORT (default: set by the cluster)
    processes: int | None = None
    # number of this process, from 0; needed with HOST:PORT (default: set by the cluster)
    process: int | None = None
    # stop at the first step whose numbers are not finite, and name the operation at fault
    debug: bool = False

    @property
    def dtype(self) -> Any:
        """The dtype that models compute in; None is float32."""
        return None if self.precision == "float32" else jnp.bfloat16

    @property
    def restored(self) -> Path | None:
        """The folder of the run whose checkpoint this one starts from, if any."""
        return self.resume or self.load


class Options(Protocol):
    """An experiment's options: a frozen dataclass with its own fields and these."""

    @property
    def run(self) -> RunOptions:
        """The options that all experiments share."""
        ...


OptionsType = TypeVar("OptionsType", bound=Options)

OPTION_GROUPS = {
    "training": (
        "epochs",
        "batch_size",
        "learning_rate",
        "seed",
        "precision",
        "replicas",
        "drop_remainder",
        "evaluate_every",
        "validation",
        "patience",
    ),
    "data": ("dataset", "data_dir", "sources", "stream", "workers"),
    "data of your own": tuple(field.name for field in dataclasses.fields(data.Reading)),
    "run": (
        "out",
        "continue_",
        "resume",
        "restart",
        "load",
        "initial_epoch",
        "tensorboard",
        "track",
        "compilation_cache",
    ),
    "several devices": ("devices", "coordinator", "processes", "process"),
    "debugging": ("debug",),
}
"""The groups of shared options in --help."""

# Options that a resumed run may change.
_FREE_ON_RESUME = {
    "epochs",
    "evaluate_every",
    "patience",
    "data_dir",
    "sources",
    "out",
    "continue_",
    "resume",
    "restart",
    "load",
    "initial_epoch",
    "tensorboard",
    "track",
    "compilation_cache",
    "workers",
    "devices",
    "coordinator",
    "processes",
    "process",
    "debug",
}


def check_options(run: RunOptions) -> None:
    """Raises `UserError` for the first option that is out of its range."""
    for name in ("epochs", "batch_size", "replicas", "evaluate_every"):
        if getattr(run, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(run, name)}: give 1 or more")
    if run.patience is not None and run.patience < 1:
        raise UserError(
            f"--patience {run.patience}: give 1 or more, or leave it out to train all epochs"
        )
    if run.validation < 0:
        raise UserError(
            f"--validation {run.validation}: give the number of training images to hold out, 0 or "
            "more"
        )
    if run.workers < 0:
        raise UserError(f"--workers {run.workers}: give 0 or more")
    if run.workers and not run.stream:
        raise UserError(f"--workers {run.workers}: give --stream too, whose images they read")
    if not (math.isfinite(run.learning_rate) and run.learning_rate > 0):
        raise UserError(f"--learning-rate {run.learning_rate}: give a positive number")
    if run.replicas >= 2**31:
        raise UserError(f"--replicas {run.replicas}: give at most {2**31 - 1}")
    last_seed = 2**31 - 1 - run.replicas
    if not 0 <= run.seed <= last_seed:
        raise UserError(f"--seed {run.seed}: give 0 to {last_seed}")
    if run.continue_ and (run.out is None or run.restored is not None):
        raise UserError(
            "--continue starts or continues the run in --out: give --out, and leave out --resume "
            "and --load"
        )
    if run.resume is not None and run.load is not None:
        raise UserError("--resume continues training and --load does not train: give one of them")
    if run.restart and (run.resume is None or run.initial_epoch is not None):
        raise UserError(
            "--restart trains a run from its start: give the run with --resume, and leave out "
            "--initial-epoch"
        )
    if run.initial_epoch is not None and run.restored is None:
        raise UserError(
            "--initial-epoch chooses a checkpoint: give its run with --resume or --load"
        )
    _check_processes(run)
    if run.resume is not None and run.out is not None:
        raise UserError("--resume continues in the run's own folder: leave out --out")


def _check_processes(run: RunOptions) -> None:
    """Raises `UserError` if the options for devices and processes are incomplete or wrong."""
    numbers = (run.processes, run.process)
    if run.devices is not None and run.devices < 1:
        raise UserError(f"--devices {run.devices}: give 1 or more, or leave it out for all")
    if run.coordinator is None or run.coordinator == "auto":
        if numbers != (None, None):
            raise UserError(
                "--processes and --process belong to --coordinator HOST:PORT: give all three"
            )
    elif run.processes is None or run.process is None or not 0 <= run.process < run.processes:
        raise UserError(
            f"--coordinator {run.coordinator}: give --processes, the number of processes, and "
            "--process, the number of this one, from 0"
        )
    if run.coordinator is not None and run.out is None and run.resume is None:
        raise UserError(
            "--coordinator: several processes write to one folder; give each the same --out"
        )


def check_same(options: Options, saved: Options) -> None:
    """Raises `UserError` if a resumed run is given other options than it was started with."""
    now, before = _flatten(options), _flatten(saved)
    changed = [name for name in now if name not in _FREE_ON_RESUME and now[name] != before[name]]
    if changed:
        name = changed[0]
        given, started = (_shown(values[name]) for values in (now, before))
        raise UserError(
            f"--{name.replace('_', '-')} {given}: the run to resume was started with {started}; "
            "leave it as it was, or start a new run"
        )


def _shown(value: Any) -> str:
    """Returns the value of an option as a command line has it."""
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return "the default" if value is None else str(value)


def _flatten(options: Any) -> dict[str, Any]:
    """Returns all options of an experiment by name, including those of nested dataclasses."""
    flat = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        flat.update(_flatten(value) if dataclasses.is_dataclass(value) else {field.name: value})
    return flat
