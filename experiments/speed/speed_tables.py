"""Measurements as tables in Markdown."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from speed_processes import Round
from speed_workloads import Measurement, NotMeasured, Workload

OURS = "jaxae"
PYTORCH = "PyTorch"
SOURCES = "the source's way"
NOTHING = "-"


@dataclass(frozen=True)
class Row:
    """The rounds of a workload, for a row of a table."""

    workload: Workload
    rounds: Sequence[Round]

    def measured(self, name: str) -> list[Measurement]:
        """Returns a contender's measurements, one per round in which it could be measured."""
        outcomes = [outcomes.get(name) for outcomes in self.rounds]
        return [outcome for outcome in outcomes if isinstance(outcome, Measurement)]

    def reason(self, name: str) -> str:
        """Returns why a contender was not measured."""
        outcomes = [outcomes.get(name) for outcomes in self.rounds]
        reasons = [outcome.reason for outcome in outcomes if isinstance(outcome, NotMeasured)]
        return reasons[0] if reasons else "not asked for"

    def pairs(self, peer: str) -> list[tuple[Measurement, Measurement]]:
        """Returns jaxae's and a peer's measurement of each round in which both have one."""
        both = [(outcomes.get(OURS), outcomes.get(peer)) for outcomes in self.rounds]
        return [
            (ours, theirs)
            for ours, theirs in both
            if isinstance(ours, Measurement) and isinstance(theirs, Measurement)
        ]


def number(value: float) -> str:
    """Formats a positive number to three digits, or as a whole number from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def spread(values: Sequence[float]) -> str:
    """Formats the median of numbers with the smallest and the largest."""
    low, high = number(min(values)), number(max(values))
    return f"{number(statistics.median(values))} ({low} to {high})"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Formats a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _median_of(value: Callable[[Measurement], float], measurements: Sequence[Measurement]) -> str:
    """Formats the median over processes."""
    return number(statistics.median(map(value, measurements))) if measurements else NOTHING


def _milliseconds(measurement: Measurement) -> float:
    """Returns the milliseconds of a step."""
    return measurement.milliseconds


def steps_table(rows: Sequence[Row], peer: str) -> str:
    """Formats time, throughput and memory of jaxae and a peer, and jaxae's time over the limit."""
    head = ["", f"{OURS}, ms per step", f"{peer}, ms per step", f"{peer} / {OURS}"]
    head += [f"{name}, images/s" for name in (OURS, peer)]
    head += [f"{name}, peak MB" for name in (OURS, peer)]
    head += ["limit, ms per step", f"{OURS} / limit", f"{peer} version and variant"]
    return markdown(head, [steps_row(row, peer) for row in rows])


def steps_row(row: Row, peer: str) -> list[str]:
    """Returns the cells of a row of `steps_table`."""
    ours, theirs = sides = row.measured(OURS), row.measured(peer)
    images = row.workload.batch_size * row.workload.replicas
    cells = [row.workload.label, _median_of(_milliseconds, ours)]
    cells += [_median_of(_milliseconds, theirs) if theirs else row.reason(peer)]
    pairs = [(_milliseconds(our), _milliseconds(their)) for our, their in row.pairs(peer)]
    cells += [spread([their / our for our, their in pairs]) if pairs else NOTHING]
    cells += [_median_of(lambda m: 1000 * images / m.milliseconds, side) for side in sides]
    cells += [_memory(side) for side in sides]
    limited = [(m.milliseconds, m.limit.milliseconds) for m in ours if m.limit is not None]
    cells += [number(statistics.median(limit for _, limit in limited))]
    cells += [number(statistics.median(taken / limit for taken, limit in limited))]
    return [*cells, theirs[0].name if theirs else NOTHING]


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
        for side in map(row.measured, names):
            cells += [_cold_and_warm(lambda m: m.times.first_step_seconds, side)]
            cells += [_cold_and_warm(lambda m: m.times.compilation_seconds, side)]
        body.append(cells)
    return markdown(head, body)


def _cold_and_warm(
    value: Callable[[Measurement], float], measurements: Sequence[Measurement]
) -> str:
    """Formats the first process's number and the median of the later ones."""
    return f"{_median_of(value, measurements[:1])} / {_median_of(value, measurements[1:])}"


def growth_table(rows: Sequence[Row]) -> str:
    """Formats jaxae's rows, compared with training as many replicas one by one as in row one."""
    head = ["", "ms per step", "ms of the replicas one by one, from the first row", "ratio"]
    head += ["images/s", "peak MB"]
    first = rows[0]
    single = statistics.median(map(_milliseconds, first.measured(OURS))) / first.workload.replicas
    body = []
    for row in rows:
        ours, replicas = row.measured(OURS), row.workload.replicas
        taken = statistics.median(map(_milliseconds, ours))
        images = 1000 * replicas * row.workload.batch_size / taken
        numbers = [taken, single * replicas, single * replicas / taken, images]
        body.append([row.workload.label, *map(number, numbers), _memory(ours)])
    return markdown(head, body)


def pilot_table(pilots: Mapping[str, Measurement]) -> str:
    """Formats the milliseconds per step of each PyTorch variant, the fastest in bold."""
    ways = list(dict.fromkeys(way for pilot in pilots.values() for way in pilot.pilot))
    body = []
    for recipe, pilot in pilots.items():
        cells = [number(pilot.pilot[way]) if way in pilot.pilot else NOTHING for way in ways]
        best = ways.index(pilot.variant)
        cells[best] = f"**{cells[best]}**"
        body.append([recipe, *cells])
    return markdown(["", *ways], body)


def kernels_table(rows: Sequence[Row]) -> str:
    """Formats the number of kernels that a step of jaxae starts; empty if nothing was counted."""
    counts = [
        [row.workload.recipe, str(m.limit.kernels)]
        for row in rows
        for m in row.measured(OURS)[:1]
        if m.limit is not None and m.limit.kernels is not None
    ]
    return markdown(["", "kernels per step"], counts) if counts else ""
