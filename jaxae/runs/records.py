"""The records of a run: config.json, metrics.jsonl and summary.json."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxae.data import Dataset
from jaxae.devices import is_first_process
from jaxae.files import encode_json, write_json, write_whole
from jaxae.runs.config import CONFIG_FILE, read_config
from jaxae.runs.environment import describe_environment
from jaxae.runs.options import Options
from jaxae.runs.reading import read_records, read_summary
from jaxae.runs.trackers import Tracker

SUMMARY_FILE = "summary.json"


def write_config(
    folder: Path,
    experiment: str,
    options: Options,
    dataset: Dataset,
    steps_per_epoch: int,
    network: dict[str, Any] | None = None,
    *,
    command: Sequence[str] | None = None,
    corrupted_tests: bool = False,
    standardized: bool = False,
    loss_unit: str = "",
) -> None:
    """Writes config.json; a resumed run keeps its first config and adds its new environment.

    The command is one that trains the run, by default this process's.

    With `corrupted_tests`, the run is tested on inputs that are not the test images themselves;
    with `standardized`, it is trained on floats around 0. `loss_unit` is of the recorded losses.
    """
    path = folder / CONFIG_FILE
    if path.exists():
        config = read_config(folder).values
        config["options"] = describe_options(options, dataset)
        config.setdefault("resumed", []).append(describe_environment(dataset, command))
    else:
        config = {
            "experiment": experiment,
            "dataset": describe_dataset(dataset),
            "options": describe_options(options, dataset),
            "steps_per_epoch": steps_per_epoch,
            "network": network,
            "corrupted_tests": corrupted_tests,
            "standardized": standardized,
            "loss_unit": loss_unit,
            **describe_environment(dataset, command),
        }
    write_json(path, config)


def describe_dataset(dataset: Dataset) -> dict[str, Any]:
    """Returns what config.json keeps of the dataset."""
    return {
        "name": dataset.name,
        "train_images": len(dataset.train.images),
        "validation_images": dataset.validation_images,
        "test_images": len(dataset.test.images),
        "image_shape": dataset.train.images.shape[1:],
        "fingerprint": dataset.fingerprint,
        "classes": len(dataset.class_names),
        "own": dataset.own,
        "scaling": dataset.scaling and dataclasses.asdict(dataset.scaling),
    }


def describe_options(options: Options, dataset: Dataset | None = None) -> dict[str, Any]:
    """Returns an experiment's options: data folders as absolute paths, own data by its name."""
    values = dataclasses.asdict(options)  # pyright: ignore[reportArgumentType]
    if dataset is not None and dataset.own:
        values["run"]["dataset"] = dataset.name
    for name in ("data_dir", "sources"):
        place = getattr(options.run, name)
        values["run"][name] = place and place.expanduser().absolute()
    return values


def flatten_replicas(prefix: str, metrics: dict[str, Any]) -> dict[str, Any]:
    """Returns metrics as JSON numbers, with a prefix to their names.

    A scalar stays one number. Replicas [R] become their mean, with their sample standard deviation
    as NAME_std and the R numbers as NAME_replicas.
    """
    record = {}
    for name, value in metrics.items():
        values = np.asarray(value, np.float64)
        record[prefix + name] = float(values.mean())
        if values.ndim:
            record[f"{prefix}{name}_std"] = float(values.std(ddof=1))
            record[f"{prefix}{name}_replicas"] = values.tolist()
    return record


def append_record(folder: Path, record: dict[str, Any], trackers: Sequence[Tracker]) -> None:
    """Appends an epoch's line to metrics.jsonl, and shows its figures on the trackers."""
    if not is_first_process():
        return
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write(encode_json(record) + "\n")
    _show(record, trackers)


def replace_record(folder: Path, record: dict[str, Any], trackers: Sequence[Tracker]) -> None:
    """Replaces the line of an epoch and those after it, at once, and shows it on the trackers."""
    kept = [other for other in read_records(folder) if other["epoch"] < record["epoch"]]
    _write_records(folder, [*kept, record])
    _show(record, trackers)


