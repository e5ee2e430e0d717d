"""What an export holds: export.json, which lists its files, and a config.json for sharing."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from jaxae import checkpoint, files, runs
from jaxae.errors import UserError
from jaxae.files import Count, Index, convert

CONTENTS_FILE = checkpoint.EXPORT

Format = Literal["safetensors", "npz", "stablehlo", "onnx"]

ARRAY_FILES: dict[Format, str] = {"safetensors": "model.safetensors", "npz": "variables.npz"}
"""The file of a network's variables, in the formats that `jaxae.load` reads."""

FUNCTIONS = ("encoder", "decoder", "reconstruct")
"""The functions of an export, each a file if the format is a program."""

_ADVICE = "export the run again, or fetch the export again"

_SHARED = ("objective", "latent", "network", "hidden", "likelihood", "binarization", "settings")
_SHARED_OF_RUN = ("epochs", "batch_size", "learning_rate", "seed", "precision", "reading")


@dataclass(frozen=True)
class Contents:
    """An export's export.json."""

    format: Format
    jaxae: str  # the version that wrote it
    step: Count
    epoch: float
    replica: Index  # that was exported, of so many
    replicas: Count
    files: dict[str, str]  # the SHA-256 of each other file, by its path in the folder


def is_export(folder: Path) -> bool:
    """Returns whether a folder is an export, whole or damaged."""
    return (folder / CONTENTS_FILE).is_file()


def read_contents(folder: Path) -> Contents:
    """Reads an export's export.json; raises `UserError` if it is missing or invalid."""
    path = folder / CONTENTS_FILE
    if not path.exists():
        raise UserError(
            f"{folder} is not an export: {path} does not exist; give an export's folder"
        )
    try:
        return convert(Contents, files.read_json(path, _ADVICE), "")
    except ValueError as error:
        if isinstance(error, UserError):
            raise
        raise files.unfit(path, error, _ADVICE) from None


def check_loads(contents: Contents, place: str | Path, guide: str | Path) -> None:
    """Raises `UserError`, which names a place and its guide, if an export is a program."""
    if contents.format not in ARRAY_FILES:
        raise UserError(
            f"{place} is an export as {contents.format}, a program that jaxae does not load: "
            f"{guide} says how to use it; for jaxae.load export the run with --format safetensors"
        )


def verify(folder: Path, contents: Contents, names: Iterable[str]) -> None:
    """Raises `UserError` unless an export has these files as they were written."""
    for name in names:
        path = folder / name
        if name not in contents.files or not path.is_file():
            raise UserError(f"{folder} is an incomplete export, without {name}: {_ADVICE}")
        if digest(path) != contents.files[name]:
            raise UserError(f"{path} is not the file that was exported: {_ADVICE}")


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shared_config(config: runs.Config) -> dict[str, Any]:
    """Returns a run's config.json for an export: one replica, and no path of this machine."""
    values = config.values
    options = {name: values["options"][name] for name in _SHARED if name in values["options"]}
    of_run = values["options"]["run"]
    options["run"] = {name: of_run[name] for name in _SHARED_OF_RUN if name in of_run}
    options["run"] |= {"replicas": 1, "dataset": config.dataset.name}
    left_out = ("options", "resumed")
    rest = {name: value for name, value in values.items() if name not in left_out}
    return {**rest, "command": runs.portable(config.command), "options": options}
