"""Starts workers in turn, one at a time, each in a process of its own."""

import dataclasses
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speed_workloads import Measurement, NotMeasured, Request, Workload, read_measurement

Outcome = Measurement | NotMeasured
Round = Mapping[str, Outcome]
"""The outcomes of the contenders by name."""


@dataclass(frozen=True)
class Place:
    """The folder and interpreter that all workers of a comparison share."""

    folder: Path  # of the images and the compilation caches
    keras_python: Path  # the Python interpreter with Keras


@dataclass(frozen=True)
class Contender:
    """A program to compare; tables show its name."""

    name: str
    worker: str  # a file beside this one
    variant: str = ""


def measure_rounds(
    place: Place, workload: Workload, contenders: Sequence[Contender], rounds: int
) -> list[Round]:
    """Measures all contenders in turn in each round; skips one that has failed before.

    Compilation caches are empty in the first round and full in later ones.
    """
    caches = place.folder / f"caches_{time.monotonic_ns()}"
    done: list[Round] = []
    for _ in range(rounds):
        before = done[-1] if done else {}
        outcomes: dict[str, Outcome] = {}
        for contender in contenders:
            outcome = before.get(contender.name)
            if not isinstance(outcome, NotMeasured):
                outcome = _measure(place, workload, contender, caches)
            outcomes[contender.name] = outcome
            print(f"{workload.label}: {contender.name} {outcome.summary}", flush=True)
        done.append(outcomes)
    return done


def _measure(place: Place, workload: Workload, contender: Contender, caches: Path) -> Outcome:
    """Runs a worker and returns its report, or the last error it printed."""
    worker = Path(__file__).with_name(contender.worker)
    python = place.keras_python if "keras" in contender.worker else Path(sys.executable)
    workload = dataclasses.replace(workload, variant=contender.variant)
    request = Request(workload, str(images_file(place)), time.time())
    process = subprocess.run(
        [str(python), str(worker), json.dumps(dataclasses.asdict(request))],
        env=_environment(caches),
        capture_output=True,
        text=True,
        check=False,
    )
    if process.returncode == 0:
        return read_measurement(process.stdout.splitlines()[-1])
    error = last_error(process.stderr) or f"ended with status {process.returncode}"
    missing = re.match(r"ModuleNotFoundError: No module named '(\w+)", error)
    return NotMeasured(f"{missing[1]} is not installed" if missing else error)


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
