"""Shows the help of each experiment, and prints the names of all imported modules.

    python help_of_all.py experiments/fashion.py experiments/conv.py

Its arguments are the experiments' files.
"""

import contextlib
import io
import runpy
import sys
from pathlib import Path


def main(*paths: str) -> None:
    """Runs the experiments one after the other in this process."""
    for path in paths:
        sys.argv = [path, "--help"]
        sys.path[0] = str(Path(path).parent)  # as when Python runs a file
        with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
            runpy.run_path(path, run_name="__main__")
    print(*sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
