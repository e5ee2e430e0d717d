"""The command `jaxae`: `main` starts one of its subcommands, `COMMANDS`."""

from jaxae.commands.main import COMMANDS, main

__all__ = ["COMMANDS", "main"]
