"""What JAX in C++ writes to standard error as a process of several ends: one line for its pages.

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

SUSPICIOUS = re.compile(r"coordination.service|preemption_sync_manager", re.IGNORECASE)
NEEDLESS = "SIGTERM caught at"
FATAL = "JAX distributed service detected fatal errors"
ENDED = (
    "error: another process of this run has ended or cannot be reached, so this one ends, too: see "
    "what the other has printed, and start them all again with --resume\n"
)


@contextlib.contextmanager
def one_line_at_a_peers_end() -> Iterator[None]:
    """From here on descriptor 2 is filtered, until the process ends; Python's stderr is not."""
    line = [sys.executable, "-IS", str(Path(__file__))]
    # In a session of its own, where no Ctrl-C reaches it.
    reader = subprocess.Popen(line, stdin=subprocess.PIPE, start_new_session=True)
    assert reader.stdin is not None
    errors = os.fdopen(os.dup(2), "w", buffering=1, encoding="utf-8", errors="backslashreplace")
    os.dup2(reader.stdin.fileno(), 2)
    reader.stdin.close()
    with contextlib.redirect_stderr(errors):
        yield


def shorten(lines: Iterable[str]) -> Iterator[str]:
    """The lines, as they come; from the first that may announce a fatal error on, `ENDED` if so."""
    held: list[str] = []
    for line in lines:
        if FATAL in line:
            yield ENDED
            return
        if held or SUSPICIOUS.search(line):
            held.append(line)
        elif NEEDLESS not in line:
            yield line
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
