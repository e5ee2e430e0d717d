"""A table of runs: the options that differ, and figures as means over seeds."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxae import runs
from jaxae.comparison.listing import Listed, listed, read_each
from jaxae.comparison.rows import Comparison, Row, check_measured, measured_in
from jaxae.comparison.significance import compare_with_best

_DEFAULT = (
    "test_loss",
    "validation_loss",
    "test_mse",
    "negative_log_likelihood",
    "active_units",
    "codes_used",
    "linear_probe_accuracy",
    "fid",
    "mixture_fid",
    "training_seconds",
)

# Options that do not change what a run measures, or that seeds stand for.
_GROUPS = ("data", "run", "several devices", "debugging")
_IGNORED = {"seed", "replicas", *(name for group in _GROUPS for name in runs.OPTION_GROUPS[group])}


def compare(
    folders: Sequence[Path],
    figures: Sequence[str] | None = None,
    *,
    significance: str | None = None,
) -> Comparison:
    """Reads runs, and joins those that differ only in their seeds; leaves out damaged ones.

    Args:
      folders: runs.
      figures: the names of figures, of records or evaluations; by default those that any run has
        of a usual choice.
      significance: a figure whose rows are compared, by a paired t-test over the seeds that both
        have, with the best row of those that compare.

    Raises:
      UserError: no run can be read, or has a figure, or significance has no best row.
    """
    read, left_out = read_each(_read, folders)
    differing = _differing([options for _, options, _ in read])
    groups: dict[tuple[Any, ...], list[tuple[Listed, dict[str, dict[int, float]]]]] = {}
    for run, options, values in read:
        key = (tuple(options.get(name, "-") for name in differing), run.compared_with)
        groups.setdefault(key, []).append((run, values))
    rows = tuple(
        Row(
            tuple(run for run, _ in members),
            dict(zip(differing, shown, strict=True)),
            _joined([values for _, values in members]),
            compared_with,
        )
        for (shown, compared_with), members in groups.items()
    )
    shared = {
        name: value
        for _, options, _ in read
        for name, value in options.items()
        if name not in differing
    }
    measured = measured_in(rows)
    chosen = tuple(figures or (name for name in _DEFAULT if name in measured))
    for name in chosen if significance is None else (*chosen, significance):
        check_measured(rows, name)
    comparison = Comparison(rows, tuple(differing), chosen, shared, tuple(left_out))
    if significance is None:
        return comparison
    probabilities = compare_with_best(comparison, significance)
    return replace(comparison, probabilities=probabilities, tested=significance)


def _read(folder: Path) -> tuple[Listed, dict[str, str], dict[str, dict[int, float]]]:
    """Returns a run, its options as text, and its figures by name and seed."""
    run = listed(folder)
    flat = _flattened(run.config.values["options"])
    options = {"experiment": run.config.experiment, "dataset": run.config.dataset.name}
    options |= {name: _shown(value) for name, value in flat.items() if name not in _IGNORED}
    figures = dict(run.figures)
    if (folder / "evaluation.json").exists():
        figures |= runs.read_evaluation(folder).figures
    first = run.seeds[0]
    values = {
        name: found for name in figures if (found := _by_seed(figures, name, first)) is not None
    }
    return run, options, values


def _flattened(options: Mapping[str, Any]) -> dict[str, Any]:
    """Returns options without the groups that they are in."""
    flat = {}
    for name, value in options.items():
        flat |= _flattened(value) if isinstance(value, dict) else {name: value}
    return flat


def _by_seed(figures: Mapping[str, Any], name: str, seed: int) -> dict[int, float] | None:
    """Returns a figure by seed: its replicas', else the run's own; None if it is no number."""
    if name.endswith(("_std", "_replicas")):
        return None
    replicas = figures.get(f"{name}_replicas")
    if replicas is not None:
        return {seed + n: float(value) for n, value in enumerate(replicas)}
    value = figures[name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return {seed: float(value)}


def _shown(value: Any) -> str:
    """Returns an option as a command line has it."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "default" if value is None else str(value)


def _differing(options: Sequence[Mapping[str, str]]) -> list[str]:
    """Returns the names of options that differ between the runs that have them."""
    names = dict.fromkeys(itertools.chain.from_iterable(options))
    return [name for name in names if len({each[name] for each in options if name in each}) > 1]


def _joined(
    figures: Sequence[Mapping[str, Mapping[int, float]]],
) -> dict[str, dict[int, float]]:
    """Returns the figures of several runs by name and seed; of equal seeds, the last run's."""
    joined: dict[str, dict[int, float]] = {}
    for each in figures:
        for name, values in each.items():
            joined.setdefault(name, {}).update(values)
    return joined
