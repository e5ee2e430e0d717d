"""Replaces the C++ stack trace that JAX prints when a peer dies with one line.

JAX ends a process at once, with a trace of the stack, where another one has ended or cannot be
reached. Python has no say in that. So a process of its own reads, passes on and replaces it.
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
MOST_HELD = 100  # lines: more than JAX writes before it says that an error is fatal
ENDED = (
    "error: another process of this run died or cannot be reached, so this one stops: see what the "
    "other has printed, and start them all again with --resume\n"
)


@contextlib.contextmanager
def one_line_at_a_peers_end() -> Iterator[None]:
    """From here on descriptor 2 is filtered, until the process ends; Python's stderr is not."""
    from jaxae.terminal import LossyStream  # the process started here could not import it

    line = [sys.executable, "-IS", str(Path(__file__))]
    # In a session of its own, where no Ctrl-C reaches it.
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
    """The lines as they come, held back from the first that may announce a fatal error on.

    If one is announced, of those held only our own are passed on, and then `ENDED`; if none is
    within `MOST_HELD` lines, all are.
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
        signal.signal(number, signal.SIG_IGN)  # its end is that of its input
    for line in shorten(sys.stdin):
        sys.stderr.write(line)
        sys.stderr.flush()
    for _ in sys.stdin:  # so that who writes it can still write
        pass


if __name__ == "__main__":
    main()
