"""Trains a run to its end, and another one that is killed and resumed again and again.

    python kill_repeatedly.py experiments/fashion.py 20 "--dataset mnist_mini --epochs 15" killed

Its arguments are an experiment's file, the number of kills, the experiment's options, and the
folder of the killed run. Prints how many kills there were, and how many of them hit a checkpoint
while it was being written. The uninterrupted run is in `whole`, and a timed one in `again`.

The program imports once, then forks: each run is a process that executes the experiment from its
start. All of them run on one core, because CPUs guarantee the same bits only there.
"""

import os
import random
import runpy
import signal
import sys
import time
from importlib import import_module
from pathlib import Path

_SLOW_TO_IMPORT = (
    "jax",
    "matplotlib.pyplot",
    "tyro",
    "orbax.checkpoint.experimental.v1",
    "jaxae.runs",
)
_PATIENCE = 60.0  # seconds until a run that writes no checkpoint is killed


def main(experiment: str, count: str, line: str, run: str) -> None:
    """Trains all three runs, and checks their exit codes."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    for name in _SLOW_TO_IMPORT:
        import_module(name)
    assert _wait(_start(experiment, f"{line} --out whole")) == 0
    startup, training = _measure(experiment, line)  # with programs that are compiled by now
    print("startup", startup, "training", training)
    folder, kills, moments = Path(run), int(count), random.Random(0)
    killed = saving = 0
    while killed < kills:
        begun = (folder / "config.json").exists()
        child = _start(experiment, f"--resume {run}" if begun else f"{line} --out {run}")
        # Every other kill hits a checkpoint that is being written, the others hit the start, the
        # training or the saving. All are early enough for the run to last until the last kill, even
        # if the machine is faster by then.
        seconds = moments.uniform(0, startup + 2 * training / kills)
        writing = False
        if killed % 2:
            writing = _wait_for_writing(folder, seconds + _PATIENCE, moments.randrange(3))
        else:
            _wait_for_epoch(folder, seconds)
        os.kill(child, signal.SIGKILL)
        saving += writing
        code = _wait(child)
        assert code in (0, -signal.SIGKILL), code
        if code == 0:  # the run had ended
            break
        killed += 1
    print(f"killed {killed} times, {saving} of them while a checkpoint was being written")
    assert _wait(_start(experiment, f"--resume {run}")) == 0


def _start(experiment: str, line: str) -> int:
    """Starts an experiment in a process of its own, and returns the process id."""
    child = os.fork()
    if child == 0:
        sys.argv = [experiment, *line.split()]
        code = 0
        try:
            runpy.run_path(experiment, run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else end.code is not None
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    return child


def _wait(child: int) -> int:
    """Waits until a process ends, and returns its exit code."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _measure(experiment: str, line: str) -> tuple[float, float]:
    """Returns the seconds that a run takes for its first epoch, and for all that follow."""
    started = time.monotonic()
    child = _start(experiment, f"{line} --out again")
    while not Path("again/metrics.jsonl").exists():
        time.sleep(0.01)
    begun = time.monotonic()
    assert _wait(child) == 0
    return begun - started, time.monotonic() - begun


def _wait_for_epoch(folder: Path, seconds: float) -> None:
    """Waits for some seconds, or until the run has recorded one more epoch."""
    deadline, most = time.monotonic() + seconds, _count_lines(folder) + 1
    while time.monotonic() < deadline and _count_lines(folder) < most:
        time.sleep(0.002)


def _wait_for_writing(folder: Path, seconds: float, skipped: int) -> bool:
    """Waits until a checkpoint is seen being written, for the (`skipped` + 1)-th time.

    Returns False if that takes longer than the given seconds.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(0.002)
        if any((folder / "checkpoints").glob("*tmp*")):
            if not skipped:
                return True
            skipped -= 1
    return False


def _count_lines(folder: Path) -> int:
    """Counts the epochs that a run has recorded."""
    try:
        return len((folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
