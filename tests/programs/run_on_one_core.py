"""Runs an experiment several times on one core: CPUs guarantee the same bits only there.

    python run_on_one_core.py experiments/fashion.py "--epochs 1 --out run" "--resume run"

Its arguments are an experiment's file, and the options of each run. Prints what the runs print.
"""

import os
import runpy
import sys


def main(experiment: str, *lines: str) -> None:
    """Runs the experiment with each line of options, in this process."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for line in lines:
        sys.argv = [experiment, *line.split()]
        runpy.run_path(experiment, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
