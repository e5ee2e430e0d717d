"""The command line: reads options, and ends a command on errors and signals."""

from jaxae.cli.compilation import is_writable, use_cache
from jaxae.cli.help import flag_of, wrap
from jaxae.cli.parsing import parse, restore_options, run_main, run_tool
from jaxae.cli.signals import stop_once

__all__ = [
    "flag_of",
    "is_writable",
    "parse",
    "restore_options",
    "run_main",
    "run_tool",
    "stop_once",
    "use_cache",
    "wrap",
]
