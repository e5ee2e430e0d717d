"""A run's measurements, read and checked: metrics.jsonl, summary.json, evaluation.json."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jaxae.files import Count, convert, decode_json, read_json, unfit

_ABBREVIATED = ("fid", "kid", "kl", "mse", "psnr", "ssim")

_LARGEST = 1e300  # the range of a plot overflows beyond this

_MEASURED = (
    "train_",
    "validation_",
    "test_",
    "best_",
    "seconds",
    "training_",
)  # prefixes of numbers' names

_OF_AN_EPOCH = ("epoch", "train_loss", "seconds")  # not every epoch is tested
_OF_A_RUN = ("epoch", "test_loss", "parameters", "training_seconds")  # also of a loaded run


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Reads the lines of metrics.jsonl; none if there is no such file.

    An unfinished last line is left out, and null becomes NaN. Raises `UserError`, which names the
    line, if one is invalid.
    """
    path = folder / "metrics.jsonl"
    try:
        *lines, _ = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    records = []
    for number, line in enumerate(lines, 1):
        try:
            if line.strip():
                records.append(_check_figures(decode_json(line), _OF_AN_EPOCH))
        except ValueError as error:
            raise unfit(f"line {number} of {path}", error) from None
    return records


def read_summary(folder: Path) -> dict[str, Any]:
    """Reads a run's summary.json, with NaN for null; raises `UserError` if it is invalid."""
    path = folder / "summary.json"
    values = read_json(path)
    try:
        return _check_figures(values, _OF_A_RUN)
    except ValueError as error:
        raise unfit(path, error) from None


@dataclass(frozen=True)
class _RecordedClassifier:
    """The classifier of an evaluated dataset's classes."""

    accuracy: float
    digest: str


@dataclass(frozen=True)
class _RecordedSettings:
    """The settings of an evaluation that are read."""

    prior: str


@dataclass(frozen=True)
class _Evaluation:
    """The parts of evaluation.json that are read."""

    figures: dict[str, Any]
    settings: _RecordedSettings
    classifier: _RecordedClassifier | None = None  # None for data without labels
    step: Count | None = None  # of the checkpoint


def read_evaluation(folder: Path) -> _Evaluation:
    """Reads a run's evaluation.json; raises `UserError` if it is missing or invalid."""
    path = folder / "evaluation.json"
    values = read_json(path)
    try:
        evaluation = convert(_Evaluation, values, "")
        return replace(evaluation, figures=_check_figures(evaluation.figures))
    except ValueError as error:
        raise unfit(path, error) from None


def _check_figures(values: Any, required: Sequence[str] = ()) -> dict[str, Any]:
    """Returns named figures from JSON; raises `ValueError` if one is missing or invalid."""
    named = convert(dict[str, Any], values, "it")
    missing = [name for name in required if name not in named]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
    return {name: _check_figure(name, value) for name, value in named.items()}


def _check_figure(name: str, value: Any) -> Any:
    """Returns a figure: a count, a list over replicas, names, text, or a number."""
    if name in ("epoch", "parameters", "best_epoch"):
        return convert(Count | None if name == "best_epoch" else Count, value, name)
    if name == "best_chosen_on":
        return convert(Literal["validation", "test"], value, name)
    if name == "stopped_early":
        return convert(bool, value, name)
    if name.endswith("_replicas"):
        numbers = convert(tuple[float | None, ...], value, name)
        if not numbers:
            raise ValueError(f"{name} is empty")
        return [_check_number(name, number) for number in numbers]
    if name in ("warnings", "health_warnings"):
        return list(convert(tuple[str, ...], value, name))
    if isinstance(value, str) and not name.startswith(_MEASURED):
        return value
    return _check_number(name, value)


def _check_number(name: str, value: Any) -> float:
    """Returns a number, NaN for null; raises `ValueError` if it is finite and beyond _LARGEST."""
    number = convert(float | None, value, name)
    if number is None:
        return math.nan
    if math.isfinite(number) and abs(number) > _LARGEST:
        raise ValueError(f"{name} is {number}; expected at most {_LARGEST:g}")
    return number


def curve(lines: Sequence[Mapping[str, Any]], name: str) -> np.ndarray:
    """Returns a figure over epochs, [R, E] for R replicas; NaN if a line lacks it."""
    rows = [np.atleast_1d(line.get(f"{name}_replicas", line.get(name, math.nan))) for line in lines]
    values = np.full((max(map(len, rows)), len(rows)), math.nan)
    for index, row in enumerate(rows):
        values[: len(row), index] = row
    return values


def loss_curves(lines: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    """Returns the losses over epochs by split, [R, E] each; without validation if there is none."""
    validated = any("validation_loss" in line for line in lines)
    splits = ("train", "test", "validation") if validated else ("train", "test")
    return {split: curve(lines, f"{split}_loss") for split in splits}


def spell_out(name: str) -> str:
    """Returns the name of an option or a figure as words."""
    words = name.split("_")
    return " ".join(word.upper() if word in _ABBREVIATED else word for word in words)


def format_figure(figures: Mapping[str, Any], name: str) -> str:
    """Formats a figure to four significant digits, or as mean ± std over replicas.

    The std has two significant digits, and the mean as many decimals. A missing figure is NaN.
    """
    value, deviation = figures.get(name, math.nan), figures.get(f"{name}_std")
    if deviation is None or not math.isfinite(deviation) or not math.isfinite(value):
        return f"{value:,.0f}" if math.isfinite(value) and abs(value) >= 10_000 else f"{value:.4g}"
    if deviation == 0:
        return f"{value:.4g} ± 0"
    decimals = min(max(1 - math.floor(math.log10(deviation)), 0), 6)
    return f"{value:.{decimals}f} ± {deviation:.{decimals}f}"
