"""What a page shows: rows, tables, charts, pictures, galleries and a scatter, as data."""

from dataclasses import dataclass

import numpy as np

_COLUMN = 672  # the page's width, in CSS pixels


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, and what is to say of it."""

    name: str
    cells: tuple[str, ...]
    explanation: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of figures."""

    title: str
    head: tuple[str, ...]  # over the cells of each row, as many as these; all empty: none is drawn
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves over epochs; replicas are drawn as mean and a band of ± one standard deviation."""

    title: str
    epochs: np.ndarray  # int [E], ascending
    curves: dict[str, np.ndarray]  # float [R, E] each; what is not finite is left out


@dataclass(frozen=True)
class Picture:
    """A picture in whole pixels, which are drawn as squares."""

    pixels: np.ndarray  # uint8 [H, W] or [H, W, 3]
    caption: str = ""
    room: int = _COLUMN  # CSS pixels for its width, to fill by squares of 4 at most


@dataclass(frozen=True)
class Gallery:
    """Pictures under one title."""

    title: str
    text: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Scatter:
    """N points in the plane, each with a class and an image that is shown on hovering."""

    title: str
    text: str
    points: np.ndarray  # float [N, 2]
    labels: np.ndarray  # int [N], indices into the names
    class_names: tuple[str, ...]
    thumbnails: np.ndarray  # uint8 [N, H, W, C]
    axes: tuple[str, str]  # what the two numbers are


@dataclass(frozen=True)
class Page:
    """All that a page shows, from top to bottom."""

    title: str
    subtitle: str
    highlights: tuple[tuple[str, str], ...]  # a name and a figure each
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    galleries: tuple[Gallery, ...]
    scatter: Scatter | None
    notes: tuple[str, ...]
    config: str  # as it is, in a font of fixed pitch
