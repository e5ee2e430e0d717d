"""Starts workers in turn, one at a time, each in a process of its own."""

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from speed_load import QUIET
from speed_workloads import Measurement, NotMeasured, Request, Workload, measurement_from

Outcome = Measurement | NotMeasured
Round = Mapping[str, Outcome]
"""The outcomes of the contenders by name."""


@dataclass(frozen=True)
class Place:
    """The folder and interpreter that all workers of a comparison share."""

    folder: Path  # of the images and the compilation caches
    keras_python: Path  # the Python interpreter with Keras
    repeats_until: float = math.inf  # time.monotonic() after which no round is repeated


@dataclass(frozen=True)
class Contender:
    """A program to compare; tables show its name."""

    name: str
    worker: str  # a file beside this one
    variant: str = ""
    alone: bool = False  # trains one replica, for as many steps as the replicas take


def measure_rounds(
    place: Place, workload: Workload, contenders: Sequence[Contender], rounds: int, spare: int = 0
) -> list[Round]:
    """Measures all contenders in turn in each round; skips one that has failed before.

    A round during which other processes used the cores is repeated, and returned with the others;
    there are at most `spare` more rounds than asked for, and none late. Compilation caches are
    empty in the first round and full in later ones.
    """
    caches = place.folder / f"caches_{time.monotonic_ns()}"
    done: list[Round] = []
    while len(done) < rounds or (
        sum(map(is_quiet, done)) < rounds
        and len(done) < rounds + spare
        and time.monotonic() < place.repeats_until
    ):
        before = done[-1] if done else {}
        outcomes: dict[str, Outcome] = {}
        for contender in contenders:
            outcome = before.get(contender.name)
            if not isinstance(outcome, NotMeasured):
                outcome = _measure(place, workload, contender, caches)
            outcomes[contender.name] = outcome
            print(f"{workload.label}: {contender.name} {outcome.summary}", flush=True)
        done.append(outcomes)
        if not is_quiet(outcomes):
            print(f"{workload.label}: discarded, other processes used the cores", flush=True)
    return done


def is_quiet(outcomes: Round) -> bool:
    """Returns whether other processes left the cores alone, as far as this system tells."""
    measured = [outcome for outcome in outcomes.values() if isinstance(outcome, Measurement)]
    return all((measurement.times.others or 0.0) <= QUIET for measurement in measured)


def _measure(place: Place, workload: Workload, contender: Contender, caches: Path) -> Outcome:
    """Runs a worker and returns its report, or the last error it printed."""
    python = place.keras_python if "keras" in contender.worker else Path(sys.executable)
    workload = replace(workload, variant=contender.variant)
    if contender.alone:
        steps = workload.steps * workload.replicas
        workload = replace(workload, replicas=1, steps=steps)
    request = Request(workload, str(images_file(place)), time.time())
    done = run_script(contender.worker, json.dumps(asdict(request)), caches, python)
    if done.returncode == 0:
        return measurement_from(json.loads(done.stdout.splitlines()[-1]))
    error = last_error(done.stderr) or f"ended with status {done.returncode}"
    missing = re.match(r"ModuleNotFoundError: No module named '(\w+)", error)
    return NotMeasured(f"{missing[1]} is not installed" if missing else error)


def run_script(
    name: str, argument: str, caches: Path, python: Path
) -> subprocess.CompletedProcess[str]:
    """Runs a file beside this one to its end, with compilation caches of its own."""
    return subprocess.run(
        [str(python), str(Path(__file__).with_name(name)), argument],
        env=_environment(caches),
        capture_output=True,
        text=True,
        check=False,
    )


def last_error(said: str) -> str:
    """Returns the last exception in a process's stderr, else its last line.

    The last line alone is not enough, because JAX adds a note after its tracebacks.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return (raised or lines or [""])[-1][:200]


def images_file(place: Place) -> Path:
    """Returns the file of images that workers read."""
    return place.folder / "images.npy"


def _environment(caches: Path) -> dict[str, str]:
    """Returns this process's environment with separate compilation caches."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torch"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
