"""Finds and loads Hugging Face datasets: on the Hub, in its cache, or in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from jaxae.data import connection
from jaxae.data.readers.listing import is_folder, list_files, name_of, size_and_time
from jaxae.errors import UserError, may_pass
from jaxae.files import shorten

PREFIX = "hf:"
_OLDEST = 4  # version of datasets; older ones run code of a dataset
_SAVED = ("dataset_dict.json", "state.json")  # files that save_to_disk writes


@dataclass(frozen=True)
class Place:
    """Where a dataset is: on the Hub under a name, or in a folder.

    config: one of its configurations; None: the only one.
    """

    name: str
    folder: Path | None
    config: str | None

    def __str__(self) -> str:
        return f"{PREFIX}{self.folder or self.name}" + (f":{self.config}" if self.config else "")


def locate(source: str) -> Place:
    """Returns the place that "hf:NAME", "hf:NAME:CONFIG" or either with a folder's path means.

    Raises `UserError` if it is neither a folder nor can be a name on the Hub.
    """
    text = source.removeprefix(PREFIX)
    whole, (start, _, config) = _expanded(text), text.rpartition(":")
    for path, chosen in ((whole, None), (_expanded(start), config)):
        if path and is_folder(path) and (path is whole or config):
            return Place(name_of(path), path, chosen)
    name, _, config = text.partition(":")
    if re.fullmatch(r"([\w-][\w.-]*/)?[\w-][\w.-]*", name, re.ASCII) and not set(config) & {*"/\\"}:
        return Place(name, None, config or None)
    raise UserError(
        f"{shorten(source)} is neither a folder nor a name on the Hugging Face Hub: give "
        "hf:FOLDER, hf:NAME or hf:OWNER/NAME, and :CONFIG after it if there are several"
    )


def identify(source: str) -> str:
    """Returns a digest that changes when the dataset does.

    It covers the names, sizes and times of a folder's files, or the Hub's revision; without a
    network, that of the copy in Hugging Face's cache. Raises `UserError` if there is no dataset.
    """
    place = locate(source)
    if place.folder is not None:
        names = list_files(place.folder).files
        state: Any = [(name, size_and_time(place.folder / name)) for name in names]
    else:
        with _loading(place) as datasets:
            builder = datasets.load_dataset_builder(place.name, place.config)
            state = (builder.config_id, str(builder.config.version), builder.hash)
    return hashlib.sha256(repr((place.config, state)).encode("utf-8", "replace")).hexdigest()


def load_splits(place: Place) -> Mapping[str, Any]:
    """Returns the splits of a dataset, memory-mapped, by name."""
    with _loading(place) as datasets:
        if place.folder is None:
            loaded = datasets.load_dataset(place.name, place.config)
        elif place.config is None and any((place.folder / name).is_file() for name in _SAVED):
            loaded = datasets.load_from_disk(str(place.folder.absolute()))
        else:
            loaded = datasets.load_dataset(str(place.folder.absolute()), place.config)
    return loaded if isinstance(loaded, dict) else {"all": loaded}


@contextlib.contextmanager
def _loading(place: Place) -> Iterator[ModuleType]:
    """Yields the package `datasets`; turns whatever it raises into `UserError`."""
    datasets = _library()
    unreachable = None if place.folder else _why_unreachable()
    verbosity = datasets.logging.get_verbosity()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)  # the error below says it all
    try:
        # A folder needs no network. Without one, `datasets` would try again for minutes.
        with _offline() if place.folder or unreachable else contextlib.nullcontext():
            yield datasets
    except Exception as error:  # datasets, huggingface_hub, fsspec and pyarrow raise many kinds
        cause = error.__cause__ or error
        if place.folder is None and unreachable:
            raise UserError(
                f"{place} is not in Hugging Face's cache, and cannot be fetched ({unreachable}): "
                "connect to the network, or give hf:FOLDER"
            ) from None
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and may_pass(cause)):
            remedy = "make it readable, or make room, and try again"
        else:
            remedy = "give its folder, or its name on the Hub, and :CONFIG if there are several"
        raise UserError(f"{place} cannot be loaded ({_reason(cause)}): {remedy}") from None
    finally:
        datasets.logging.set_verbosity(verbosity)


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text.rstrip(".")[:200]


def _library() -> ModuleType:
    """Returns the package `datasets`; raises `UserError` if it is missing or too old."""
    try:
        import datasets
    except ImportError:
        raise UserError(
            "hf: datasets are read by the package datasets, which is not installed: run `pip "
            "install 'datasets>=4.0'`, or in a clone of jaxae `pip install -e '.[hf]'`"
        ) from None
    if int(datasets.__version__.split(".")[0]) < _OLDEST:
        raise UserError(
            f"datasets {datasets.__version__} is installed, which may run code of a dataset: run "
            f"`pip install 'datasets>={_OLDEST}.0'`"
        )
    return datasets


def _why_unreachable() -> str | None:
    """Returns why the Hub cannot be asked, or None; takes seconds at most."""
    from datasets import config

    if config.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    return connection.why_unreachable(config.HF_ENDPOINT, None)


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Acts as if HF_HUB_OFFLINE were set, which counts only before `datasets` is imported."""
    from datasets import config
    from huggingface_hub import constants

    before = config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before


def cache_folder() -> Path:
    """Returns the folder in which Hugging Face keeps what it fetches."""
    from datasets import config

    return Path(config.HF_CACHE_HOME)


def _expanded(path: str) -> Path | None:
    """Returns a path with ~ expanded; None if it is none."""
    try:
        return Path(path).expanduser() if path and "\0" not in path else None
    except RuntimeError:
        return None
