"""What can be asked of every run: the options, their ranges, and what a resumed run may change."""

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import jax.numpy as jnp

from jaxae.errors import UserError

Binarization = Literal["none", "dynamic", "static"]


@dataclass(frozen=True)
class RunOptions:
    """The options all experiments share; each has its own defaults for the first three."""

    epochs: int  # passes over the training images
    batch_size: int  # images a step
    learning_rate: float  # of Adam
    dataset: str | None = None  # a TFDS name, taken exactly; None: the experiment's own
    data_dir: Path | None = None  # where TFDS keeps prepared sets; None: $TFDS_DATA_DIR, or its own
    sources: Path | None = None  # original archives, a subfolder a dataset; None: $JAXAE_SOURCES
    stream: bool = False  # read training images while training, for sets larger than memory
    workers: int = 0  # processes that read and decode them; 0: threads
    seed: int = 0  # of the initial parameters, the order and the noise
    precision: Literal["float32", "bf16"] = "float32"  # of the network's computation
    replicas: int = 1  # seeds trained at once, from `seed` on; numbers become mean and std
    out: Path | None = None  # the run's folder; None: results/EXPERIMENT/TIME
    resume: Path | None = None  # go on with this run, in its folder and with its options
    restart: bool = False  # with resume: from the start again; its checkpoints are set aside
    load: Path | None = None  # no training: evaluate and draw this run's latest checkpoint
    initial_epoch: int | None = None  # with load or resume: this epoch; resume deletes later ones
    tensorboard: bool = False  # also write TensorBoard event files
    compilation_cache: bool = True  # keep compiled programs for the next start
    devices: int | None = None  # that share each batch; None: all
    coordinator: str | None = None  # of several processes: HOST:PORT, or auto on a known cluster
    processes: int | None = None  # how many there are, unless the cluster knows
    process: int | None = None  # which one this is, from 0, unless the cluster knows
    debug: bool = False  # stop at the first step that is not finite, and name the operation

    @property
    def dtype(self) -> Any:
        """The precision, as the models take it."""
        return None if self.precision == "float32" else jnp.bfloat16

    @property
    def restored(self) -> Path | None:
        """The run whose checkpoint this one starts from, if any."""
        return self.resume or self.load


class Options(Protocol):
    """An experiment's options: a frozen dataclass with its own fields and these."""

    @property
    def run(self) -> RunOptions:
        """The shared ones."""
        ...


OptionsType = TypeVar("OptionsType", bound=Options)

# What may differ between a run and its continuation.
_FREE_ON_RESUME = {
    "epochs",
    "data_dir",
    "sources",
    "out",
    "resume",
    "restart",
    "load",
    "initial_epoch",
    "tensorboard",
    "compilation_cache",
    "workers",
    "devices",
    "coordinator",
    "processes",
    "process",
    "debug",
}


def check_options(run: RunOptions) -> None:
    """UserError for the first value out of its range."""
    for name in ("epochs", "batch_size", "replicas"):
        if getattr(run, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(run, name)}: give 1 or more")
    if run.workers < 0 or (run.workers and not run.stream):
        raise UserError(f"--workers {run.workers}: give 0 or more, and --stream")
    if not (math.isfinite(run.learning_rate) and run.learning_rate > 0):
        raise UserError(f"--learning-rate {run.learning_rate}: give a positive number")
    if run.seed < 0 or run.seed + run.replicas >= 2**31:
        raise UserError(f"--seed {run.seed}: give 0 or more, and less than 2147483647")
    if run.resume is not None and run.load is not None:
        raise UserError("--resume goes on training and --load does not train: give one of them")
    if run.restart and (run.resume is None or run.initial_epoch is not None):
        raise UserError("--restart begins a run again: give its run by --resume, and no epoch")
    if run.initial_epoch is not None and run.restored is None:
        raise UserError("--initial-epoch chooses a checkpoint: give its run by --resume or --load")
    check_processes(run)
    if run.resume is not None and run.out is not None:
        raise UserError("--resume goes on in the run's own folder: leave --out away")


def check_processes(run: RunOptions) -> None:
    """UserError where the options say half of how several processes find each other."""
    numbers = (run.processes, run.process)
    if run.devices is not None and run.devices < 1:
        raise UserError(f"--devices {run.devices}: give 1 or more, or leave it away for all")
    if run.coordinator is None or run.coordinator == "auto":
        if numbers != (None, None):
            raise UserError(
                "--processes and --process belong to --coordinator HOST:PORT: give all three"
            )
    elif run.processes is None or run.process is None or not 0 <= run.process < run.processes:
        raise UserError(
            f"--coordinator {run.coordinator}: give --processes, how many there are, and "
            "--process, which of them this one is, from 0"
        )
    if run.coordinator is not None and run.out is None and run.resume is None:
        raise UserError(
            "--coordinator: several processes write to one folder; give --out, the same to each"
        )


def check_same(options: Options, saved: Options) -> None:
    """UserError where a resumed run is given other options than it was started with."""
    now, before = flatten(options), flatten(saved)
    changed = [name for name in now if name not in _FREE_ON_RESUME and now[name] != before[name]]
    if changed:
        name = changed[0]
        raise UserError(
            f"--{name.replace('_', '-')} {now[name]}: the run to resume was started with "
            f"{before[name]}; leave it as it was, or start a new run"
        )


def flatten(options: Options) -> dict[str, Any]:
    """An experiment's own and shared options by name, those of nested dataclasses as well."""
    flat = {}
    for name, value in dataclasses.asdict(options).items():  # pyright: ignore[reportArgumentType]
        flat.update(value if isinstance(value, dict) else {name: value})
    return flat
