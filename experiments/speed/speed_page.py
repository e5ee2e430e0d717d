"""The page of a comparison, in Markdown."""

import statistics
from collections.abc import Sequence

from speed_floor_page import floor_sections
from speed_load import QUIET
from speed_processes import is_quiet
from speed_records import Record
from speed_tables import (
    BUSY,
    ONE_BY_ONE,
    OURS,
    PYTORCH,
    SOURCES,
    Row,
    limits_table,
    number,
    pilot_table,
    start_table,
    steps_table,
    summary_table,
)
from speed_workloads import CHUNKS, Measurement

_MEASURING = f"""\
`python experiments/speed/compare.py` makes this page. Each measurement is a process of its own, and
the contenders take turns. Images are in memory as uint8; a step includes shuffling, gathering and
scaling them, and computes in float32. After a warm-up, a process times {CHUNKS} chunks of steps and
reports the median. The tables show medians over processes; a ratio is the median over pairs
(smallest to largest), and above 1 if jaxae is faster."""

_LOAD = f"""\
A round counts if other processes, and the hypervisor's other guests, used at most {QUIET:.0%} of
the cores during its timed steps. {BUSY} marks rows without such a round."""

_UNKNOWN_LOAD = "The load by other processes was not measured: this system has no /proc/stat."

_PILOT = """\
PyTorch trains the same function of the same parameters, in the fastest of these variants, each
tried briefly first. Milliseconds per step:"""

_LIMIT = """\
The limit is the time that a step's matrix products and convolutions would take at the rate of a
large matrix product in the same process. On a GPU it is at least the time to read and write the
state and to read the batch once, at the bandwidth of a large copy."""

_SOURCES = """\
The sources are the programs that the recipes come from. Those in Keras (fashion, denoise, latent2d)
call `fit` on floats in memory; the others are plain loops over a `DataLoader`."""

_FIRST_STEP = """\
"First step" is the time from the start of the process to the end of the first step; "compilation"
is the part of it after the images are in memory, most of which is compilation. The first number is
with empty compilation caches, the second with caches that another process has filled. Rounds with
load by others are included."""

_GROWTHS = {
    "batch": "PyTorch in the variant that was the fastest at the recipe's own sizes.",
    "code": "PyTorch in the variant that was the fastest at the recipe's own sizes.",
    "images": "PyTorch in the variant that was the fastest at the recipe's own sizes.",
    "replicas": "Replicas trained together, compared with one after the other.",
}


def page_text(record: Record) -> str:
    """Returns the page so far in Markdown."""
    recipes = record.rows("recipes")
    sections = [f"# Speed on {record.machine[0].split(',')[0]}", *_summary(record)]
    sections += ["## The machine", "\n".join(f"- {line}" for line in _surroundings(record))]
    sections += ["## How it is measured", _MEASURING, *_load(record)]
    if recipes:
        sections += ["## Each recipe", *_pilots(recipes), _LIMIT, limits_table(recipes, PYTORCH)]
        if any(row.measured(SOURCES) for row in recipes):
            sections += ["### Compared with the sources", _SOURCES, steps_table(recipes, SOURCES)]
        names = [n for n in (OURS, PYTORCH, SOURCES) if any(row.measured(n) for row in recipes)]
        sections += ["### The first step", _FIRST_STEP, start_table(recipes, names)]
    for part, note in _GROWTHS.items():
        sections += _growths(part, note, record.rows(part))
    if record.floor is not None:
        sections += floor_sections(record.floor)
    return "\n\n".join(filter(None, sections)) + "\n"


def _summary(record: Record) -> list[str]:
    """Returns the table of ratios, and the result in words."""
    recipes = record.rows("recipes")
    if not recipes:
        return []
    ratios = [statistics.median(row.ratios(PYTORCH)) for row in recipes if row.ratios(PYTORCH)]
    lines = [f"A step of each recipe in {OURS} and in {PYTORCH}'s fastest variant."]
    if ratios:
        faster = sum(ratio > 1 for ratio in ratios)
        lines += [f"{OURS} is faster in {faster} of {len(ratios)} recipes; above 1 it is faster."]
    lines += _smallest("At other batch sizes the smallest ratio is", record.rows("batch"), PYTORCH)
    lines += _smallest(
        "Replicas trained together, compared with one after the other, have a smallest ratio of",
        record.rows("replicas"),
        ONE_BY_ONE,
    )
    return [" ".join(lines), summary_table(recipes, PYTORCH)]


def _smallest(words: str, rows: Sequence[Row], peer: str) -> list[str]:
    """Returns a sentence about the smallest ratio in a table, if it has any."""
    found = [(statistics.median(row.ratios(peer)), row.label) for row in rows if row.ratios(peer)]
    if not found:
        return []
    ratio, label = min(found)
    return [f"{words} {number(ratio)}: {label}."]


def _surroundings(record: Record) -> list[str]:
    """Returns machine, frameworks, devices and commits, one line each."""
    lines = list(record.machine)
    rows = [row for part in record.parts.values() for row in part]
    measured = [m for row in rows for name in (OURS, PYTORCH, SOURCES) for m in row.measured(name)]
    if measured:
        lines += [", ".join(sorted({m.framework for m in measured}))]
        lines += [f"on {', '.join(sorted({m.device for m in measured}))}"]
    parts: dict[str, set[str]] = {}
    for part, rows in record.parts.items():
        for row in rows:
            parts.setdefault(row.commit or "unknown", set()).add(part)
    if record.floor is not None:
        parts.setdefault(record.floor.commit or "unknown", set()).add("floor")
    return lines + [f"commit {name}: {', '.join(sorted(parts[name]))}" for name in parts]


def _load(record: Record) -> list[str]:
    """Says how much load by others was allowed, and what it discarded."""
    rounds = [outcomes for rows in record.parts.values() for row in rows for outcomes in row.rounds]
    measured = [m for outcomes in rounds for m in outcomes.values() if isinstance(m, Measurement)]
    if not measured:
        return []
    if all(measurement.times.others is None for measurement in measured):
        return [_UNKNOWN_LOAD]
    busy = sum(not is_quiet(outcomes) for outcomes in rounds)
    return [f"{_LOAD} Of {len(rounds)} rounds, {busy} did not count."]


def _pilots(recipes: Sequence[Row]) -> list[str]:
    """Returns the table of PyTorch's variants, if any were tried."""
    pilots = {
        row.workload.recipe: row.pilot for row in recipes if isinstance(row.pilot, Measurement)
    }
    return [_PILOT, pilot_table(pilots)] if pilots else []


def _growths(part: str, note: str, rows: Sequence[Row]) -> list[str]:
    """Returns the tables of how the cost of each recipe grows with a size."""
    peer = ONE_BY_ONE if part == "replicas" else PYTORCH
    sections = []
    for recipe in dict.fromkeys(row.workload.recipe for row in rows):
        some = [row for row in rows if row.workload.recipe == recipe]
        sections += [f"### {recipe}", steps_table(some, peer)]
    return [f"## Growth with {part}", note, *sections] if sections else []
