"""The command `jaxae`: what it can be told to do, and the module that does it."""

import argparse
import difflib
import importlib
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jaxae


@dataclass(frozen=True)
class Command:
    """A word that may follow `jaxae`."""

    summary: str
    module: str  # whose `start` it calls; imported only then, for JAX takes seconds


COMMANDS = {
    "train": Command("train any member of the family of autoencoders", "jaxae.commands.train"),
    "evaluate": Command("judge a run: figures as JSON, and a page of them", "jaxae.evaluate"),
    "latents": Command("draw what the codes of a run can do", "jaxae.commands.latents"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Starts the command that is named first; by default the arguments are the process's own."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = make_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        sys.exit(2)
    name, *rest = arguments
    if name in COMMANDS:
        load(COMMANDS[name].module).start(rest, program=f"jaxae {name}")
        return
    parser.parse_known_args([name])  # which ends here for --help and --version
    print(f"error: {describe_unknown(name)}", file=sys.stderr)
    sys.exit(2)


def load(name: str) -> Any:
    """The module of that name; a Ctrl-C meanwhile ends the process at once.

    Nothing is lost yet, and of what is imported some would swallow the KeyboardInterrupt.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return importlib.import_module(name)
    finally:
        signal.signal(signal.SIGINT, handler or signal.SIG_DFL)


def make_parser() -> argparse.ArgumentParser:
    """What `jaxae` takes before a command."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="jaxae",
        usage="jaxae COMMAND [OPTIONS]",
        description="\n".join([f"{jaxae.__doc__}", "", "commands:", *lines]),
        epilog="`jaxae COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jaxae {jaxae.__version__}")
    return parser


def describe_unknown(name: str) -> str:
    """What to say of a word that is no command."""
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "--help says what each does"
    return f"jaxae {name}: give one of the commands {', '.join(COMMANDS)}; {hint}"
