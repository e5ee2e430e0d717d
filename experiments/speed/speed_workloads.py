"""What a worker process trains, what it reports, and how it takes the time: alike for all."""

import json
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

CHUNKS = 5  # that the timed steps of a process are divided into


@dataclass(frozen=True)
class Workload:
    """What to train, and for how long."""

    recipe: str  # an experiment's name
    batch_size: int
    learning_rate: float
    latent: int | None  # None: the recipe has no such option
    images: int  # in memory; a batch is gathered from them
    steps: int  # timed
    replicas: int = 1  # jaxae alone trains several at once
    devices: int = 1  # to place the replicas on
    variant: str = ""  # how a peer is to do it

    @property
    def label(self) -> str:
        """In a few words."""
        sizes = [f"batch {self.batch_size}", f"{self.images:,} images"]
        sizes += [] if self.latent is None else [f"code {self.latent}"]
        sizes += [] if self.replicas == 1 else [f"{self.replicas} replicas"]
        sizes += [] if self.devices == 1 else [f"{self.devices} devices"]
        return f"{self.recipe} ({', '.join(sizes)})"

    @property
    def chunk(self) -> int:
        """Steps that are timed together."""
        return max(1, self.steps // CHUNKS)


@dataclass(frozen=True)
class Request:
    """A workload, with what only the process that asks for it knows."""

    workload: Workload
    data: str  # a .npy file of images, uint8 [N, H, W, C]
    started: float  # seconds since the epoch, when the worker's process was started


@dataclass(frozen=True)
class Times:
    """How long training took."""

    milliseconds: list[float]  # a step, of each chunk
    compilation_seconds: float  # until the first step is done, from where the data are in memory
    first_step_seconds: float  # the same, from the process's start


@dataclass(frozen=True)
class Limit:
    """What a step cannot do without, and what this machine does at most, in the same process."""

    flops: int  # of the step's matrix products and convolutions
    peak_flops: float  # a second
    moved_bytes: int | None = None  # measured on accelerators
    peak_bytes: float | None = None  # a second
    kernels: int | None = None  # that the compiled step starts

    @property
    def milliseconds(self) -> float:
        """The larger of the two times that a step takes at least."""
        seconds = self.flops / self.peak_flops
        if self.moved_bytes is not None and self.peak_bytes is not None:
            seconds = max(seconds, self.moved_bytes / self.peak_bytes)
        return 1000 * seconds


@dataclass(frozen=True)
class Measurement:
    """What a worker reports."""

    framework: str  # with its version
    device: str
    times: Times
    host_memory: int  # bytes, at most, of the process
    device_memory: int | None = None  # the same, of the accelerator
    variant: str = ""
    limit: Limit | None = None
    pilot: dict[str, float] = field(default_factory=dict)  # milliseconds a step, by variant

    @property
    def milliseconds(self) -> float:
        """A step's, the median over the chunks."""
        return statistics.median(self.times.milliseconds)

    @property
    def name(self) -> str:
        """The framework, and what is special about the way."""
        return f"{self.framework}: {self.variant}" if self.variant else self.framework

    @property
    def summary(self) -> str:
        """In a few words."""
        first = self.times.first_step_seconds
        return f"{self.milliseconds:.3f} ms a step, the first after {first:.1f} s"


@dataclass(frozen=True)
class NotMeasured:
    """Why a worker has reported nothing."""

    reason: str

    @property
    def summary(self) -> str:
        """In a few words."""
        return f"not measured: {self.reason}"


def read_measurement(line: str) -> Measurement:
    """A measurement from the line of JSON that a worker prints."""
    values = json.loads(line)
    values["times"] = Times(**values["times"])
    if values["limit"] is not None:
        values["limit"] = Limit(**values["limit"])
    return Measurement(**values)


def run_worker(measure: Callable[[Request], Measurement]) -> None:
    """Reads the request from the command line, measures, and prints a line of JSON."""
    values = json.loads(sys.argv[1])
    request = Request(Workload(**values.pop("workload")), **values)
    print(json.dumps(asdict(measure(request))))


def read_images(request: Request) -> np.ndarray:
    """As many images as are asked for, uint8 [N, H, W, C], repeated where there are fewer."""
    images = np.load(request.data)
    return np.resize(images, (request.workload.images, *images.shape[1:]))


def take_times(take_steps: Callable[[int], None], request: Request) -> Times:
    """Times `take_steps`, which trains for a number of steps and returns when they are done.

    The first step, which compiles, and a chunk that warms up are left out of the milliseconds.
    """
    chunk = request.workload.chunk
    compilation = seconds_of(take_steps, 1)
    first_step = time.time() - request.started
    take_steps(chunk)
    milliseconds = [1000 * seconds_of(take_steps, chunk) / chunk for _ in range(CHUNKS)]
    return Times(milliseconds, compilation, first_step)


def seconds_of(take_steps: Callable[[int], None], steps: int) -> float:
    """How long so many steps take."""
    started = time.perf_counter()
    take_steps(steps)
    return time.perf_counter() - started


def host_memory() -> int:
    """The bytes of memory that this process has had at most."""
    status = Path("/proc/self/status")
    if status.exists():
        # Linux's getrusage also counts the parent, of which the process was a copy before exec.
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
