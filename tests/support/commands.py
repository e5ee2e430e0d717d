"""Starts experiments as users do: in a folder of their own, without network or archives."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

REPOSITORY = Path(__file__).parents[2]
# The same paths as pytest's in pyproject.toml.
_PATHS = [REPOSITORY / folder for folder in ("", "experiments", "experiments/speed", "tests")]
SECONDS = 300  # until a hanging command is stopped; generous, because busy machines are slow


def environment(folder: Path) -> dict[str, str]:
    """Returns variables without sources, prepared datasets or network, to import this checkout."""
    taken = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    taken.pop("JAXAE_SOURCES", None)
    nowhere = "http://127.0.0.1:9"
    return taken | {
        "PYTHONPATH": str(REPOSITORY),
        "TFDS_DATA_DIR": str(folder / "no_sets"),
        "http_proxy": nowhere,
        "https_proxy": nowhere,
    }


def command(name: str, line: str) -> list[str]:
    return [sys.executable, str(REPOSITORY / "experiments" / f"{name}.py"), *line.split()]


def start(name: str, line: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Runs an experiment in a folder."""
    return subprocess.run(
        command(name, line),
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        stdin=subprocess.DEVNULL,
    )


def program(name: str, *arguments: str) -> list[str]:
    """Returns the command that starts a program of tests/programs."""
    return [sys.executable, str(REPOSITORY / "tests" / "programs" / f"{name}.py"), *arguments]


def run_program(
    name: str,
    *arguments: str,
    folder: Path | None = None,
    variables: Mapping[str, str] = os.environ,
) -> subprocess.CompletedProcess[str]:
    """Runs a program of tests/programs to its end, in a folder if one is given.

    The program gets the environment `variables`, and the import path of the tests.
    """
    paths = [*map(str, _PATHS), variables.get("PYTHONPATH")]
    return subprocess.run(
        program(name, *arguments),
        cwd=folder,
        env={**variables, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )


@dataclass(frozen=True)
class Finished:
    """An experiment that has run."""

    name: str
    process: subprocess.CompletedProcess[str]
    folder: Path  # of the run

    def metrics(self) -> list[dict]:
        return [
            json.loads(line) for line in (self.folder / "metrics.jsonl").read_text().splitlines()
        ]

    def read(self, file: str) -> dict:
        return json.loads((self.folder / file).read_text())

    def picture(self, name: str) -> np.ndarray:
        with Image.open(self.folder / "pictures" / f"{name}.png") as image:
            return np.asarray(image)
