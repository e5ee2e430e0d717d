"""Starts `jaxae` in all ways that run no command, and prints the names of all imported modules."""

import contextlib
import io
import sys

from jaxae.commands import main

_LINES = (["--help"], ["--version"], ["trian"], [])


def _start_all() -> None:
    """Starts it in this process, and hides its output."""
    for arguments in _LINES:
        sys.argv[1:] = arguments
        silence = io.StringIO()
        with (
            contextlib.redirect_stdout(silence),
            contextlib.redirect_stderr(silence),
            contextlib.suppress(SystemExit),
        ):
            main()
    print(*sys.modules)


if __name__ == "__main__":
    _start_all()
