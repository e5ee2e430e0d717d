"""Starts workers, one at a time, each in a process of its own, and lets them take turns."""

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
"""What each contender did, by name."""


@dataclass(frozen=True)
class Place:
    """What all workers of a comparison share."""

    folder: Path  # of the images, and of what frameworks have compiled
    keras_python: Path  # the interpreter that has Keras


@dataclass(frozen=True)
class Contender:
    """A way to train, in the tables under its name."""

    name: str
    worker: str  # a file beside this one
    variant: str = ""


def measure_rounds(
    place: Place, workload: Workload, contenders: Sequence[Contender], rounds: int
) -> list[Round]:
    """Each round measures all contenders in turn; one that cannot be measured is not tried again.

    Compilation caches are empty in the first round, and full in those that follow.
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
    """What a worker reports, or the last line of its errors."""
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
    """The last exception in what a process has said on stderr, else its last line.

    JAX's tracebacks end in words about themselves.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    raised = [line for line in lines if re.match(r"[\w.]+(Error|Exception|Interrupt|Exit)\b", line)]
    return (raised or lines or [""])[-1][:200]


def images_file(place: Place) -> Path:
    """The file of images that workers read."""
    return place.folder / "images.npy"


def _environment(caches: Path) -> dict[str, str]:
    """This process's, with folders of their own for what the frameworks compile."""
    return os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(caches / "jax"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "TORCHINDUCTOR_CACHE_DIR": str(caches / "torch"),
        "TF_CPP_MIN_LOG_LEVEL": "3",
    }
