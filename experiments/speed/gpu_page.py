"""The report of gpu.py: a page in Markdown, and a short table."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gpu_correctness import PERTURBATION, PRECISIONS
from gpu_parts import PARTS
from gpu_rows import Row
from gpu_sizes import RECIPES
from jaxae.pages import markdown_table
from speed_tables import NOTHING, number

_INTRODUCTION = """\
`python experiments/speed/gpu.py` makes this page from the bundled images, repeated if a recipe has
more. A step gathers its batch of uint8 images from memory, and each epoch is shuffled. A ratio
above 1 means that jaxae is faster."""

_RATIO = "PyTorch / jaxae"

_NOTES = {
    "correctness": f"""\
Each recipe's first 20 steps and each member's first 3, against float32 on a CPU: float32
throughout, with the default precision of matrix products (TF32 on recent GPUs), and with networks
in bfloat16. Only here is XLA's autotuning off. The allowed deviation is ten times the one that
changing the initial parameters by {PERTURBATION:g} causes on the CPU. top-k, vq and fsq select
numbers or codes, and rounding may change the selection.""",
    "steps": """\
Medians over alternating pairs in one process; the ratio as median, minimum and maximum. PyTorch
trains eagerly, and with each step captured as one CUDA graph, eager or compiled, with convolutions
in both memory layouts. The fastest variant is reported, and those that failed are named.""",
    "fashion": """\
With an evaluation after each epoch. "Start" is the time to start the process and JAX and to make
the initial state. "Training" includes compilation. "Everything" lasts until the process ends.""",
    "kernels": """\
From a profile of some epochs: the number of kernels and copies, and the share of the time, from the
start of the first to the end of the last, in which none runs; the ends of epochs are included.
Without a profile, kernels are counted in the compiled program.""",
    "published": "Hours are for the papers' 3,280 epochs in batches of 20, all replicas together.",
    "memory": "Each row is measured in a process of its own.",
}


@dataclass(frozen=True)
class Result:
    """The rows of a part, and how it ended."""

    state: str  # done, or why it ended
    seconds: float
    device: Row
    rows: list[Row]


@dataclass(frozen=True)
class Report:
    """The results so far."""

    machine: list[str]
    results: Mapping[str, Result] = field(default_factory=dict)

    def with_result(self, name: str, result: Result) -> "Report":
        """Returns the report with the result of one more part."""
        return replace(self, results={**self.results, name: result})

    @property
    def device(self) -> str:
        """The devices that the parts ran on, with the versions of packages."""
        found = [result.device for result in self.results.values() if result.device]
        described = (
            ", ".join([row["device"], *(f"{name} {row[name]}" for name in row if name != "device")])
            for row in found
        )
        return "; ".join(dict.fromkeys(described)) or "no device"


def page_text(report: Report) -> str:
    """Returns the page in Markdown."""
    sections = [
        f"# Speed on {_device(report)}",
        *_summary(report),
        _INTRODUCTION,
        "\n".join(f"- {line}" for line in (report.device, *report.machine)),
    ]
    for name, result in report.results.items():
        ended = "" if result.state == "done" else f" The part {result.state}."
        note = f"{_NOTES.get(name, '')} It took {result.seconds:.0f} s.{ended}".strip()
        sections += [f"## {PARTS[name].title}", note]
        if result.rows:
            sections += [table(result.rows)]
    return "\n\n".join(sections) + "\n"


def _device(report: Report) -> str:
    """Returns the name of the first device, without its platform."""
    names = [result.device["device"] for result in report.results.values() if result.device]
    return names[0].partition(" ")[2] if names else "a GPU"


def _summary(report: Report) -> list[str]:
    """Returns the table of ratios to PyTorch, if any were measured."""
    rows = report.results["steps"].rows if "steps" in report.results else []
    body = [
        [
            str(row["what"]),
            *(_cell(row[name]) for name in ("jaxae, ms", "PyTorch, ms")),
            f"{number(row[_RATIO])} ({number(row['least'])} to {number(row['largest'])})",
        ]
        for row in rows
        if _RATIO in row
    ]
    if not body:
        return []
    faster = sum(row.get(_RATIO, 0) > 1 for row in rows)
    words = f"jaxae is faster than PyTorch's fastest variant in {faster} of {len(body)} recipes."
    head = ["", "jaxae, ms per step", "PyTorch, ms per step", _RATIO]
    return [words, markdown_table(head, body)]


def table(rows: Sequence[Row]) -> str:
    """Returns rows as a table, with a column for each name in any of them."""
    columns = list(dict.fromkeys(name for row in rows for name in row if name != "what"))
    body = [[str(row["what"]), *(_cell(row.get(name)) for name in columns)] for row in rows]
    return markdown_table(["", *columns], body)


def _cell(value: Any) -> str:
    """Formats a value: a number to three digits, words unchanged, a dash for None."""
    if value is None:
        return NOTHING
    return number(value) if isinstance(value, int | float) else str(value)


def summary_text(report: Report) -> str:
    """Returns all parts in at most 40 lines, to end a terminal's output."""
    lines = []
    for name, result in report.results.items():
        rows = _worst(result.rows) if name == "correctness" else result.rows
        lines += [[name, row["what"], _in_words(row)] for row in rows]
        if result.state != "done":
            lines += [[name, result.state, ""]]
    return f"{report.device}\n{markdown_table(['part', 'what', 'measured'], lines)}"


def _in_words(row: Row) -> str:
    """Returns the numbers of a row with their names."""
    return "; ".join(f"{name} {_cell(value)}" for name, value in row.items() if name != "what")


def _worst(rows: Sequence[Row]) -> list[Row]:
    """Returns the largest deviation in each precision with its network: recipes, then members."""
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
    """Returns a deviation as a sort key; NaN is the largest."""
    return math.inf if math.isnan(deviation) else deviation
