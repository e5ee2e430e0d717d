"""Measurements as tables in Markdown."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from jaxae.pages import markdown_table
from speed_processes import Outcome, Round, is_quiet
from speed_workloads import Measurement, NotMeasured, Workload

OURS = "jaxae"
PYTORCH = "PyTorch"
HALF = ", bfloat16"  # after the name of a side: what it takes in bfloat16, not in float32
SOURCES = "the source's way"
ONE_BY_ONE = "one after the other"
NOTHING = "-"
BUSY = "†"


@dataclass(frozen=True)
class Row:
    """The rounds of a workload, for a row of a table."""

    workload: Workload
    rounds: Sequence[Round]  # with those during which other processes used the cores
    pilot: Outcome | None = None  # the trial of PyTorch's variants
    commit: str | None = None

    @property
    def kept(self) -> Sequence[Round]:
        """The rounds without load by others, or all rounds if there is no such round."""
        return [outcomes for outcomes in self.rounds if is_quiet(outcomes)] or self.rounds

    @property
    def label(self) -> str:
        """The workload in a few words, marked if others used the cores in all rounds."""
        return f"{self.workload.label} {BUSY * self.busy}".strip()

    @property
    def busy(self) -> bool:
        """Whether other processes used the cores in all rounds."""
        return not any(map(is_quiet, self.rounds))

    def measured(self, name: str) -> list[Measurement]:
        """Returns a contender's measurements, one for each kept round that has one."""
        outcomes = [outcomes.get(name) for outcomes in self.kept]
        return [outcome for outcome in outcomes if isinstance(outcome, Measurement)]

    def reason(self, name: str) -> str:
        """Returns why a contender was not measured."""
        outcomes = [outcomes.get(name) for outcomes in self.rounds]
        reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, NotMeasured)]
        return reasons[0] if reasons else "not asked for"

    def ratios(self, peer: str) -> list[float]:
        """Returns a peer's time over jaxae's for each kept round that has both."""
        both = [(outcomes.get(OURS), outcomes.get(peer)) for outcomes in self.kept]
        return [
            self.milliseconds(theirs, peer) / self.milliseconds(ours, OURS)
            for ours, theirs in both
            if isinstance(ours, Measurement) and isinstance(theirs, Measurement)
        ]

    def milliseconds(self, measurement: Measurement, name: str) -> float:
        """Returns the milliseconds of a step of all replicas."""
        return measurement.milliseconds * (self.workload.replicas if name == ONE_BY_ONE else 1)


def number(value: float) -> str:
    """Formats a positive number to three digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Formats the median of numbers with the smallest and the largest."""
    low, high = number(min(values)), number(max(values))
    return f"{number(statistics.median(values))} ({low} to {high})"


def _median_of(value: Callable[[Measurement], float], measurements: Sequence[Measurement]) -> str:
    """Formats the median over processes."""
    return number(statistics.median(map(value, measurements))) if measurements else NOTHING


def summary_table(rows: Sequence[Row], peer: str) -> str:
    """Formats the time of a step in jaxae and a peer, and the ratio."""
    body = [summary_row(row, peer) for row in rows]
    names = [f"{row.workload.recipe} {BUSY * row.busy}".strip() for row in rows]
    return markdown_table(
        _summary_head(peer), [[name, *cells[1:]] for name, cells in zip(names, body, strict=True)]
    )


def _summary_head(peer: str) -> list[str]:
    """Returns the head of `summary_table`."""
    return ["", f"{OURS}, ms per step", f"{peer}, ms per step", f"{peer} / {OURS}"]


def summary_row(row: Row, peer: str) -> list[str]:
    """Returns the cells of a row of `summary_table`."""
    sides = [
        [row.milliseconds(measurement, name) for measurement in row.measured(name)]
        for name in (OURS, peer)
    ]
    ours, theirs = (number(statistics.median(side)) if side else NOTHING for side in sides)
    ratios = row.ratios(peer)
    theirs = theirs if sides[1] else row.reason(peer)
    return [row.label, ours, theirs, spread(ratios) if ratios else NOTHING]


