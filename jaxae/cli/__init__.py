"""The command line: reads options, and ends a command on errors and signals."""

from jaxae.cli.compilation import is_writable, use_cache
from jaxae.cli.help import wrap
from jaxae.cli.parsing import parse, run_main, run_tool

__all__ = ["is_writable", "parse", "run_main", "run_tool", "use_cache", "wrap"]
