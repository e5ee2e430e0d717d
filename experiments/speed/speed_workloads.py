"""What a worker process trains and reports, and how it measures time: the same for all workers."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from speed_load import others_share, usage_now

CHUNKS = 5  # number of chunks that a process divides its timed steps into


@dataclass(frozen=True)
class Workload:
    """The recipe and the sizes to train."""

    recipe: str  # an experiment's name
    batch_size: int
    learning_rate: float
    latent: int | None  # None: the recipe has no such option
    images: int  # number in memory, from which batches are gathered
    steps: int  # number of timed steps
    replicas: int = 1  # only jaxae trains several at once
    variant: str = ""  # of a peer's program

    @property
    def label(self) -> str:
        """The recipe and its sizes in a few words."""
        sizes = [f"batch {self.batch_size}", f"{self.images:,} images"]
        sizes += [] if self.latent is None else [f"code {self.latent}"]
        sizes += [] if self.replicas == 1 else [f"{self.replicas} replicas"]
        return f"{self.recipe} ({', '.join(sizes)})"

    @property
    def chunk(self) -> int:
        """The number of steps that are timed together."""
        return max(1, self.steps // CHUNKS)


@dataclass(frozen=True)
class Request:
    """A workload, with the data and the start time that the parent process provides."""

    workload: Workload
    data: str  # a .npy file of images, uint8 [N, H, W, C]
    started: float  # Unix time at which the worker's process was started


@dataclass(frozen=True)
class Times:
    """The times of a training."""

    milliseconds: list[float]  # per step, for each chunk
    compilation_seconds: float  # from the data in memory to the end of the first step
    first_step_seconds: float  # from the start of the process to the end of the first step
    others: float | None = None  # share of the cores that other processes used, if it is known


@dataclass(frozen=True)
class Limit:
    """A step's minimal work, and the machine's peak rates, measured in the same process."""

    flops: int  # of the step's matrix products and convolutions
    peak_flops: float  # per second
    moved_bytes: int | None = None  # only on accelerators
    peak_bytes: float | None = None  # per second
    kernels: int | None = None  # number that the compiled step starts

    @property
    def milliseconds(self) -> float:
        """The larger of the least times for arithmetic and for memory."""
        seconds = self.flops / self.peak_flops
        if self.moved_bytes is not None and self.peak_bytes is not None:
            seconds = max(seconds, self.moved_bytes / self.peak_bytes)
        return 1000 * seconds


@dataclass(frozen=True)
class Measurement:
    """The report of a worker."""

    framework: str  # name and version
    device: str
    times: Times
    host_memory: int  # peak bytes of the process
    device_memory: int | None = None  # peak bytes of the accelerator
    variant: str = ""
    limit: Limit | None = None
    pilot: dict[str, float] = field(default_factory=dict)  # milliseconds per step, by variant

    @property
    def milliseconds(self) -> float:
        """The median milliseconds per step over the chunks."""
        return statistics.median(self.times.milliseconds)

    @property
    def name(self) -> str:
        """The framework and the variant."""
        return f"{self.framework}: {self.variant}" if self.variant else self.framework

    @property
    def summary(self) -> str:
        """The times in a few words."""
        times = self.times
        load = "unknown" if times.others is None else f"{100 * times.others:.1f} %"
        first = f"the first after {times.first_step_seconds:.1f} s"
        return f"{self.milliseconds:.3f} ms per step, {first}, load by others {load}"


@dataclass(frozen=True)
class NotMeasured:
    """Why a worker reported nothing."""

    reason: str

    @property
    def summary(self) -> str:
        """The reason in a few words."""
        return f"not measured: {self.reason}"


def measurement_from(values: Mapping[str, Any]) -> Measurement:
    """Returns a measurement from its fields, as a worker prints them."""
    limit = values["limit"] and Limit(**values["limit"])
    return Measurement(**{**values, "times": Times(**values["times"]), "limit": limit})


def run_worker(measure: Callable[[Request], Measurement]) -> None:
    """Reads the request from the command line, measures, and prints a line of JSON."""
    values = json.loads(sys.argv[1])
    request = Request(Workload(**values.pop("workload")), **values)
    print(json.dumps(asdict(measure(request))))


def read_images(request: Request) -> np.ndarray:
    """Reads as many images as requested, uint8 [N, H, W, C], repeated if there are fewer."""
    images = np.load(request.data)
    return np.resize(images, (request.workload.images, *images.shape[1:]))


def take_times(take_steps: Callable[[int], None], request: Request) -> Times:
    """Times `take_steps`, which trains for a number of steps and returns when they are done.

    The milliseconds leave out the first step, which compiles, and a chunk that warms up.
    """
    chunk = request.workload.chunk
    compilation = seconds_of(take_steps, 1)
    first_step = time.time() - request.started
    take_steps(chunk)
    before = usage_now()
    milliseconds = [1000 * seconds_of(take_steps, chunk) / chunk for _ in range(CHUNKS)]
    return Times(milliseconds, compilation, first_step, others_share(before, usage_now()))


def seconds_of(take_steps: Callable[[int], None], steps: int) -> float:
    """Returns how long a number of steps take."""
    started = time.perf_counter()
    take_steps(steps)
    return time.perf_counter() - started


def host_memory() -> int:
    """Returns the peak memory of this process in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's getrusage includes the parent's memory, from before exec.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
