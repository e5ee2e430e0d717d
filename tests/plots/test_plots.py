"""Grids, whose pixels must be exact, and charts, which must show certain features."""

import numpy as np
import pytest
from PIL import Image

from jaxae import plots
from jaxae.errors import UserError
from support.commands import run_program

NAMES = [f"class {i}" for i in range(10)]


def flat_images(values, height=2, width=3, channels=1):
    """An image per value, filled with it: uint8 [N, height, width, channels]."""
    values = np.asarray(values, np.uint8)
    return np.tile(values[:, None, None, None], (1, height, width, channels))


def random_images(count, height=28, width=28, channels=1, seed=0):
    random = np.random.default_rng(seed)
    return random.integers(0, 256, size=(count, height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_tile_places_images_in_reading_order_upright_and_fills_with_black(channels):
    images = random_images(5, height=4, width=6, channels=channels)
    picture = plots.tile(images, columns=3)
    assert picture.shape == ((8, 18) if channels == 1 else (8, 18, 3))
    for index, image in enumerate(images):
        top, left = 4 * (index // 3), 6 * (index % 3)
        cell = picture[top : top + 4, left : left + 6].reshape(4, 6, channels)
        np.testing.assert_array_equal(cell, image)
    assert not picture[4:, 12:].any()


def test_floats_become_the_nearest_byte():
    every_byte = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    for dtype in (np.float16, np.float32, np.float64):
        picture = plots.tile((every_byte / 255).astype(dtype), columns=1)
        np.testing.assert_array_equal(picture, every_byte[0, :, :, 0])
    outside = np.array([-1, -np.inf, 2, np.inf, 0.49 / 255, 0.51 / 255]).reshape(1, 1, 6, 1)
    np.testing.assert_array_equal(plots.tile(outside, columns=1), [[0, 0, 255, 255, 0, 1]])


def test_reconstruction_grid_has_originals_left_and_reconstructions_right():
    originals, reconstructions = random_images(60), random_images(60, seed=1) / 255
    picture = plots.reconstruction_grid(originals, reconstructions)
    assert picture.shape == (280, 280)
    for index in range(50):
        top, left = 28 * (index // 5), 28 * (index % 5)
        rows = slice(top, top + 28)
        np.testing.assert_array_equal(picture[rows, left : left + 28], originals[index, ..., 0])
        np.testing.assert_array_equal(
            picture[rows, 140 + left : 168 + left], np.rint(255 * reconstructions[index, ..., 0])
        )


def test_a_grid_of_fewer_images_has_fewer_rows_or_columns():
    images = random_images(7)
    assert plots.reconstruction_grid(images, images).shape == (2 * 28, 10 * 28)
    left, right = np.split(plots.reconstruction_grid(images[:3], images[3:6]), 2, axis=1)
    np.testing.assert_array_equal(left, plots.tile(images[:3], columns=3))
    np.testing.assert_array_equal(right, plots.tile(images[3:6], columns=3))


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_that_are_no_color_lie_side_by_side(channels):
    images = random_images(4, height=3, width=5, channels=channels)
    picture = plots.tile(images, columns=2).reshape(2, 3, 2, channels, 5)
    np.testing.assert_array_equal(picture, images.reshape(2, 2, 3, 5, -1).transpose(0, 2, 1, 4, 3))


def dark_segments(line):
    """The centers of the black segments in a line of pixels."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], line < 128, [0]])))
    return (edges[::2] + edges[1::2] - 1) / 2


@pytest.mark.slow
def test_plane_has_z1_to_the_right_and_z2_upwards():
    z1, z2 = np.linspace(-1, 2, 4), np.linspace(0, 2, 3)
    # Image (i, j) has the brightness 130 + 40 i + 3 j, which changes mostly with z2.
    values = 130 + 40 * np.arange(3)[:, None] + 3 * np.arange(4)
    images = flat_images(values.ravel(), height=28, width=28).reshape(3, 4, 28, 28, 1)
    picture = plots.plane(images, z1, z2, "mnist")
    assert picture.ndim == 2
    scale = 5  # 4 * 28 * 5 = 560
    mosaic = plots.tile(flat_images(values[::-1].ravel(), 28 * scale, 28 * scale), columns=4)
    top, left = 45, 70
    height, width = mosaic.shape
    np.testing.assert_array_equal(picture[top : top + height, left : left + width], mosaic)
    # Ticks at -1, 0, 1, 2 and 0, 1, 2 among others: each column's center has one under it.
    ticks = left + dark_segments(picture[top + height + 2, left : left + width])
    centers = left + 28 * scale * (np.arange(4) + 0.5)
    assert np.abs(ticks[:, None] - centers).min(axis=0).max() < 1.5


def test_plane_in_color_keeps_its_pixels():
    images = random_images(6, channels=3).reshape(2, 3, 28, 28, 3)
    picture = plots.plane(images, [0, 1, 2], [0, 1], "cifar10")
    assert picture.ndim == 3
    scale = 7  # round(560 / 84)
    np.testing.assert_array_equal(picture[45 : 45 + 28 * scale : scale, 70], images[1, 0, :, 0])


def class_color(label):
    import matplotlib

    return np.rint(255 * np.array(matplotlib.color_sequences["tab10"][label])).astype(int)


def near(picture, color):
    """A mask of the pixels of a color, up to antialiasing and rounding."""
    return np.abs(picture.astype(int) - color).max(axis=-1) <= 2


def test_latent_scatter_shows_each_point_in_the_color_of_its_class():
    codes = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]).repeat(300, axis=0)
    codes += np.random.default_rng(0).uniform(0, 1, size=codes.shape)
    labels = np.repeat([0, 3, 8], 300)  # not 7, whose gray also occurs in antialiased text
    picture = plots.latent_scatter(codes, labels, NAMES, "mnist")
    points = picture[:, : int(0.8 * picture.shape[1])]  # without the color bar
    rows, columns = zip(
        *(np.argwhere(near(points, class_color(c))).mean(axis=0) for c in (0, 3, 8)), strict=True
    )
    assert columns[1] - columns[0] > 100  # class 3 is to the right of class 0
    assert rows[0] - rows[2] > 100  # class 8 is above it
    # one unit is as long across as upwards
    np.testing.assert_allclose(columns[1] - columns[0], rows[0] - rows[2], rtol=0.01)
    assert not near(points, class_color(1)).any()
    bar = picture[:, int(0.8 * picture.shape[1]) :]
    assert all(near(bar, class_color(c)).sum() > 100 for c in range(10))


@pytest.mark.slow
def test_codes_without_labels_are_drawn_in_one_color():
    codes = np.array([[0, 0, 1], [2, 1, 0], [1, 2, 2]], float)
    flat = plots.latent_scatter(codes[:, :2], None, (), "unlabeled")
    deep = plots.latent_digits_3d(codes, None, "unlabeled")
    for picture in (flat, deep):
        colors = np.unique(picture.reshape(-1, 3).astype(int), axis=0)
        colorful = colors[np.ptp(colors, axis=1) > 100]
        assert len(colorful)
        assert (colorful.argmax(axis=1) == 2).all(), "only shades of the first color, a blue"


def test_latent_scatter_takes_many_classes_and_collapsed_codes():
    names = [str(i) for i in range(62)]
    picture = plots.latent_scatter(np.zeros((62, 2)), np.arange(62, dtype=np.uint8), names, "a")
    assert picture.dtype == np.uint8
    assert picture.shape[2] == 3


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [1, 0, 2, 3]])
def test_latent_digits_3d_draws_the_nearest_box_last(order):
    # The first two lie on the line of sight of matplotlib's default view: azimuth -60, elevation
    # 30, and a box of 4 x 4 x 3; the others set its limits.
    azimuth, elevation = np.radians([-60, 30])
    x, y = np.cos(elevation) * np.cos(azimuth), np.cos(elevation) * np.sin(azimuth)
    toward_viewer = np.array([x, y, np.sin(elevation) * 4 / 3])
    codes = np.array([toward_viewer, -toward_viewer, [-9, -9, -9], [9, 9, 9]])
    picture = plots.latent_digits_3d(codes[order], np.array([0, 3, 7, 7])[order], "mnist")
    nearest, farthest = (near(picture, class_color(label)).sum() for label in (0, 3))
    assert nearest > 1.5 * farthest


def test_latent_digits_3d_has_a_box_for_each_point():
    codes = np.random.default_rng(0).normal(size=(10, 3))
    picture = plots.latent_digits_3d(codes, np.arange(10), "mnist")
    assert all(near(picture, class_color(label)).sum() > 20 for label in range(10))
    plots.latent_digits_3d(np.zeros((2, 3)), np.array([0, 40]), "collapsed, and past ten classes")


def test_curves_band_is_one_standard_deviation():
    epochs, means = np.arange(1, 6), np.zeros(5)
    spread = np.sqrt(1.5)  # the sample standard deviation of -s, 0, s is s
    replicas = means + spread * np.array([-1, 0, 1])[:, None]
    marks = {"upper": means + spread, "lower": means - spread}
    picture = plots.curves(epochs, {"loss": replicas, **marks}, "loss", "mnist")
    column = picture[:, 300]
    band = np.flatnonzero(near(column, 255 - (255 - class_color(0)) * 0.2))
    lines = [np.flatnonzero(near(column, class_color(i))).mean() for i in (1, 2)]
    assert band.size > 100
    assert abs(band.min() - lines[0]) < 5
    assert abs(band.max() - lines[1]) < 5


def test_curves_pass_over_numbers_that_are_not_finite():
    x, nan = [1, 2, 3, 4, 5], float("nan")
    train = [5.0, 4.0, 3.0, 2.0, 1.0]
    straight = plots.curves(x, {"train": train, "test": [5.5, 5.0, 4.5, 4.0, 3.5]}, "loss", "t")
    gaps = plots.curves(x, {"train": train, "test": [5.5, nan, 4.5, nan, 3.5]}, "loss", "t")
    assert np.abs(gaps.astype(int) - straight).mean() < 0.1  # the same line, of fewer points
    alone = plots.curves(x, {"train": train, "test": [nan, 3.0, nan, nan, nan]}, "loss", "t")
    nowhere = plots.curves(x, {"train": train, "test": [nan] * 5}, "loss", "t")
    assert not np.array_equal(alone, nowhere)


def test_curves_of_one_epoch_or_one_replica_show_something():
    point = plots.curves([1], {"train": [0.3]}, "loss", "mnist")
    assert near(point, class_color(0)).sum() > 10
    line = plots.curves([1, 2], {"train": [[0.3, 0.2]]}, "loss", "mnist")
    np.testing.assert_array_equal(
        line, plots.curves([1, 2], {"train": [0.3, 0.2]}, "loss", "mnist")
    )


@pytest.mark.parametrize("channels", [1, 3])
def test_save_keeps_pixels_and_caption(tmp_path, channels):
    picture = plots.tile(random_images(4, channels=channels), columns=2)
    path = tmp_path / "new" / "picture.png"
    plots.save(picture, path, caption="fashion_mnist_mini: β = 4, ± 1", strip=False)
    with Image.open(path) as image:
        assert image.info["Description"] == "fashion_mnist_mini: β = 4, ± 1"
        np.testing.assert_array_equal(np.asarray(image), picture)
    plots.save(255 - picture, path, caption="again", strip=False)
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), 255 - picture)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(("count", "width"), [(1, 160), (10, 280)])
def test_save_writes_the_caption_under_the_picture(tmp_path, count, width):
    picture = plots.tile(random_images(count), columns=10 if count == 10 else 1)
    heights = []
    for words in (3, 30):
        caption = " ".join(["denoised"] * words)
        plots.save(picture, tmp_path / "p.png", caption=caption)
        with Image.open(tmp_path / "p.png") as image:
            assert image.info["Description"] == caption
            pixels = np.asarray(image)
        np.testing.assert_array_equal(pixels[:28, : picture.shape[1]], picture)
        strip = pixels[28:]
        assert pixels.shape[1] == width
        assert strip.min() < 64  # text
        border = [strip[:2], strip[-2:], strip[:, :2], strip[:, -2:]]
        assert all((edge == 255).all() for edge in border)  # not cut off
        heights.append(len(strip))
    assert heights[1] > heights[0] + 30  # more words, more lines


def test_save_leaves_the_old_picture_and_no_other_file_when_writing_fails(tmp_path, monkeypatch):
    path = tmp_path / "picture.png"
    old, new = random_images(2)[..., 0]
    plots.save(old, path, caption="old", strip=False)

    def fail(self, file, **options):
        file.write_bytes(b"half a picture")
        raise OSError("no space left")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space"):
        plots.save(new, path, caption="new")
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as image:
        np.testing.assert_array_equal(np.asarray(image), old)


GOOD = flat_images([1, 2])


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.tile(GOOD[0], 1), r"\(2, 3, 1\)"),
        (lambda: plots.tile(GOOD[:0], 1), "empty"),
        (lambda: plots.tile(GOOD.astype(np.int32), 1), "int32"),
        (lambda: plots.tile(np.full((1, 2, 2, 1), np.nan), 1), "NaN"),
        (lambda: plots.tile(GOOD, 0), "0 columns"),
        (lambda: plots.reconstruction_grid(GOOD, GOOD, rows=-1, columns=-1), "-1 rows"),
        (lambda: plots.reconstruction_grid(GOOD, GOOD[:1]), "one shape"),
        (lambda: plots.plane(GOOD[None], [0, 1, 2], [0], "t"), "3 values of z1"),
        (lambda: plots.plane(GOOD[None].repeat(2, axis=0), [1, 0], [0, 1], "t"), "ascend"),
        (lambda: plots.plane(GOOD[None], [0, 1], [0], "t"), "two values"),
        (lambda: plots.latent_scatter(np.zeros((3, 2)), [0, 1, 10], NAMES, "t"), "label 10"),
        (lambda: plots.latent_scatter(np.zeros((3, 2)), [0, 1, -1], NAMES, "t"), "below 0"),
        (lambda: plots.latent_scatter(np.zeros((3, 2)), [0, 1], NAMES, "t"), r"\(3, 2\)"),
        (lambda: plots.latent_scatter(np.zeros((3, 3)), [0, 1, 2], NAMES, "t"), r"\[N, 2\]"),
        (lambda: plots.latent_scatter(np.zeros((1, 2)), [0.0], NAMES, "t"), "float64"),
        (lambda: plots.latent_scatter(np.full((1, 2), np.nan), [0], NAMES, "t"), "NaN"),
        (lambda: plots.latent_digits_3d(np.zeros((3, 2)), [0, 1, 2], "t"), r"\[N, 3\]"),
        (lambda: plots.curves([1, 2], {"train": [1.0]}, "loss", "t"), "'train'"),
        (lambda: plots.curves([1, 2], {}, "loss", "t"), "series"),
        (lambda: plots.save(GOOD, "p.png", caption=""), "uint8"),
        (lambda: plots.save(np.zeros((2, 2)), "p.png", caption=""), "float64"),
        (lambda: plots.save(GOOD[0, ..., 0], "p.jpg", caption=""), "end in .png"),
    ],
)
def test_what_cannot_be_drawn_is_refused(draw, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        draw()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_grids_do_not_import_matplotlib_and_figures_not_pyplot():
    process = run_program("draw_grid_then_curves")
    assert process.returncode == 0, process.stderr
    grids, figures = (set(line.split()) for line in process.stdout.splitlines())
    assert "matplotlib" not in grids
    assert "matplotlib" in figures
    assert "matplotlib.pyplot" not in figures


@pytest.mark.slow
def test_vectors_show_up_to_six_and_tell_data_from_reconstructions():
    values = np.random.default_rng(0).normal(0, 50, (8, 4))
    picture = plots.vectors(values, values, "vectors")
    np.testing.assert_array_equal(plots.vectors(values[:6], values[:6], "vectors"), picture)
    assert np.any(plots.vectors(values, -values, "vectors") != picture)
    assert plots.vectors(values[:1], values[:1], "one").shape[1] < picture.shape[1]


@pytest.mark.parametrize(
    ("originals", "reconstructions", "message"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4)), r"one shape \[N, D\]"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "not empty"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), "its training diverged"),
    ],
)
def test_vectors_that_cannot_be_drawn_are_refused(originals, reconstructions, message):
    with pytest.raises(UserError, match=message):
        plots.vectors(originals, reconstructions, "vectors")
