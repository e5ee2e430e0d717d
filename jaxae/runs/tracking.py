"""Tracking of a run beside its folder: TensorBoard, and an experiment tracker if one is wanted."""

import contextlib
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxae import data
from jaxae.devices import is_first_process
from jaxae.errors import UserError
from jaxae.files import convert, decode_json, encode_json, read_json, unfit, write_json
from jaxae.runs import environment, progress, records, trackers
from jaxae.runs.interrupts import keep_interrupts
from jaxae.runs.options import Options, RunOptions
from jaxae.runs.reading import read_summary
from jaxae.runs.trackers import Ending, Identity, Tracker

IDS_FILE = "tracking.json"
"""The ids of the tracked runs that a run's folder belongs to, by the tracker's name."""

_STARTS = {
    "wandb": trackers.start_wandb,
    "trackio": trackers.start_trackio,
    "mlflow": trackers.start_mlflow,
}

_ADVICE = {
    "wandb": "log in with `wandb login`, or set WANDB_MODE=offline",
    "trackio": "unset TRACKIO_SPACE_ID and TRACKIO_SERVER_URL to track on this machine alone",
    "mlflow": "check MLFLOW_TRACKING_URI; without it, the run's folder holds what is tracked",
}


@contextlib.contextmanager
def open_trackers(
    folder: Path,
    experiment: str,
    options: Options,
    dataset: data.Dataset,
    command: Sequence[str] | None = None,
) -> Iterator[tuple[Tracker, ...]]:
    """Opens TensorBoard and the tracker that the options ask for, in the first process alone.

    A run that is loaded is not tracked. At the end they learn how the block has ended, and the
    run's summary. If the tracker fails meanwhile, one warning says so, and training goes on.

    Raises:
      UserError: the tracker is not installed, cannot start, or does not have the run to continue.
    """
    shared, opened = options.run, []
    if is_first_process() and shared.track != "none" and shared.load is None:
        opened.append(_start(folder, experiment, options, dataset, command))
    ending: Ending = "failed"
    try:
        if is_first_process() and shared.tensorboard:
            opened.append(trackers.open_tensorboard(folder))
        yield tuple(opened)
        ending = "finished" if (folder / records.SUMMARY_FILE).exists() else "interrupted"
    except KeyboardInterrupt:
        ending = "interrupted"
        raise
    finally:
        summary = read_summary(folder) if ending == "finished" else {}
        for tracker in opened:
            tracker.end(ending, summary)


def _start(
    folder: Path,
    experiment: str,
    options: Options,
    dataset: data.Dataset,
    command: Sequence[str] | None,
) -> Tracker:
    """Starts the tracker that the options name, and keeps the id of its run in the folder."""
    shared = options.run
    ids = _read_ids(folder) if shared.resume is not None else {}
    continued = None if _trains_again(shared) else ids.get(shared.track)
    description = {
        "experiment": experiment,
        "dataset": records.describe_dataset(dataset),
        "options": records.describe_options(options, dataset),
        **environment.describe_environment(dataset, command),
    }
    identity = Identity(
        continued or uuid.uuid4().hex,
        folder.absolute().name,
        decode_json(encode_json(description).encode()),
        folder.absolute(),
        continued=continued is not None,
    )
    try:
        with keep_interrupts():
            tracked, tracker = _STARTS[shared.track](identity)
    except UserError:
        raise
    except Exception as error:  # packages that track raise errors of many types
        again = f", or remove {folder / IDS_FILE} to track it anew" if continued else ""
        raise UserError(
            f"--track {shared.track} cannot start ({_one_line(error)}): {_ADVICE[shared.track]}"
            f"{again}, or give --track none"
        ) from error
    write_json(folder / IDS_FILE, {**ids, shared.track: tracked})
    return _guard(tracker, shared.track)


def _trains_again(shared: RunOptions) -> bool:
    """Returns whether a resumed run trains epochs again that the tracked run already has."""
    return shared.restart or shared.initial_epoch is not None


def _read_ids(folder: Path) -> dict[str, str]:
    """Reads the ids in tracking.json; none if there is no such file."""
    path = folder / IDS_FILE
    if not path.exists():
        return {}
    values = read_json(path)
    try:
        return convert(dict[str, str], values, "it")
    except ValueError as error:
        raise unfit(path, error) from None


def _guard(tracker: Tracker, name: str) -> Tracker:
    """Returns a tracker whose first failure becomes a warning, after which it only ends."""
    failed = False

    def guarded(function: Callable[..., None], *, last: bool = False) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            nonlocal failed
            if failed and not last:
                return
            try:
                with keep_interrupts():
                    function(*arguments)
            except Exception as error:  # packages that track raise errors of many types
                if not failed:
                    progress.show_warnings(
                        [
                            f"{name} failed ({_one_line(error)}): the rest of this run is not "
                            "tracked; metrics.jsonl has all of it"
                        ]
                    )
                failed = True

        return call

    return replace(
        tracker,
        show_epoch=guarded(tracker.show_epoch),
        show_picture=guarded(tracker.show_picture),
        end=guarded(tracker.end, last=True),
    )


def _one_line(error: Exception) -> str:
    """Returns the type and the message of an error as one line of at most 300 characters."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:297]}..."
