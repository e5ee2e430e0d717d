"""The report of gpu.py: a page in Markdown, and a short table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gpu_correctness import PERTURBATION, PRECISIONS
from gpu_parts import PARTS
from gpu_rows import Row
from gpu_sizes import RECIPES
from speed_tables import NOTHING, markdown, number

_INTRODUCTION = """# On a GPU

Made by `python experiments/speed/gpu.py`, on the bundled images, again and again where there are
fewer than a recipe has. A step gathers its batch of uint8 images from memory and shuffles each
epoch. A ratio above 1 says that jaxae is the faster."""

_NOTES = {
    "correctness": f"""\
Each recipe's first 20 steps and each member's first 3, against float32 on a CPU: float32
throughout, with the default precision of matrix products (TF32 on recent GPUs), and with networks
in bfloat16. XLA's autotuning is off here alone. Ten times the deviation is allowed that first
parameters other by {PERTURBATION:g} cause on the CPU; top-k, vq and fsq choose numbers or codes, of
which rounding may choose others.""",
    "steps": """\
Medians over alternating pairs in one process; the ratio as median, minimum and maximum. PyTorch
trains eagerly, and with each step captured as one CUDA graph, eager or compiled, convolutions in
both memory layouts; the fastest counts. What could not be tried is named.""",
    "fashion": """\
With an evaluation after each epoch. The start is that of the process, JAX and the state before
training; training includes its compilation, and everything ends with the process.""",
    "kernels": """\
From a profile of some epochs: kernels and copies, and the share of the time from the first one's
start to the last one's end in which none runs, the ends of epochs included. Without a profile,
counted in the compiled program.""",
    "published": "Of the papers' 3,280 epochs in batches of 20, all three replicas together.",
    "memory": "Each in a process of its own.",
}


@dataclass(frozen=True)
class Result:
    """What a part has measured."""

    state: str  # done, or why it ended
    seconds: float
    device: Row
    rows: list[Row]


@dataclass(frozen=True)
class Report:
    """What has been measured so far."""

    machine: list[str]
    results: Mapping[str, Result] = field(default_factory=dict)

    def with_result(self, name: str, result: Result) -> "Report":
        """The report with one part more."""
        return replace(self, results={**self.results, name: result})

    @property
    def device(self) -> str:
        """The devices that parts have run on, with the versions of packages."""
        found = [result.device for result in self.results.values() if result.device]
        described = (
            ", ".join([row["device"], *(f"{name} {row[name]}" for name in row if name != "device")])
            for row in found
        )
        return "; ".join(dict.fromkeys(described)) or "no device"


def page_text(report: Report) -> str:
    """The page in Markdown."""
    sections = [
        _INTRODUCTION,
        "\n".join(f"- {line}" for line in (report.device, *report.machine)),
    ]
    for name, result in report.results.items():
        ended = "" if result.state == "done" else f" The part has {result.state}."
        note = f"{_NOTES.get(name, '')} It took {result.seconds:.0f} s.{ended}".strip()
        sections += [f"## {PARTS[name].title}", note]
        if result.rows:
            sections += [table(result.rows)]
    return "\n\n".join(sections) + "\n"


def table(rows: Sequence[Row]) -> str:
    """Rows as a table, with a column for each name in any of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "what"))
    body = [[str(row["what"]), *(_cell(row.get(name)) for name in columns)] for row in rows]
    return markdown(["", *columns], body)


def _cell(value: Any) -> str:
    """A number to three digits, words as they are, a dash for nothing."""
    if value is None:
        return NOTHING
    return number(value) if isinstance(value, int | float) else str(value)


def summary_text(report: Report) -> str:
    """All parts in at most 40 lines, for the end of a terminal's output."""
    lines = []
    for name, result in report.results.items():
        rows = _worst(result.rows) if name == "correctness" else result.rows
        lines += [[name, row["what"], _in_words(row)] for row in rows]
        if result.state != "done":
            lines += [[name, result.state, ""]]
    return f"{report.device}\n{markdown(['part', 'what', 'measured'], lines)}"


def _in_words(row: Row) -> str:
    """The numbers of a row with their names."""
    return "; ".join(f"{name} {_cell(value)}" for name, value in row.items() if name != "what")


def _worst(rows: Sequence[Row]) -> list[Row]:
    """The largest deviation in each precision, and its network, for recipes and for members."""
    found = []
    for what in ("recipes", "members"):
        some = [row for row in rows if (row["what"] in RECIPES) == (what == "recipes")]
        row: Row = {"what": what}
        for name in PRECISIONS:
            having = [r for r in some if name in r]
            if having:
                largest = max(having, key=lambda r: _as_size(r[name]))
                row[name] = f"{_cell(largest[name])} ({largest['what']})"
        for name in ("float32 is", "failed"):
            row |= {f"{r['what']}": r[name] for r in some if name in r}
        if some:
            found.append(row)
    return found


def _as_size(deviation: float) -> float:
    """A deviation to compare with others; NaN is the largest."""
    return math.inf if math.isnan(deviation) else deviation
