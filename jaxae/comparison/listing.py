"""The runs below folders, and the state of each."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from jaxae import checkpoint, family, runs
from jaxae.errors import UserError
from jaxae.runs import CONFIG_FILE, Config

_Read = TypeVar("_Read")

State = Literal["finished", "stopped early", "diverged", "running", "unfinished"]


_OF_LOSS = ("objective", "likelihood", "standard_deviation", "binarization", "beta", "noise")
"""Options of experiments that change what a loss is."""


@dataclass(frozen=True)
class Listed:
    """A run, as a list of runs shows it."""

    folder: Path
    config: Config
    state: State
    epochs: int  # trained
    figures: Mapping[str, Any]  # of the summary, else of the last tested epoch; may be empty
    changed: float  # when its records last changed, in seconds since 1970

    @property
    def member(self) -> str:
        """The experiment, or the member of the family."""
        return self.config.options.objective or self.config.experiment

    @property
    def seeds(self) -> range:
        """The seeds of its replicas."""
        first = self.config.values["options"]["run"].get("seed", 0)
        return range(first, first + self.config.options.run.replicas)

    @property
    def compared_with(self) -> tuple[Any, ...]:
        """What runs have in common whose losses compare: the data, and what the loss is made of."""
        values = self.config.values["options"]
        return (
            self.config.dataset.fingerprint,
            self.config.experiment,
            *(str(values.get(name)) for name in _OF_LOSS),
            *(f"{name} {value}" for name, value in sorted(self._settings_of_loss.items())),
        )

    @property
    def _settings_of_loss(self) -> dict[str, Any]:
        """The settings of the objective, such as weights, with the defaults of those not given."""
        options = self.config.values["options"]
        member = family.FAMILY.get(options.get("objective", ""))
        if member is None or self.config.experiment != "family":
            return {}
        given = options.get("settings") or {}
        defaults = family.defaults_of(member.settings)
        return {
            name: default if given.get(name) is None else given[name]
            for name, default in defaults.items()
        }


def find_runs(places: Sequence[Path]) -> list[Path]:
    """Returns the folders of runs: the places that are runs, and all runs below the others.

    Raises `UserError` without a place, or for one that does not exist, has no run, or is an export.
    """
    if not places:
        raise UserError("no run was given: give runs, or folders of runs")
    found: dict[Path, None] = {}
    for place in places:
        if not place.is_dir():
            raise UserError(f"{place} is not a folder: give runs, or folders of runs")
        checkpoint.check_not_export(place)
        configs = sorted(place.rglob(CONFIG_FILE))
        here = [path.parent for path in configs if _is_config(path)]
        if not here:
            raise UserError(f"{place} has no run: give runs, or folders of runs")
        found |= dict.fromkeys(here)
    return list(found)


def _is_config(path: Path) -> bool:
    """Returns whether a config.json is that of a run; other programs write such files, too."""
    hidden = any(part.startswith(".") for part in path.parts if part not in (".", ".."))
    return not hidden and _is_run(path.parent)


def _is_run(folder: Path) -> bool:
    """Returns whether a folder is a run; an export is none."""
    is_export = (folder / checkpoint.EXPORT).is_file()
    return (folder / CONFIG_FILE).is_file() and (folder / "checkpoints").is_dir() and not is_export


def run_around(path: Path) -> Path | None:
    """Returns the folder of the run that a path is in; None if it is in none."""
    folders = path.absolute().parents
    return next((each for each in folders if _is_run(each)), None)


def read_each(
    read: Callable[[Path], _Read], folders: Sequence[Path]
) -> tuple[list[_Read], list[str]]:
    """Reads runs; returns what was read of those that can be, and the errors of the others.

    Raises `UserError` if none can be read.
    """
    found: list[_Read] = []
    errors: list[str] = []
    for folder in folders:
        try:
            found.append(read(folder))
        except UserError as error:
            errors.append(str(error))
    if errors and not found:
        raise UserError(errors[0])
    return found, errors


def listed(folder: Path) -> Listed:
    """Reads a run's state; raises `UserError` if one of its files is invalid."""
    config, records = runs.read_config(folder), runs.read_records(folder)
    finished = (folder / "summary.json").exists()
    if finished:
        figures: Mapping[str, Any] = runs.read_summary(folder)
    else:
        figures = next((line for line in records[::-1] if "test_loss" in line), {})
    times = [folder / name for name in ("metrics.jsonl", "summary.json", CONFIG_FILE)]
    changed = max(path.stat().st_mtime for path in times if path.exists())
    epochs = records[-1]["epoch"] if records else 0
    return Listed(folder, config, _state_of(folder, finished, figures), epochs, figures, changed)


def _state_of(folder: Path, finished: bool, figures: Mapping[str, Any]) -> State:
    """Returns the state of a run."""
    if not finished:
        return "running" if runs.is_locked(folder) else "unfinished"
    if "warning" in figures:
        return "diverged"
    return "stopped early" if figures.get("stopped_early") else "finished"


def resuming_command(run: Listed) -> str:
    """Returns the line that continues a run; data of one's own are found where they were last."""
    program, _ = runs.split_command(runs.words_of(run.config.command))
    started_by = Path(program[-1]).stem if program else ""
    if started_by in ("train", run.config.experiment):
        return shlex.join([*program, "--resume", run.folder.as_posix()])
    return f"jaxae.fit(..., out={run.folder.as_posix()!r}, resume=True)"
