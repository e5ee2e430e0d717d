"""Prints one line in place of the C++ stack trace that JAX prints when a peer dies.

If another process of the run ends or cannot be reached, JAX's C++ code prints a stack trace and
ends this process at once, and Python cannot prevent it. So a separate process filters what is
written to standard error.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

_SUSPICIOUS = re.compile(r"coordination.service|preemption_sync_manager", re.IGNORECASE)
_NEEDLESS = "SIGTERM caught at"
FATAL = "JAX distributed service detected fatal errors"
MOST_HELD = 100  # lines; JAX writes fewer before it says that an error is fatal
ENDED = (
    "error: another process of this run died or cannot be reached, so this one stops: see what the "
    "other one printed, and start all of them again with --resume\n"
)


@contextlib.contextmanager
def one_line_at_a_peers_end() -> Iterator[None]:
    """Filters descriptor 2 until the process ends; within it, Python's stderr is not filtered."""
    from jaxae.terminal import LossyStream  # which the filter, run with -IS, could not import

    line = [sys.executable, "-IS", str(Path(__file__))]
    # In a session of its own, so that Ctrl-C does not reach it.
    reader = subprocess.Popen(
        line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )
    assert reader.stdin is not None
    errors = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    kept: Any = LossyStream("standard error", errors, 2)
    with errors, contextlib.redirect_stderr(kept):
        yield


def shorten(lines: Iterable[str]) -> Iterator[str]:
    """Yields lines, but replaces the announcement of a fatal error with `ENDED`.

    From the first line that may lead up to a fatal error, lines are held back. If the error comes,
    only our own messages among them are yielded, and then `ENDED`; if it does not come within
    `MOST_HELD` lines, all of them are.
    """
    held: list[str] = []
    for line in lines:
        if FATAL in line:
            yield from (each for each in held if each.startswith(("error: ", "warning: ")))
            yield ENDED
            return
        if held or _SUSPICIOUS.search(line):
            held.append(line)
        elif _NEEDLESS not in line:
            yield line
        if len(held) == MOST_HELD:
            yield from held
            held = []
    yield from held


def main() -> None:
    """Filters standard input to standard error."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # it ends when its input does
    for line in shorten(sys.stdin):
        sys.stderr.write(line)
        sys.stderr.flush()
    for _ in sys.stdin:  # so that the writer does not get a broken pipe
        pass


if __name__ == "__main__":
    main()
