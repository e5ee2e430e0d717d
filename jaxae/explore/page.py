"""The page of an exploration: its arrays as text, and its template with them."""

import base64
import html
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxae import pages, plots, priors
from jaxae.explore.exploration import Exploration
from jaxae.explore.maps import Map
from jaxae.models import FiniteScalarQuantizer, Operation, VectorQuantizer


@dataclass(frozen=True)
class SavedPage:
    """A page that was written; a notebook shows it in a frame."""

    path: Path

    def _repr_html_(self) -> str:
        page = html.escape(self.path.read_text(encoding="utf-8"))
        return (
            f'<iframe srcdoc="{page}" title="{self.path.name}" width="100%" height="860" '
            'style="border: 0"></iframe>'
        )


_LARGEST = 8_000_000  # characters of a page that has its encoder
_SHEET_COLUMNS = 50
_SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        "network", "codes", "view", "map", "map_input", "sliders", "cells", "paths", "drawing",
        "start",
    )
)  # fmt: skip
"""The page's own scripts, after runtime.js, in the order in which they need each other."""


def render(exploration: Exploration) -> str:
    """Returns the page as HTML that loads no other file.

    It has the decoder's weights in half precision and, if it stays below 8 MB, the encoder's.
    """
    whole = _fill(exploration, encoder=True)
    return whole if len(whole) <= _LARGEST else _fill(exploration, encoder=False)


def _fill(exploration: Exploration, *, encoder: bool) -> str:
    """Returns the page with or without the encoder."""
    content = json.dumps(
        _content(exploration, encoder=encoder), separators=(",", ":"), allow_nan=False
    )
    return pages.fill_template(
        Path(__file__).parent,
        {
            "exploration": exploration,
            "has_encoder": encoder,
            "counted": _counted,
            "scripts": _SCRIPTS,
            "colors": pages.class_colors(len(exploration.class_names)),
            # In a script, "<" could end the element.
            "content": content.replace("<", "\\u003c"),
        },
    )


def _content(exploration: Exploration, *, encoder: bool) -> dict[str, Any]:
    """Returns what the page's script reads, as JSON."""
    program = exploration.program
    methods = {"decode": (program.decode, program.code_shape)}
    if encoder:
        methods["encode"] = (program.encode, program.shape)
    described, weights = _pack(methods)
    low, high = exploration.range.low, exploration.range.high
    return {
        "shape": program.shape,
        "codeShape": program.code_shape,
        "range": [low, high],
        "methods": described,
        "weights": weights,
        "classes": exploration.classes,
        "classNames": exploration.class_names,
        "colors": list(pages.class_colors(len(exploration.class_names))),
        "labels": None if exploration.labels is None else exploration.labels.tolist(),
        "numbers": exploration.numbers.tolist(),
        "codes": _half(exploration.codes),
        "sprites": _sprites(exploration.pictures),
        "maps": [_describe_map(each) for each in exploration.maps],
        "distance": exploration.distance,
        "dimensions": [vars(each) for each in exploration.dimensions.shown],
        "priors": [
            {
                "name": new.prior,
                "text": priors.DESCRIPTIONS[new.prior],
                "codes": _half(new.codes),
            }
            for new in exploration.new_codes
        ],
        "classMeans": _present(exploration.class_means, _single),
        "quantizer": _describe_quantizer(exploration),
    }


def _describe_map(each: Map) -> dict[str, Any]:
    """Returns a map as JSON."""
    return {
        "name": each.name,
        "axes": each.axes,
        "points": _single(each.points),
        "components": _present(each.components, _single),
        "mean": _present(each.mean, _single),
        "distances": _present(each.distances, pages.data_url),
        "low": each.low,
        "high": each.high,
    }


def _describe_quantizer(exploration: Exploration) -> dict[str, Any] | None:
    """Returns a quantizer as JSON: the codes that a cell of the code's grid can have."""
    quantizer = exploration.quantizer
    if quantizer is None:
        return None
    described = {"size": quantizer.size, "groupSize": quantizer.group_size, "vectors": None}
    if isinstance(quantizer, FiniteScalarQuantizer):
        return {**described, "kind": "fsq", "levels": list(quantizer.levels)}
    assert isinstance(quantizer, VectorQuantizer)  # else it could not be written as operations
    look_up = next(each for each in exploration.program.encode if each.kind == "look_up")
    return {**described, "kind": "vq", "vectors": _single(look_up.arrays["vectors"])}


def _present(value: np.ndarray | None, convert: Callable[[np.ndarray], str]) -> str | None:
    """Returns an array as text; None if there is none."""
    return None if value is None else convert(value)


def _counted(count: int, noun: str) -> str:
    """Returns a number of things in words."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _sprites(pictures: np.ndarray) -> dict[str, Any]:
    """Returns a sheet of pictures, and the sizes that find one on it."""
    return {
        "sheet": pages.data_url(plots.tile(pictures, _SHEET_COLUMNS)),
        "columns": _SHEET_COLUMNS,
        "width": pictures.shape[2],
        "height": pictures.shape[1],
    }


def _pack(
    methods: Mapping[str, tuple[Sequence[Operation], Sequence[int]]],
) -> tuple[dict[str, Any], str]:
    """Returns the operations of methods as JSON, and all their arrays in half precision.

    An operation's array is [place of its first number among all, its shape].
    """
    kept: list[np.ndarray] = []

    def place(array: np.ndarray) -> list[Any]:
        start = sum(each.size for each in kept)
        kept.append(array.reshape(-1))
        return [start, list(array.shape)]

    described = {
        name: {
            "shape": list(shape),
            "operations": [
                {
                    "kind": operation.kind,
                    "shape": list(operation.shape),
                    "settings": dict(operation.settings),
                    "arrays": {key: place(array) for key, array in operation.arrays.items()},
                }
                for operation in operations
            ],
        }
        for name, (operations, shape) in methods.items()
    }
    return described, _half(np.concatenate(kept))


def _half(array: np.ndarray) -> str:
    """Returns numbers in half precision as base64; ones beyond its range become the largest."""
    largest = float(np.finfo(np.float16).max)
    return _base64(array.clip(-largest, largest).astype("<f2"))


def _single(array: np.ndarray) -> str:
    """Returns numbers in single precision as base64."""
    return _base64(array.astype("<f4"))


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
