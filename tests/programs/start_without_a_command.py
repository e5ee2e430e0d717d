"""Starts `jaxae` in all the ways that run no command; prints the modules that were imported."""

import contextlib
import io
import sys

from jaxae.commands import main

LINES = (["--help"], ["--version"], ["trian"], [])


def start_all() -> None:
    """Starts it in this process, and keeps what it says to itself."""
    for arguments in LINES:
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
    start_all()
