"""The page of a comparison, in Markdown."""

from dataclasses import dataclass, field

from speed_tables import (
    OURS,
    PYTORCH,
    SOURCES,
    Row,
    growth_table,
    kernels_table,
    pilot_table,
    start_table,
    steps_table,
)
from speed_workloads import CHUNKS, Measurement, NotMeasured


@dataclass(frozen=True)
class Growth:
    """How one recipe's cost grows with one size."""

    size: str
    alone: bool  # only jaxae is measured
    rows: list[Row]


@dataclass(frozen=True)
class Page:
    """The measurements of a comparison so far."""

    machine: list[str]
    rows: list[Row] = field(default_factory=list)
    pilots: dict[str, Measurement | NotMeasured | None] = field(default_factory=dict)
    growths: list[Growth] = field(default_factory=list)


_INTRODUCTION = f"""# Speed

`python experiments/speed/compare.py` makes this page. Each measurement is a process of its own, and
the contenders take turns. Images are in memory as uint8; a step includes shuffling, gathering and
scaling them. After a warm-up, a process times {CHUNKS} chunks of steps and reports the median. The
tables show medians over processes; a ratio is the median over pairs (smallest to largest), and
above 1 if jaxae is faster.

The limit is the time that a step's matrix products and convolutions would take at the rate of a
large matrix product in the same process. On a GPU it is at least the time to read and write the
state and to read the batch once, at the bandwidth of a large copy."""

_BESIDE_PYTORCH = """\
PyTorch trains the same function of the same parameters, in the fastest of the variants below. Each
variant is tried briefly first."""

_BESIDE_SOURCES = """\
The sources are the programs that the recipes come from. Those in Keras (fashion, denoise, latent2d)
call `fit` on floats in memory; the others are plain loops over a `DataLoader`."""

_FIRST_STEP = """\
"First step" is the time from the start of the process to the end of the first step; "compilation"
is the part of it after the images are in memory, most of which is compilation. The first number is
with empty compilation caches, the second with caches that another process has filled."""


def page_text(page: Page) -> str:
    """Returns the page so far in Markdown."""
    measured = [
        m for row in page.rows for name in (OURS, PYTORCH, SOURCES) for m in row.measured(name)
    ]
    lines = [f"- {line}" for line in (*page.machine, *_surroundings(measured))]
    sections = [_INTRODUCTION, "\n".join(lines), "## Compared with PyTorch", _BESIDE_PYTORCH]
    sections += [steps_table(page.rows, PYTORCH)]
    pilots = {name: p for name, p in page.pilots.items() if isinstance(p, Measurement)}
    if pilots:
        sections += ["Milliseconds per step in PyTorch:", pilot_table(pilots)]
    sections += ["## Compared with the sources", _BESIDE_SOURCES, steps_table(page.rows, SOURCES)]
    sections += ["## The first step", _FIRST_STEP]
    sections += [start_table(page.rows, (OURS, PYTORCH, SOURCES)), kernels_table(page.rows)]
    for growth in page.growths:
        recipe = growth.rows[0].workload.recipe
        sections += [f"## Growth of {recipe}: {growth.size}"]
        if not growth.alone:
            sections += ["PyTorch in the variant that was the fastest at the recipe's own sizes."]
        sections += [
            growth_table(growth.rows) if growth.alone else steps_table(growth.rows, PYTORCH)
        ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _surroundings(measured: list[Measurement]) -> list[str]:
    """Returns the frameworks and the devices of measurements, one line each."""
    devices = sorted({m.device for m in measured})
    lines = [", ".join(sorted({m.framework for m in measured})), f"on {', '.join(devices)}"]
    if all(device.startswith("cpu") for device in devices):
        lines += ["GPU: not measured yet; on a machine with a GPU the same command measures it"]
    return lines
