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
    alone: bool  # jaxae without a peer
    rows: list[Row]


@dataclass(frozen=True)
class Page:
    """What a comparison has measured so far."""

    machine: list[str]
    rows: list[Row] = field(default_factory=list)
    pilots: dict[str, Measurement | NotMeasured | None] = field(default_factory=dict)
    growths: list[Growth] = field(default_factory=list)


_INTRODUCTION = f"""# Speed

Made by `python experiments/speed/compare.py`. Each measurement is a process of its own, and the
contenders take turns. Images are in memory as uint8; to shuffle, gather and scale them is part of
a step. A process times {CHUNKS} chunks of steps, after one that warms up, and reports their median;
the tables show medians over processes, and of the ratios of each pair the median (the least to the
largest). A ratio above 1 says that jaxae is the faster.

The limit is the time that a step's matrix products and convolutions take at the rate of a large
matrix product in the same process; on a GPU it is the larger of that and of the time to read and
write the state and to read the batch once, at the bandwidth of a large copy."""

_BESIDE_PYTORCH = """\
PyTorch trains the same function of the same parameters in the fastest of the ways below, each
tried briefly before the pairs."""

_BESIDE_SOURCES = """\
What the code that a recipe is from does: Keras's `fit` on floats in memory where it is in Keras
(fashion, denoise, latent2d), and a plain loop over a `DataLoader` where it is not."""

_FIRST_STEP = """\
From the start of the process to the end of the first step; and of that, the part after the
images are in memory, most of which is compilation. Cold / warm: the
frameworks' compilation caches are empty, or another process has filled them."""


def page_text(page: Page) -> str:
    """The page so far."""
    measured = [
        m for row in page.rows for name in (OURS, PYTORCH, SOURCES) for m in row.measured(name)
    ]
    lines = [f"- {line}" for line in (*page.machine, *_surroundings(measured))]
    sections = [_INTRODUCTION, "\n".join(lines), "## Beside PyTorch", _BESIDE_PYTORCH]
    sections += [steps_table(page.rows, PYTORCH)]
    pilots = {name: p for name, p in page.pilots.items() if isinstance(p, Measurement)}
    if pilots:
        sections += ["Milliseconds a step in PyTorch:", pilot_table(pilots)]
    sections += ["## Beside the sources", _BESIDE_SOURCES, steps_table(page.rows, SOURCES)]
    sections += ["## The first step", _FIRST_STEP]
    sections += [start_table(page.rows, (OURS, PYTORCH, SOURCES)), kernels_table(page.rows)]
    for growth in page.growths:
        recipe = growth.rows[0].workload.recipe
        sections += [f"## Growth of {recipe}: {growth.size}"]
        if not growth.alone:
            sections += ["PyTorch in the way that was the fastest at the recipe's own sizes."]
        sections += [
            growth_table(growth.rows) if growth.alone else steps_table(growth.rows, PYTORCH)
        ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _surroundings(measured: list[Measurement]) -> list[str]:
    """The frameworks and devices of some measurements, a line each."""
    devices = sorted({m.device for m in measured})
    lines = [", ".join(sorted({m.framework for m in measured})), f"on {', '.join(devices)}"]
    if all(device.startswith("cpu") for device in devices):
        lines += ["GPU: not measured yet; where there is one, the same command measures it"]
    return lines
