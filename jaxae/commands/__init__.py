"""The command `jaxae`: `main` starts one of its subcommands, `COMMANDS`."""

from jaxae.commands.dispatch import COMMANDS, main

__all__ = ["COMMANDS", "main"]
