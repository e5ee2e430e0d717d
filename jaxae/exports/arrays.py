"""A network's variables as named arrays, in a safetensors or an npz file."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from jaxae import checkpoint
from jaxae.errors import UserError, may_pass, unreadable
from jaxae.exports.contents import ARRAY_FILES, Format
from jaxae.exports.extra import need
from jaxae.train import Variables

Arrays = Mapping[str, np.ndarray]
"""Arrays by the path of each variable, such as params/encoder/Dense_0/kernel."""


def write(folder: Path, name: Format, variables: Variables, metadata: Mapping[str, str]) -> None:
    """Writes variables to the file of a format; safetensors also keeps the metadata.

    Raises `UserError` if a package is missing, or the format has no such dtype.
    """
    leaves = checkpoint.named_leaves(variables)
    named = {path: np.array(jax.device_get(leaf), order="C") for path, leaf in leaves.items()}
    path = folder / ARRAY_FILES[name]
    if name == "safetensors":
        path.write_bytes(_safetensors().save(named, metadata=dict(metadata)))
        return
    for key, array in named.items():
        if array.dtype.kind not in "biufc":
            raise UserError(
                f"{key} is an array of {array.dtype}, which npz files cannot hold: give --format "
                "safetensors"
            )
    with path.open("wb") as file:
        np.savez(file, **named)  # pyright: ignore[reportArgumentType]


def read(folder: Path, name: Format) -> Variables:
    """Reads the variables in the file of a format; unpickles nothing.

    Raises `UserError` if a package is missing, or the file cannot be read.
    """
    path = folder / ARRAY_FILES[name]
    load = _safetensors().load_file if name == "safetensors" else _load_npz
    try:
        return _nested(load(path))
    except Exception as error:  # a damaged file makes the packages raise errors of many types
        if may_pass(error):
            raise unreadable(path, error) from None
        raise UserError(
            f"{path} cannot be read ({type(error).__name__}: {str(error)[:200]}): export the run "
            "again, or fetch the export again"
        ) from None


def _load_npz(path: Path) -> Arrays:
    """Reads the arrays of an npz file."""
    if not zipfile.is_zipfile(path):
        raise ValueError("it is not an npz file")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _nested(named: Arrays) -> Variables:
    """Returns arrays as nested dictionaries of JAX arrays, as Linen has variables."""
    tree: dict[str, Any] = {}
    for name, array in named.items():
        *folders, last = name.split("/")
        place = tree
        for part in folders:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise ValueError(f"{name} is within another array")
        place[last] = jax.numpy.asarray(array)
    return tree


def _safetensors() -> ModuleType:
    """Returns the module of safetensors for NumPy."""
    return need("safetensors.numpy", "the format safetensors")
