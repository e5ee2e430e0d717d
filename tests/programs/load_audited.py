"""Loads a run; ends with code 3 as soon as that unpickles something or starts a process.

    python load_audited.py results/fashion

Prints what it was on standard error.
"""

import os
import sys
from importlib import import_module

import jaxae

FORBIDDEN = ("pickle.find_class", "os.system", "subprocess.Popen")


def main(folder: str) -> None:
    """Imports what loading needs, which may do such things, and only then listens."""
    for name in ("jaxae.runs", "orbax.checkpoint.experimental.v1"):
        import_module(name)
    sys.addaudithook(end_if_forbidden)
    jaxae.load(folder)


def end_if_forbidden(event: str, arguments: tuple[object, ...]) -> None:
    """Ends the process at a forbidden event."""
    if event in FORBIDDEN:
        print(event, arguments, file=sys.stderr)
        os._exit(3)


if __name__ == "__main__":
    main(*sys.argv[1:])
