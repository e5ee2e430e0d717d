"""Summarizes JAX's profile of a call: kernels, and the time between them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from jax.profiler import ProfileData, ProfileOptions


@dataclass(frozen=True)
class Profile:
    """A device's kernels and idle time."""

    kernels: int  # number started, including copies
    idle: float  # share of the time from the first kernel's start to the last one's end


def profile(run: Callable[[], None], folder: Path) -> Profile | None:
    """Profiles a call, with files in `folder`; returns None if it shows no accelerator."""
    options = ProfileOptions()
    options.python_tracer_level = options.host_tracer_level = 0  # they slow the call down
    with jax.profiler.trace(str(folder), profiler_options=options):
        run()
    (file,) = folder.rglob("*.xplane.pb")
    return summarize(ProfileData.from_file(str(file)))


def summarize(data: Any) -> Profile | None:
    """Counts the kernels on the streams of a ProfileData's first GPU, and the time between."""
    spans = [
        (event.start_ns, event.end_ns)
        for plane in data.planes
        if plane.name.startswith("/device:GPU:0")
        for line in plane.lines
        if line.name.startswith("Stream")
        for event in line.events
    ]
    if not spans:
        return None
    return Profile(len(spans), _idle_share(spans))


def _idle_share(spans: Sequence[tuple[float, float]]) -> float:
    """Returns the share of the time from the first start to the last end that no span covers."""
    spans = sorted(spans)
    first, end = spans[0]
    idle = 0.0
    for start, stop in spans[1:]:
        idle += max(0.0, start - end)
        end = max(end, stop)
    return idle / (end - first) if end > first else 0.0
