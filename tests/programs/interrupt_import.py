"""Starts a command of `jaxae`, and may interrupt its import by a Ctrl-C that is swallowed.

    python interrupt_import.py train interrupted SIG_IGN

Its arguments are a command, either `interrupted` or `undisturbed`, and the name of the process's
first handler of SIGINT. If the command starts, it prints the program's name, its arguments, and
whether SIGINT still has that handler.
"""

import importlib
import signal
import sys
from typing import Any
from unittest import mock

from jaxae import commands


class _Imported:
    """Stands in for a command's module, and only prints."""

    def __init__(self, handler: Any) -> None:
        self.handler = handler

    def start(self, arguments: list[str], program: str) -> None:
        print(program, *arguments, signal.getsignal(signal.SIGINT) is self.handler)


def main() -> None:
    """Starts the command with an import that may raise the signal."""
    *line, word, name = sys.argv
    handler = getattr(signal, name)

    def import_module(name: str) -> _Imported:
        try:
            if word == "interrupted":
                signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            print("swallowed")
        return _Imported(handler)

    sys.argv = [*line, word]
    signal.signal(signal.SIGINT, handler)
    with mock.patch.object(importlib, "import_module", import_module):
        commands.main()


if __name__ == "__main__":
    main()
