"""The environment of a run: its command, commit, packages and devices."""

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

import jaxae
from jaxae import data

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy")


def describe_environment(
    dataset: data.Dataset, command: Sequence[str] | None = None
) -> dict[str, Any]:
    """Returns a command, by default this process's, and its commit, package versions and devices.

    The command has the name of a dataset that is the user's own in place of its path.
    """
    words = command_line(sys.argv) if command is None else command
    return {
        "command": shlex.join(_without_path(words, dataset.name) if dataset.own else words),
        "git_commit": git_commit(),
        "versions": {
            "python": platform.python_version(),
            "jaxae": jaxae.__version__,
            **{name: importlib.metadata.version(name) for name in _PACKAGES},
        },
        "devices": [f"{device.platform} {device.device_kind}" for device in jax.devices()],
        "cpu_count": os.cpu_count(),
    }


def _without_path(words: Sequence[str], name: str) -> list[str]:
    """Returns a command with the name of its dataset in place of the path."""
    named = list(words)
    for index, word in enumerate(words):
        if word.startswith("--dataset="):
            named[index] = f"--dataset={name}"
        elif index and words[index - 1] == "--dataset":
            named[index] = name
    return named


def command_line(argv: Sequence[str]) -> list[str]:
    """Returns the words of the command that starts a process with these `sys.argv`."""
    path, package = Path(argv[0]), Path(__file__).parents[1]
    if path.name in ("jaxae", "jaxae.exe"):
        return ["jaxae", *argv[1:]]
    if path.name == "ipykernel_launcher.py":  # its arguments are paths that last as long as it
        return ["python", "-m", "ipykernel"]
    if path.is_relative_to(package):
        module = ".".join(["jaxae", *path.relative_to(package).with_suffix("").parts])
        return ["python", "-m", module.removesuffix(".__main__"), *argv[1:]]
    return ["python", path.as_posix(), *argv[1:]]


def split_command(words: list[str]) -> tuple[list[str], list[str]]:
    """Splits a run's command line into its program and its arguments.

    A program is `python FILE`, `python -m MODULE`, `jaxae COMMAND` or `python -m jaxae COMMAND`.
    """
    count = 2
    if words[:2] == ["python", "-m"]:
        count = 4 if words[2:3] == ["jaxae"] else 3
    return words[:count], words[count:]


def words_of(command: str) -> list[str]:
    """Splits a command line into words, even if its quotes are not closed."""
    try:
        return shlex.split(command)
    except ValueError:
        return command.split()


def portable(command: str) -> str:
    """Removes the paths of one machine's data, pages and runs from a command."""
    kept, words = [], iter(words_of(command))
    for word in words:
        flag, _, place = word.replace("_", "-").partition("=")
        if flag not in ("--data-dir", "--sources", "--out", "--folder", "--page", "--resume"):
            kept.append(word)
            continue
        if not place:
            next(words, None)
        if flag == "--resume":
            kept += [flag, "RUN"]
    return shlex.join(kept)


def git_commit() -> str | None:
    """Returns the commit of this checkout, with "+" if files have changed since; None without one.

    Changes in results/ do not count, because commands write there.
    """
    file = Path(__file__)
    git = ["git", "-C", str(file.parent)]
    try:
        # An installed package may lie inside the checkout of another project.
        subprocess.run(
            [*git, "ls-files", "--error-unmatch", file.name], capture_output=True, check=True
        )
        head = subprocess.run(
            [*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            [*git, "status", "--porcelain", "--untracked-files=no", "--", ":/", ":/!results"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")
