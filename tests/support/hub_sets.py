"""Writes small Hugging Face datasets; `datasets` is imported only when they are written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from datasets import Dataset

CLASSES = ("cat", "dog", "ant")


def encode(pixels: np.ndarray) -> bytes:
    """Returns pixels uint8 [H, W] or [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def cells(images: Any) -> list[dict[str, Any]]:
    """Returns what a column of type Image holds."""
    return [{"bytes": encode(pixels), "path": f"{n}.png"} for n, pixels in enumerate(images)]


def make(**columns: tuple[list[Any], str]) -> Dataset:
    """Returns a dataset of columns, each given by its values and its type.

    Types are "image", "bytes" (an image without its type), "classes", and those of numbers.
    """
    import datasets

    types: dict[str, Any] = {
        "image": datasets.Image(),
        "bytes": {"bytes": datasets.Value("binary"), "path": datasets.Value("string")},
        "classes": datasets.ClassLabel(names=list(CLASSES)),
    }
    features = {
        name: types[kind] if kind in types else datasets.Value(kind)
        for name, (_, kind) in columns.items()
    }
    values = {name: values for name, (values, _) in columns.items()}
    return datasets.Dataset.from_dict(values, features=datasets.Features(features))


def rows(images: Any, labels: list[Any] | None = None, kind: str = "classes") -> Dataset:
    """Returns a dataset of images, and of labels of a type if there are any."""
    if labels is None:
        return make(image=(cells(images), "image"))
    return make(image=(cells(images), "image"), label=(labels, kind))


def parquet(folder: Path, **splits: Dataset) -> str:
    """Writes a folder as the Hub has it, and returns its source."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    for name, split in splits.items():
        split.to_parquet(str(folder / f"data/{name}-00000-of-00001.parquet"))
    return f"hf:{folder}"


def save(folder: Path, **splits: Dataset) -> str:
    """Writes a folder with `save_to_disk`, and returns its source."""
    import datasets

    datasets.DatasetDict(splits).save_to_disk(str(folder))  # pyright: ignore[reportCallIssue, reportArgumentType]
    return f"hf:{folder}"
