"""TensorBoard, Weights & Biases, Trackio and MLflow behind one protocol.

All but TensorBoard are extras of jaxae; they show a picture by its name without the number, at the
last epoch shown.
"""

import importlib
import itertools
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import UInt8

from jaxae.errors import UserError

Ending = Literal["finished", "failed", "interrupted"]
"""How a run has ended; an interrupted one can be resumed."""

Picture = UInt8[np.ndarray, "H W *C"]

_PROJECT = "jaxae"
_PARAMETERS_AT_ONCE = 100  # that MLflow takes
_LONGEST = 500  # characters of a parameter, which every version of MLflow takes


@dataclass(frozen=True)
class Tracker:
    """Functions that show a run while it trains.

    show_epoch: shows the figures of an epoch, which come with its number.
    show_picture: shows a picture, with its name and caption.
    end: ends the tracked run, with the run's summary if it has finished, else nothing.
    """

    show_epoch: Callable[[int, Mapping[str, float]], None]
    show_picture: Callable[[str, Picture, str], None]
    end: Callable[[Ending, Mapping[str, Any]], None]


@dataclass(frozen=True)
class Identity:
    """A run as a tracker knows it."""

    id: str  # of the tracked run to continue, or for a new one
    name: str
    config: Mapping[str, Any]  # as JSON has it
    folder: Path
    continued: bool


def open_tensorboard(folder: Path) -> Tracker:
    """Opens TensorBoard's event files in the run's folder."""
    from tensorboardX import SummaryWriter

    board = SummaryWriter(str(folder / "tensorboard"))

    def show_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        for name, value in figures.items():
            board.add_scalar(name, value, epoch)

    def show_picture(name: str, picture: Picture, caption: str) -> None:
        image = picture if picture.ndim == 3 else picture[..., None]
        board.add_image(name, image, dataformats="HWC")

    def end(ending: Ending, summary: Mapping[str, Any]) -> None:
        board.close()

    return Tracker(show_epoch, show_picture, end)


def start_wandb(identity: Identity) -> tuple[str, Tracker]:
    """Starts a run of Weights & Biases; returns its id too. Its files are in the run's folder."""
    wandb = _import("wandb", "wandb")
    if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False):
        raise RuntimeError("nobody is logged in")
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", _PROJECT),
        name=identity.name,
        id=identity.id,
        resume="allow" if identity.continued else "never",
        dir=os.environ.get("WANDB_DIR", identity.folder),
        settings=wandb.Settings(console="off"),  # else it wraps stdout, where the bar is
    )
    run.config.update(dict(identity.config), allow_val_change=True)  # as --epochs may change
    shown = _Shown()

    def show_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        shown.epoch = epoch
        run.log({"epoch": epoch, **figures}, step=epoch)

    def show_picture(name: str, picture: Picture, caption: str) -> None:
        if shown.epoch is not None:
            image = wandb.Image(picture, caption=caption)
            run.log({_key(name): image}, step=shown.epoch)

    def end(ending: Ending, summary: Mapping[str, Any]) -> None:
        run.summary.update({**summary, "ending": ending})
        run.finish(exit_code={"finished": 0, "failed": 1, "interrupted": 255}[ending])

    return identity.id, Tracker(show_epoch, show_picture, end)


def start_trackio(identity: Identity) -> tuple[str, Tracker]:
    """Starts a run of Trackio, which has no status: `summary/ending` is one. Returns its id too."""
    trackio = _import("trackio", "trackio")
    run = trackio.init(
        project=_PROJECT,
        name=identity.name,
        config=dict(identity.config),
        resume="must" if identity.continued else "never",
        embed=False,  # else it starts a dashboard in a notebook
    )
    if identity.continued and run.id != identity.id:
        trackio.finish()
        raise RuntimeError(f"its latest run named {identity.name} is not this one")
    shown = _Shown()

    def show_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        shown.epoch = epoch
        run.log(dict(figures), step=epoch)

    def show_picture(name: str, picture: Picture, caption: str) -> None:
        if shown.epoch is not None:
            run.log({_key(name): trackio.Image(picture, caption=caption)}, step=shown.epoch)

    def end(ending: Ending, summary: Mapping[str, Any]) -> None:
        closing = {f"summary/{name}": value for name, value in _numbers(summary)}
        if shown.epoch is not None:
            run.log({**closing, "summary/ending": ending}, step=shown.epoch)
        trackio.finish()  # run.finish() would leave it to finish again when Python exits

    return run.id, Tracker(show_epoch, show_picture, end)


