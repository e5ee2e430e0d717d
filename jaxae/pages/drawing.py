"""A page's charts, pictures and scatter as SVG paths and data URLs."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from jaxae import plots
from jaxae.errors import UserError
from jaxae.pages.page import Chart, Picture, Scatter
from jaxae.pages.placing import place_labels

# For up to ten classes or curves; distinct on white and on black.
_COLORS = (
    "#4e79a7", "#f28e2b", "#e15759", "#3f9c96", "#59a14f",
    "#c9a227", "#b07aa1", "#e87b8c", "#9c755f", "#8c8c8c",
)  # fmt: skip

_CHART_SIZE, _SCATTER_SIZE = (328, 210), (672, 504)  # width and height, in the SVG's own units
_NAME_SIZE = (8.5, 20.0)  # width of a letter, at most on average, and height of a class's name
_NAME_MARGIN = 6.0
_SPRITE_COLUMNS = 50
_LARGEST_SPRITE = 32  # pixels a side


@dataclass(frozen=True)
class _Axis:
    """Maps numbers from `low` to `high` onto a line from `start` to `stop`."""

    low: float
    high: float
    start: float
    stop: float

    def place(self, values: Any) -> np.ndarray:
        """Returns the places of values, float64 of their shape; the middle if low equals high."""
        values = np.asarray(values, np.float64)
        if self.high == self.low:
            return np.full(values.shape, (self.start + self.stop) / 2)
        return self.start + (values - self.low) / (self.high - self.low) * (self.stop - self.start)


def draw_picture(picture: Picture) -> dict[str, Any]:
    """Returns a picture's data URL, its caption, and its size in CSS pixels, up to 4 per pixel."""
    height, width = picture.pixels.shape[:2]
    scale = max(1, min(4, picture.room // width))
    return {
        "url": data_url(picture.pixels),
        "caption": picture.caption,
        "width": width * scale,
        "height": height * scale,
    }


def data_url(pixels: np.ndarray) -> str:
    """Returns a picture, uint8 [H, W] or [H, W, 3], as the data URL of a PNG."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def draw_chart(chart: Chart, colors: dict[str, str]) -> dict[str, Any]:
    """Returns a chart as coordinates, colors by name, without curves that are nowhere finite."""
    width, height = _CHART_SIZE
    means = {name: np.mean(values, axis=0) for name, values in chart.curves.items()}
    means = {name: mean for name, mean in means.items() if np.isfinite(mean).any()}
    if not means:
        return {"curves": []}
    finite = np.concatenate([mean[np.isfinite(mean)] for mean in means.values()])
    y_ticks = _choose_ticks(float(finite.min()), float(finite.max()))
    x = _Axis(chart.epochs[0], chart.epochs[-1], 46, width - 10)
    y = _Axis(y_ticks[0], y_ticks[-1], height - 26, 10)
    curves = []
    for name, mean in means.items():
        kept = np.isfinite(mean)
        columns = x.place(chart.epochs[kept])
        band = ""
        if len(chart.curves[name]) > 1:
            deviation = np.std(chart.curves[name], axis=0, ddof=1)[kept]
            edges = y.place([mean[kept] + deviation, mean[kept] - deviation]).clip(10, height - 26)
            band = _path_of(
                np.concatenate([columns, columns[::-1]]), np.concatenate([edges[0], edges[1, ::-1]])
            )
        line = _path_of(columns, y.place(mean[kept]))
        curves.append({"name": name, "color": colors[name], "line": line, "band": band})
    return {
        "title": chart.title,
        "width": width,
        "height": height,
        "x_ticks": _placed_ticks(x, _choose_ticks(x.low, x.high, integer=True)),
        "y_ticks": _placed_ticks(y, y_ticks),
        "curves": curves,
    }


def draw_scatter(scatter: Scatter) -> dict[str, Any]:
    """Returns a scatter as coordinates, and a sheet of its thumbnails, if any, in rows of 50."""
    _check_scatter(scatter)
    width, height = _SCATTER_SIZE
    middle = (scatter.points.max(axis=0) + scatter.points.min(axis=0)) / 2
    extent = np.ptp(scatter.points, axis=0)
    units = max(*(extent / (width - 32, height - 32)), 1e-9)  # both axes have the same scale
    places = (scatter.points - middle) / units * (1, -1) + (width / 2, height / 2)
    labels = np.zeros(len(places), int) if scatter.labels is None else scatter.labels
    class_names = ("",) if scatter.labels is None else scatter.class_names
    classes = []
    for label, (name, color) in enumerate(
        zip(class_names, class_colors(len(class_names)), strict=True)
    ):
        own = places[labels == label]
        if len(own):
            classes.append({"label": label, "name": name, "color": color, "points": own})
    _place_names(classes)
    return {
        "width": width,
        "height": height,
        "points": [(x, y, label) for (x, y), label in zip(places, labels, strict=True)],
        "numbers": None if scatter.numbers is None else scatter.numbers.tolist(),
        "classes": classes,
        "labeled": scatter.labels is not None,
        "sprites": None if scatter.thumbnails is None else _draw_sprites(scatter.thumbnails),
    }


def _place_names(classes: list[dict[str, Any]]) -> None:
    """Adds to each class where its name is drawn, and whether it is: the largest come first."""
    order = sorted(range(len(classes)), key=lambda index: -len(classes[index]["points"]))
    centers = np.array([np.median(classes[index].pop("points"), axis=0) for index in order])
    sizes = np.array(
        [
            (_NAME_SIZE[0] * max(1, len(classes[index]["name"])) + _NAME_MARGIN, _NAME_SIZE[1])
            for index in order
        ]
    )
    places, shown = place_labels(centers, sizes, _SCATTER_SIZE)
    for index, (x, y), visible in zip(order, places, shown, strict=True):
        classes[index] |= {"x": x, "y": y, "shown": bool(visible)}


def _draw_sprites(thumbnails: np.ndarray) -> dict[str, Any]:
    """Returns a sheet of small images, and the sizes that find one on it."""
    sprites = shrink(plots.drawable(thumbnails))
    return {
        "sheet": data_url(plots.tile(sprites, _SPRITE_COLUMNS)),
        "columns": _SPRITE_COLUMNS,
        "rows": -(-len(sprites) // _SPRITE_COLUMNS),
        "width": sprites.shape[2],
        "height": sprites.shape[1],
    }


def _check_scatter(scatter: Scatter) -> None:
    """Raises `UserError` unless there are N finite points, N at least 1, and N of all else."""
    count, labels = len(scatter.points), scatter.labels
    arrays = (scatter.points, labels, scatter.thumbnails, scatter.numbers)
    shapes = [None if array is None else array.shape for array in arrays]
    allowed = [((count, 2),), (None, (count,)), None, (None, (count,))]
    fits = all(shape in known for shape, known in zip(shapes, allowed, strict=True) if known)
    sprites = shapes[2]
    if sprites is not None:
        fits = fits and len(sprites) == 4 and sprites[0] == count
    if not (count and fits and np.isfinite(scatter.points).all()):
        raise UserError(
            f"points, labels, thumbnails and numbers of shapes {shapes} were given: give [N, 2], "
            "[N], [N, H, W, C] and [N], N at least 1, and only finite points; all but the points "
            "may be None"
        )
    if labels is not None and not 0 <= labels.min() <= labels.max() < len(scatter.class_names):
        raise UserError(
            f"labels from {labels.min()} to {labels.max()} were given for "
            f"{len(scatter.class_names)} class names: give a name for each label, from 0 on"
        )


def shrink(images: np.ndarray, largest: int = _LARGEST_SPRITE) -> np.ndarray:
    """Averages images, uint8 [N, H, W, C], to sides of `largest` pixels at most."""
    height, width = images.shape[1:3]
    factor = largest / max(height, width)
    if factor >= 1:
        return images
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    squeezed = images[..., 0] if images.shape[3] == 1 else images
    small = [np.asarray(Image.fromarray(i).resize(size, Image.Resampling.BOX)) for i in squeezed]
    return np.stack(small).reshape(len(images), size[1], size[0], images.shape[3])


def class_colors(count: int) -> Sequence[str]:
    """Returns CSS colors: distinct ones for up to ten, else hues around the circle."""
    if count <= len(_COLORS):
        return _COLORS[:count]
    return [f"hsl({360 * index / count:.0f} 60% 52%)" for index in range(count)]


def _choose_ticks(low: float, high: float, *, integer: bool = False) -> np.ndarray:
    """Returns about five round numbers in equal steps: around low and high, or integers within."""
    from matplotlib.ticker import MaxNLocator  # as in jaxae.plots, slow to import

    if not integer and high - low <= 1e-4 * abs(high):  # a flat curve: ticks would all look alike
        low, high = low - 0.01 * abs(high), high + 0.01 * abs(high)
    locator = MaxNLocator(5, integer=integer, min_n_ticks=1)
    ticks = np.asarray(locator.tick_values(low, high))
    return ticks[(ticks >= low) & (ticks <= high)] if integer else ticks


def _placed_ticks(axis: _Axis, ticks: np.ndarray) -> list[tuple[float, str]]:
    """Returns the place and the text of each tick."""
    step = float(np.diff(ticks).min()) if len(ticks) > 1 else 1.0
    # As few decimals as show every tick exactly: 1.5 beside 3 needs one, and so 3 is 3.0.
    exact = (each for each in range(7) if np.abs(np.round(ticks, each) - ticks).max() < step / 1e3)
    digits = next(exact, 7)
    plain = digits <= 6 and np.abs(ticks).max() < 1e6
    return [
        (float(axis.place(tick)), f"{tick:.{digits}f}" if plain else f"{tick:g}") for tick in ticks
    ]


def _path_of(x: np.ndarray, y: np.ndarray) -> str:
    """Returns points [P], joined by lines, as an SVG path."""
    return "M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in zip(x, y, strict=True))
