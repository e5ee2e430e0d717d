"""What a page shows: rows, tables, charts, pictures, galleries and a scatter, as data."""

from dataclasses import dataclass

import numpy as np

_COLUMN = 672  # the page's width, in CSS pixels


@dataclass(frozen=True)
class Row:
    """A row of a table, with an explanation under its name."""

    name: str
    cells: tuple[str, ...]
    explanation: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of figures."""

    title: str
    head: tuple[str, ...]  # one for each cell of a row; if all are empty, no head is drawn
    rows: tuple[Row, ...]
    note: str = ""


@dataclass(frozen=True)
class Chart:
    """Curves over epochs; replicas are drawn as mean and a band of ± one standard deviation."""

    title: str
    epochs: np.ndarray  # int [E], ascending
    curves: dict[str, np.ndarray]  # float [R, E] each; numbers that are not finite are left out


@dataclass(frozen=True)
class Picture:
    """A picture whose pixels are drawn as sharp squares."""

    pixels: np.ndarray  # uint8 [H, W] or [H, W, 3]
    caption: str = ""
    room: int = _COLUMN  # CSS pixels for its width; squares are at most 4 wide


@dataclass(frozen=True)
class Gallery:
    """Pictures under one title."""

    title: str
    text: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Scatter:
    """N points in the plane, which show their class and an image on hovering, if they have them."""

    title: str
    text: str
    points: np.ndarray  # float [N, 2]
    labels: np.ndarray | None  # int [N], indices into the names; None: all points have one color
    class_names: tuple[str, ...]
    thumbnails: np.ndarray | None  # uint8 [N, H, W, C]
    axes: tuple[str, str]  # what the two coordinates are
    numbers: np.ndarray | None = None  # int [N], shown on hovering; None: from 0 on
    noun: str = "image"  # what is numbered


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
    config: str  # shown as it is, in a monospaced font
    facts: tuple[tuple[str, str], ...] = ()  # a name and a text each, under the subtitle
    links: tuple[tuple[str, str], ...] = ()  # a text and the address of a page each
    pictured: str = ""  # a sentence before the pictures, about all of them