def start_mlflow(identity: Identity) -> tuple[str, Tracker]:
    """Starts a run of MLflow, by default with a store in the run's folder; returns its id too."""
    mlflow = _import("mlflow", "mlflow")
    entities = _import("mlflow.entities", "mlflow")
    client, experiment = _mlflow_store(mlflow, identity.folder)
    if identity.continued:
        tracked = identity.id
        client.update_run(tracked, status="RUNNING")
    else:
        tracked = client.create_run(experiment(), run_name=identity.name).info.run_id
        parameters = [
            entities.Param(name, str(value)[:_LONGEST]) for name, value in _flatten(identity.config)
        ]
        for batch in _batches(parameters, _PARAMETERS_AT_ONCE):
            client.log_batch(tracked, params=batch)
    shown = _Shown()

    def log(figures: Mapping[str, float], epoch: int) -> None:
        now = int(1000 * time.time())
        metrics = [entities.Metric(name, value, now, epoch) for name, value in figures.items()]
        client.log_batch(tracked, metrics=metrics)

    def show_epoch(epoch: int, figures: Mapping[str, float]) -> None:
        shown.epoch = epoch
        log(figures, epoch)

    def show_picture(name: str, picture: Picture, caption: str) -> None:
        if shown.epoch is not None:
            client.log_image(tracked, picture, key=_key(name), step=shown.epoch)

    def end(ending: Ending, summary: Mapping[str, Any]) -> None:
        log({f"summary/{name}": value for name, value in _numbers(summary)}, shown.epoch or 0)
        status = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}[ending]
        client.set_terminated(tracked, status)

    return tracked, Tracker(show_epoch, show_picture, end)


@dataclass
class _Shown:
    """The last epoch that this process has shown, whose pictures are shown next.

    Before the first one, a resumed run draws again what it has shown already.
    """

    epoch: int | None = None


def _mlflow_store(mlflow: Any, folder: Path) -> tuple[Any, Callable[[], str]]:
    """Returns a client of MLflow's, and a function that returns the id of jaxae's experiment."""
    if mlflow.is_tracking_uri_set():
        uri, place = mlflow.get_tracking_uri(), None
    else:
        for module in ("sqlalchemy", "alembic"):  # which mlflow-skinny does not bring
            _import(module, "mlflow")
        (folder / "mlflow").mkdir(exist_ok=True)
        uri = f"sqlite:///{(folder / 'mlflow' / 'mlflow.db').as_posix()}"
        place = (folder / "mlflow" / "artifacts").as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT)

    def experiment() -> str:
        found = client.get_experiment_by_name(name)
        if found is None:
            return client.create_experiment(name, artifact_location=place)
        return found.experiment_id

    return client, experiment


def _import(module: str, extra: str) -> Any:
    """Imports a module of an extra; raises `UserError` if it is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name != module:
            raise
        raise UserError(
            f"--track {extra} needs the package {module}: install it with "
            f"`pip install 'jaxae[{extra}]'`, or give --track none"
        ) from None


def _key(name: str) -> str:
    """Returns the name that a tracker shows a picture under: epoch_003 as pictures/epoch."""
    return "pictures/" + re.sub(r"_\d+$", "", name)


def _numbers(summary: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yields the numbers of a summary, without the lists over replicas."""
    for name, value in summary.items():
        if isinstance(value, int | float):
            yield name, float(value)


def _flatten(values: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields the values of nested dictionaries, with their keys joined by dots."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    """Yields a list in parts of at most `size`."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch
