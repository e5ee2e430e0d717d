"""Trains for a few steps and prints the peak memory. gpu_parts.py starts it."""

import json
import sys

import jax

from gpu_sizes import tiled
from gpu_trainings import of_experiment, take_steps_of
from speed_workloads import Workload, host_memory


def main() -> None:
    """Reads a workload from the command line, trains, and prints a line of JSON."""
    workload = Workload(**json.loads(sys.argv[1]))
    training = of_experiment(
        workload.recipe,
        tiled(workload.images),
        batch_size=workload.batch_size,
        replicas=workload.replicas,
    )
    take_steps = take_steps_of(training, 2)
    take_steps(1)
    take_steps(2)
    on_device = (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")
    peaks = {"device, MB": on_device and on_device / 1e6, "host, MB": host_memory() / 1e6}
    print(json.dumps({name: peak for name, peak in peaks.items() if peak is not None}))


if __name__ == "__main__":
    main()
