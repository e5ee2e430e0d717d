"""Writes to standard error and to a file, as a command whose standard streams may be closed does.

    python write_with_closed_streams.py FILE <&- 2>&-

The file then contains `kept`, or `in their place` if it was opened as one of the streams.
"""

import sys
from pathlib import Path

from jaxae.terminal import losing_output


def main(path: str) -> None:
    """Opens the file as a command does."""
    with losing_output(), Path(path).open("w", encoding="utf-8") as file:
        print("lost", file=sys.stderr)
        file.write("kept" if file.fileno() > 2 else "in their place")


if __name__ == "__main__":
    main(*sys.argv[1:])
