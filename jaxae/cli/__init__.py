"""The command line: reads options, and ends a command on errors and signals."""

from jaxae.cli.compilation import is_writable, use_cache
from jaxae.cli.help import wrap
from jaxae.cli.parsing import parse, restore_options, run_main, run_tool
from jaxae.cli.signals import stop_once

__all__ = [
    "is_writable",
    "parse",
    "restore_options",
    "run_main",
    "run_tool",
    "stop_once",
    "use_cache",
    "wrap",
]
