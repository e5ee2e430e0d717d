"""Measures how much of the processor's time other processes use."""

import os
import re
import resource
import time
from dataclasses import dataclass
from pathlib import Path

QUIET = 0.05
"""The largest share of the cores that other processes may use during a measurement that counts."""

_STATISTICS = Path("/proc/stat")


@dataclass(frozen=True)
class Usage:
    """The seconds of processor time that were used up to a moment."""

    wall: float
    all_processes: float  # of all cores, with the time that the hypervisor gave to others
    this_process: float  # with the child processes that it has waited for
    cores: int


def usage_now() -> Usage | None:
    """Returns the usage up to now, or None on a system without /proc/stat."""
    if not _STATISTICS.exists():
        return None
    busy, cores = busy_seconds(_STATISTICS.read_text(), os.sysconf("SC_CLK_TCK"))
    own = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return Usage(time.monotonic(), busy, sum(u.ru_utime + u.ru_stime for u in own), cores)


def busy_seconds(statistics: str, ticks_per_second: int) -> tuple[float, int]:
    """Returns the seconds that all cores were busy or stolen, and the number of cores.

    Takes the text of /proc/stat.
    """
    user, nice, system, _, _, irq, softirq, steal = map(int, statistics.split()[1:9])
    busy = user + nice + system + irq + softirq + steal
    return busy / ticks_per_second, len(re.findall(r"^cpu\d", statistics, re.MULTILINE))


def others_share(before: Usage | None, after: Usage | None) -> float | None:
    """Returns the share of all cores, 0 to 1, that other processes used between two moments."""
    if before is None or after is None or after.wall <= before.wall:
        return None
    own = after.this_process - before.this_process
    others = after.all_processes - before.all_processes - own
    return max(0.0, others / (after.cores * (after.wall - before.wall)))
