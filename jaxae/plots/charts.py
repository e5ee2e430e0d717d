"""Charts: decoded planes, scatters of codes, curves of losses, vectors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from jaxae.errors import UserError
from jaxae.plots.grids import DIVERGED, tile

if TYPE_CHECKING:  # slow to import, and not needed for grids
    from matplotlib.figure import Figure

_DPI = 100


def plane(images: ArrayLike, z1: ArrayLike, z2: ArrayLike, title: str) -> np.ndarray:
    """Draws the decoded plane of a two-dimensional latent space, z1 to the right and z2 upwards.

    images[i, j] is decoded from the code (z1[j], z2[i]), as np.meshgrid(z1, z2) orders them:
    [R2, R1, H, W, C], with z1 [R1] and z2 [R2] ascending in equal steps. The center of an image
    lies at its code, and its pixels are not resampled. The picture is gray if the images are.
    """
    from matplotlib.figure import Figure

    images, z1, z2 = np.asarray(images), np.asarray(z1), np.asarray(z2)
    if images.ndim != 5 or images.shape[:2] != (z2.size, z1.size):
        raise UserError(
            f"images of shape {images.shape} were given for {z1.size} values of z1 and {z2.size} "
            "of z2: give [values of z2, values of z1, H, W, C]"
        )
    for z in (z1, z2):
        steps = np.diff(z)
        if z.ndim != 1 or z.size < 2 or steps[0] <= 0 or not np.allclose(steps, steps[0]):
            raise UserError(f"z1 and z2 must ascend in equal steps, two values or more, not {z}")
    mosaic = tile(images[::-1].reshape(-1, *images.shape[2:]), columns=z1.size)
    scale = max(1, round(560 / max(mosaic.shape[:2])))
    mosaic = mosaic.repeat(scale, axis=0).repeat(scale, axis=1)
    height, width = mosaic.shape[:2]
    left, right, bottom, top = 70, 30, 55, 45
    across, up = left + width + right, bottom + height + top
    figure = Figure(figsize=(across / _DPI, up / _DPI), dpi=_DPI)
    axes = figure.add_axes((left / across, bottom / up, width / across, height / up))
    half1, half2 = (z1[1] - z1[0]) / 2, (z2[1] - z2[0]) / 2
    xlim, ylim = (z1[0] - half1, z1[-1] + half1), (z2[0] - half2, z2[-1] + half2)
    axes.set(xlim=xlim, ylim=ylim, xlabel="$z_1$", ylabel="$z_2$")
    axes.set_title(title, wrap=True)
    picture = _render(figure)[..., 0] if mosaic.ndim == 2 else _render(figure)
    picture[top : top + height, left : left + width] = mosaic  # no resampling
    return picture


def latent_scatter(
    codes: ArrayLike, labels: ArrayLike | None, class_names: Sequence[str], title: str
) -> np.ndarray:
    """Draws two-dimensional codes as points, with a color bar that names the classes.

    Codes [N, 2], labels integer [N] in 0..len(class_names)-1, or None for points of one color. Both
    axes have the same scale.
    """
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    given = labels is not None
    codes, labels = _checked_codes(codes, labels, dimension=2)
    classes = len(class_names) if given else 1
    if labels.max() >= classes:
        raise UserError(
            f"label {labels.max()} was given with {classes} class names: give one for each label"
        )
    figure = Figure((6.4, 5.2), _DPI, layout="constrained")
    axes = figure.add_subplot()
    colormap, limits = ListedColormap(_class_colors(classes)), (-0.5, classes - 0.5)
    points = axes.scatter(*codes.T, c=labels, s=5, linewidths=0, cmap=colormap, clim=limits)
    if given:
        ticks = range(0, classes, -(-classes // 30))  # at most 30 names fit beside the bar
        bar = figure.colorbar(points, ax=axes)
        bar.set_ticks(ticks, labels=[str(class_names[tick]) for tick in ticks])
        bar.outline.set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")
    axes.set(xlabel="$z_1$", ylabel="$z_2$")
    axes.set_title(title, wrap=True)
    return _render(figure)


def latent_digits_3d(codes: ArrayLike, labels: ArrayLike | None, title: str) -> np.ndarray:
    """Draws three-dimensional codes, each as its label, a digit, on a background of its class.

    Codes [N, 3], labels integer [N], 0 or more, or None for a dot in place of each digit.
    """
    from matplotlib.figure import Figure
    from mpl_toolkits.mplot3d import proj3d

    dot = "•" if labels is None else None
    codes, labels = _checked_codes(codes, labels, dimension=3)
    figure = Figure((7, 6.2), _DPI)
    axes = figure.add_subplot(projection="3d", position=(0, 0.02, 0.95, 0.94))
    axes.set(xlabel="$z_1$", ylabel="$z_2$", zlabel="$z_3$")
    x, y, z = codes.T
    axes.auto_scale_xyz(x, y, z)  # text alone does not set the limits
    colors = _class_colors(int(labels.max()) + 1)
    depth = proj3d.proj_transform(x, y, z, axes.get_proj())[2]
    for i in np.argsort(-depth):  # matplotlib does not sort text; draw the nearest last
        box = {"facecolor": colors[labels[i]], "edgecolor": "none", "pad": 1.5}
        sign = dot or str(labels[i])
        text = axes.text(x[i], y[i], z[i], sign, ha="center", va="center", bbox=box)
        text.set(fontsize=8, fontweight="bold", color="white")
    figure.suptitle(title, wrap=True)
    return _render(figure)


def curves(
    x: ArrayLike, series: Mapping[str, ArrayLike], ylabel: str, title: str, xlabel: str = "epoch"
) -> np.ndarray:
    """Draws named curves over epochs or other integers [E]: each [E], or [R, E] for R replicas.

    Replicas are drawn as their mean and, for R > 1, a band of ± one sample standard deviation.
    Numbers that are not finite are left out, such as those of epochs without a test.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    x = np.asarray(x)
    if x.ndim != 1 or not x.size or not series:
        raise UserError(
            f"x {x.shape} and {len(series)} series were given: give x [E] and one or more"
        )
    figure = Figure((7, 4.2), _DPI, layout="constrained")
    axes = figure.add_subplot()
    for name, values in series.items():
        replicas = np.atleast_2d(values)
        if replicas.ndim != 2 or replicas.shape[1] != x.size or not len(replicas):
            raise UserError(
                f"the series {name!r} has shape {np.shape(values)}: for {x.size} values of x, give "
                f"[{x.size}] or [replicas, {x.size}]"
            )
        kept = np.isfinite(replicas).all(axis=0)
        places, replicas = x[kept], replicas[:, kept]
        mean = replicas.mean(axis=0)
        (line,) = axes.plot(places, mean, label=name, marker="o" if places.size == 1 else None)
        if len(replicas) > 1:
            std, color = replicas.std(axis=0, ddof=1), line.get_color()
            axes.fill_between(places, mean - std, mean + std, color=color, alpha=0.2, linewidth=0)
    axes.legend(frameon=False)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.set_title(title, wrap=True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return _render(figure)


def vectors(originals: ArrayLike, reconstructions: ArrayLike, title: str) -> np.ndarray:
    """Draws the values of up to six vectors over their dimensions, and of their reconstructions.

    Both are [N, D], of any range; each vector has axes of its own.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    originals, reconstructions = np.asarray(originals), np.asarray(reconstructions)
    if originals.ndim != 2 or originals.shape != reconstructions.shape or not originals.size:
        raise UserError(
            f"vectors of shapes {originals.shape} and {reconstructions.shape} were given: give two "
            "arrays of one shape [N, D], not empty"
        )
    if not (np.isfinite(originals).all() and np.isfinite(reconstructions).all()):
        raise UserError(f"vectors with NaN or infinity were given: {DIVERGED}")
    count, dimension = min(6, len(originals)), originals.shape[1]
    columns = min(3, count)
    figure = Figure((3.2 * columns + 0.6, 2.4 * -(-count // columns) + 0.6), _DPI)
    figure.set_layout_engine("constrained")
    for index in range(count):
        axes = figure.add_subplot(-(-count // columns), columns, index + 1)
        marker = "o" if dimension <= 40 else None
        for values, name in ((originals, "data"), (reconstructions, "reconstruction")):
            axes.plot(values[index], label=name, marker=marker, markersize=3, linewidth=1)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25)
        if index == 0:
            axes.legend(frameon=False)
    figure.supxlabel("dimension")
    figure.suptitle(title, wrap=True)
    return _render(figure)


def _checked_codes(
    codes: ArrayLike, labels: ArrayLike | None, dimension: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns finite codes [N, dimension] and labels [N], zeros for None."""
    codes = np.asarray(codes)
    labels = np.zeros(len(codes), int) if labels is None else np.asarray(labels)
    integers = labels.size > 0 and np.issubdtype(labels.dtype, np.integer) and labels.min() >= 0
    if not integers or labels.ndim != 1 or codes.shape != (len(labels), dimension):
        raise UserError(
            f"codes {codes.shape} and labels {labels.dtype} {labels.shape} were given: give codes "
            f"[N, {dimension}] and labels [N], N at least 1, labels integers not below 0"
        )
    if not np.isfinite(codes).all():
        raise UserError(f"codes with NaN or infinity were given: {DIVERGED}")
    return codes, labels


def _class_colors(classes: int) -> np.ndarray:
    """Returns an RGBA color per class, [classes, 4]: distinct for up to ten, else a rainbow."""
    import matplotlib

    if classes <= 10:
        return matplotlib.colormaps["tab10"](np.arange(classes))
    return matplotlib.colormaps["turbo"](np.linspace(0, 1, classes))


def _render(figure: "Figure") -> np.ndarray:
    """Returns the figure's pixels, uint8 [H, W, 3], without pyplot or a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