def steps_table(rows: Sequence[Row], peer: str) -> str:
    """Formats `summary_table` with `_resources_row`."""
    head = _summary_head(peer) + _resources_head(peer)
    return markdown_table(
        head, [summary_row(row, peer) + _resources_row(row, peer) for row in rows]
    )


def _resources_head(peer: str) -> list[str]:
    """Returns the head of `_resources_row`."""
    head = [f"{name}, images/s" for name in (OURS, peer)]
    return head + [f"{name}, peak MB" for name in (OURS, peer)]


def _resources_row(row: Row, peer: str) -> list[str]:
    """Returns throughput and memory of jaxae and a peer."""
    images = 1000 * row.workload.batch_size * row.workload.replicas
    sides = {name: row.measured(name) for name in (OURS, peer)}
    cells = [
        _median_of(lambda m, name=name: images / row.milliseconds(m, name), side)
        for name, side in sides.items()
    ]
    return cells + [_memory(side) for side in sides.values()]


def limits_table(rows: Sequence[Row], peer: str) -> str:
    """Formats throughput and memory, the limit of a step, its kernels, and the peer's variant."""
    head = ["", *_resources_head(peer), "limit, ms per step", f"{OURS} / limit"]
    head += ["kernels per step", f"{peer} version and variant"]
    body = []
    for row in rows:
        ours = row.measured(OURS)
        limited = [(m.milliseconds, m.limit) for m in ours if m.limit is not None]
        cells = [number(statistics.median(limit.milliseconds for _, limit in limited))]
        cells += [number(statistics.median(ms / limit.milliseconds for ms, limit in limited))]
        kernels = limited[0][1].kernels
        cells += [NOTHING if kernels is None else str(kernels)]
        theirs = row.measured(peer)
        cells += [theirs[0].name if theirs else NOTHING]
        body.append([row.workload.recipe, *_resources_row(row, peer), *cells])
    return markdown_table(head, body)


def _memory(measurements: Sequence[Measurement]) -> str:
    """Formats the peak memory of the process in MB, and of the accelerator if there is one."""
    text = _median_of(lambda m: m.host_memory / 1e6, measurements)
    devices = [m.device_memory / 1e6 for m in measurements if m.device_memory is not None]
    return f"{text} + {number(statistics.median(devices))} on the device" if devices else text


def start_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Formats seconds to the first step and of compilation, with empty and with full caches."""
    head = [""]
    for name in names:
        head += [f"{name}, first step, s", f"{name}, compilation, s"]
    body = []
    for row in rows:
        cells = [row.workload.recipe]
        for name in names:
            outcomes = [outcomes.get(name) for outcomes in row.rounds]
            side = [outcome for outcome in outcomes if isinstance(outcome, Measurement)]
            cells += [_cold_and_warm(lambda m: m.times.first_step_seconds, side)]
            cells += [_cold_and_warm(lambda m: m.times.compilation_seconds, side)]
        body.append(cells)
    return markdown_table(head, body)


def _cold_and_warm(
    value: Callable[[Measurement], float], measurements: Sequence[Measurement]
) -> str:
    """Formats the first process's number and the median of the later ones."""
    return f"{_median_of(value, measurements[:1])} / {_median_of(value, measurements[1:])}"


def pilot_table(pilots: Mapping[str, Measurement]) -> str:
    """Formats the milliseconds per step of each PyTorch variant, the fastest in bold."""
    ways = list(dict.fromkeys(way for pilot in pilots.values() for way in pilot.pilot))
    body = []
    for recipe, pilot in pilots.items():
        cells = [number(pilot.pilot[way]) if way in pilot.pilot else NOTHING for way in ways]
        best = ways.index(pilot.variant)
        cells[best] = f"**{cells[best]}**"
        body.append([recipe, *cells])
    return markdown_table(["", *ways], body)
