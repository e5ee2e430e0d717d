"""The command `jaxae`: its subcommands, each with the module that runs it."""

import argparse
import difflib
import importlib
import signal
import sys
from dataclasses import dataclass
from typing import Any

import jaxae
from jaxae.terminal import losing_output


@dataclass(frozen=True)
class Command:
    """A subcommand."""

    summary: str
    module: str  # has `start`; imported only when needed, because JAX takes seconds


COMMANDS = {
    "train": Command("train any member of the family of autoencoders", "jaxae.commands.train"),
    "sweep": Command("train a run for each combination of values", "jaxae.sweeps"),
    "evaluate": Command("evaluate a run: figures as JSON, and an HTML page", "jaxae.evaluate"),
    "explore": Command("make a page that explores the codes of a run", "jaxae.explore"),
    "runs": Command("list runs, and how to resume unfinished ones", "jaxae.commands.runs"),
    "compare": Command("compare runs: a table, a page and plots", "jaxae.commands.compare"),
    "latents": Command("draw pictures that explore the codes of a run", "jaxae.commands.latents"),
    "export": Command("export a run to share its network", "jaxae.exports"),
    "push": Command("upload a run to the Hugging Face Hub", "jaxae.exports.push"),
}


_DESCRIPTION = """\
Trains autoencoders, evaluates them, explores their codes, and shares them.

    jaxae train --objective vae --dataset mnist_mini --out results/first
    jaxae evaluate results/first
    jaxae explore results/first
    jaxae latents results/first
    jaxae export results/first

Each takes a minute or two on two cores with the defaults."""


@losing_output()
def main() -> None:
    """Starts the subcommand that the process's first argument names."""
    arguments = sys.argv[1:]
    parser = _make_parser()
    if not arguments:
        parser.print_help(sys.stderr)
        sys.exit(2)
    name, *rest = arguments
    if name in COMMANDS:
        _import_command(COMMANDS[name].module).start(rest, program=f"jaxae {name}")
        return
    parser.parse_known_args([name])  # exits for --help and --version
    print(f"error: {_describe_unknown(name)}", file=sys.stderr)
    sys.exit(2)


def _import_command(module: str) -> Any:
    """Imports a command's module; Ctrl-C ends the process at once meanwhile.

    There is nothing to save yet, and some imported packages would swallow a KeyboardInterrupt. A
    process that ignores Ctrl-C, as a script's background job does, still ignores it.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return importlib.import_module(module)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        return importlib.import_module(module)
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _make_parser() -> argparse.ArgumentParser:
    """Returns the parser of `jaxae` without a subcommand."""
    width = max(map(len, COMMANDS))
    lines = (f"  {name:{width}}  {command.summary}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="jaxae",
        usage="jaxae COMMAND [OPTIONS]",
        description="\n".join([_DESCRIPTION, "", "commands:", *lines]),
        epilog="`jaxae COMMAND --help` lists the options of a command.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"jaxae {jaxae.__version__}")
    return parser


def _describe_unknown(name: str) -> str:
    """Returns the error message for a word that is not a subcommand."""
    nearest = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else "--help says what each does"
    return f"jaxae {name}: give one of the commands {', '.join(COMMANDS)}; {hint}"
