"""Loads a run; exits with code 3 as soon as something is unpickled or a process is started.

    python load_audited.py results/fashion

Prints the event on standard error.
"""

import os
import sys
from importlib import import_module

import jaxae

_FORBIDDEN = ("pickle.find_class", "os.system", "subprocess.Popen")


def main(folder: str) -> None:
    """Imports what loading needs, because imports may do such things; then audits the loading."""
    for name in ("jaxae.runs", "orbax.checkpoint.experimental.v1"):
        import_module(name)
    sys.addaudithook(_end_if_forbidden)
    jaxae.load(folder)


def _end_if_forbidden(event: str, arguments: tuple[object, ...]) -> None:
    """Ends the process at a forbidden event."""
    if event in _FORBIDDEN:
        print(event, arguments, file=sys.stderr)
        os._exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