def _show(record: dict[str, Any], trackers: Sequence[Tracker]) -> None:
    """Shows the figures of an epoch, without the lists over replicas."""
    figures = {name: value for name, value in record.items() if isinstance(value, float)}
    for tracker in trackers:
        tracker.show_epoch(record["epoch"], figures)


def write_summary(folder: Path, record: dict[str, Any], parameters: int) -> None:
    """Writes summary.json: the last record, parameter count, training time and best epoch.

    `best_chosen_on` names the images whose loss chose the best epoch: "validation" or "test".
    `best_test_loss` is the test loss of that epoch; only if it was chosen on test images, it is
    the lowest of all. `health_warnings` lists the faults that training has warned of.
    """
    lines = read_records(folder)
    faults = [fault for line in lines for fault in line.get("warnings", ())]
    record = {name: value for name, value in record.items() if name != "warnings"}
    best, validated = best_record(lines), "validation_loss" in record
    losses = ("validation_loss", "test_loss") if validated else ("test_loss",)
    summary = {
        **record,
        **({"health_warnings": faults} if faults else {}),
        "parameters": parameters,
        "training_seconds": sum(line["seconds"] for line in lines),
        "best_epoch": best and best["epoch"],
        **{f"best_{name}": best and best[name] for name in losses},
        **({"best_chosen_on": "validation" if validated else "test"} if best else {}),
    }
    write_json(folder / SUMMARY_FILE, summary)


def is_tested(record: Mapping[str, Any]) -> bool:
    """Returns whether the epoch of a record was followed by a test."""
    return "test_loss" in record


def watched_loss(record: Mapping[str, Any]) -> Any:
    """Returns the loss of an epoch that decides: on validation images, else on test images.

    It is a number, or a list over replicas; NaN if the epoch was not tested.
    """
    name = "validation_loss" if "validation_loss" in record else "test_loss"
    return record.get(f"{name}_replicas", record.get(name, math.nan))


def mean_watched_loss(record: Mapping[str, Any]) -> float:
    """Returns the mean over replicas of the loss that chooses the best epoch."""
    return float(np.mean(watched_loss(record)))


def best_record(lines: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Returns the record of the lowest watched loss, the first if several have it; None if none."""
    finite = [line for line in lines if math.isfinite(mean_watched_loss(line))]
    return min(finite, key=mean_watched_loss, default=None)


LABELED = "_labeled"
"""Ends the name of a picture with labels that has another one without them beside it."""


def pictures_by_epoch(folder: Path) -> dict[int, Path]:
    """Returns a run's pictures/epoch_NNN.png by epoch, in ascending order.

    Where there is also epoch_NNN_labeled.png, it is that.
    """
    numbered = {
        path.stem.removeprefix("epoch_").removesuffix(LABELED): path
        for path in sorted((folder / "pictures").glob("epoch_*.png"))
    }
    return dict(sorted((int(name), path) for name, path in numbered.items() if name.isdecimal()))


def keep_records(folder: Path, epochs: int) -> None:
    """Rewrites metrics.jsonl without the lines of epochs after the given one."""
    kept = [record for record in read_records(folder) if record["epoch"] <= epochs]
    if (folder / "metrics.jsonl").exists():
        _write_records(folder, kept)


def _write_records(folder: Path, lines: list[dict[str, Any]]) -> None:
    """Writes metrics.jsonl whole or not at all."""
    text = "".join(encode_json(record) + "\n" for record in lines)
    write_whole(folder / "metrics.jsonl", text)


def remove_summary(folder: Path) -> None:
    """Removes summary.json, which marks a run as finished, before the run continues."""
    if is_first_process():
        (folder / SUMMARY_FILE).unlink(missing_ok=True)


def add_to_summary(folder: Path, results: dict[str, Any]) -> None:
    """Adds entries to summary.json."""
    if not is_first_process():
        return
    path = folder / SUMMARY_FILE
    write_json(path, {**read_summary(folder), **results})
