"""The measurements of a machine so far, and the file that keeps them beside its page."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from jaxae.errors import UserError
from speed_processes import Outcome
from speed_tables import Row
from speed_workloads import NotMeasured, Workload, measurement_from

RECIPES = ("fashion", "denoise", "latent2d", "latent3d", "conv", "deep")


@dataclass(frozen=True)
class Floor:
    """What bounds the dense recipe: its parts timed alone, a list of rows for each thread count."""

    commit: str | None
    threads: Mapping[str, list[dict[str, Any]]]
    others: float | None = None  # the largest share of the cores that other processes used


@dataclass(frozen=True)
class Record:
    """The measurements of a machine."""

    machine: list[str]
    parts: Mapping[str, list[Row]] = field(default_factory=dict)
    floor: Floor | None = None

    def with_row(self, part: str, row: Row) -> "Record":
        """Returns the record with a row that replaces an earlier one of the same sizes."""
        others = [old for old in self.rows(part) if old.workload.label != row.workload.label]
        rows = sorted([*others, row], key=lambda row: _order(row.workload))
        return replace(self, parts={**self.parts, part: rows})

    def rows(self, part: str) -> list[Row]:
        """Returns the rows of a part, in the order of its tables."""
        return self.parts.get(part, [])


def _order(workload: Workload) -> tuple[int, ...]:
    """Sorts the rows of a part."""
    recipe = RECIPES.index(workload.recipe)
    sizes = workload.batch_size, workload.latent or 0, workload.images
    return recipe, *sizes, workload.replicas


def record_text(record: Record) -> str:
    """Returns a record in JSON."""
    return json.dumps(asdict(record), indent=1) + "\n"


def read_record(file: Path, machine: list[str]) -> Record:
    """Reads the measurements of earlier runs on this machine; there are none without a file.

    Raises `UserError` if the file is damaged.
    """
    if not file.exists():
        return Record(machine)
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: [_row(row) for row in rows] for name, rows in values["parts"].items()}
        floor = values["floor"] and Floor(**values["floor"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{file} is not a record of compare.py ({error}): move it away, or give --machine NAME"
        ) from error
    return Record(machine, parts, floor)


def _row(values: Mapping[str, Any]) -> Row:
    """Returns a row from its fields."""
    rounds = [
        {name: _outcome(outcome) for name, outcome in outcomes.items()}
        for outcomes in values["rounds"]
    ]
    pilot = values["pilot"] and _outcome(values["pilot"])
    return Row(Workload(**values["workload"]), rounds, pilot, values["commit"])


def _outcome(values: Mapping[str, Any]) -> Outcome:
    """Returns a measurement, or why there is none, from its fields."""
    return NotMeasured(**values) if "reason" in values else measurement_from(values)
