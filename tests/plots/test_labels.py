"""Grids of images with labels: every pixel is where the layout says, and no label covers one."""

from typing import Any

import numpy as np
import pytest

from jaxae import plots
from jaxae.errors import UserError
from jaxae.plots.text import load_font, wrap
from support.pictures import cells_of

ROWS, COLUMNS = 3, (1, 4, 2)
LABELS: dict[str, Any] = {
    "headings": ("image", "nearest codes", "nearest pixels"),
    "column_labels": ("", *"abcdef"),
    "row_labels": ("noisy", "denoised", "clean"),
    "rows_together": 2,
}


def random_groups(channels=1, height=28, width=28, seed=0):
    random = np.random.default_rng(seed)
    return [
        random.integers(0, 256, (ROWS, count, height, width, channels), np.uint8)
        for count in COLUMNS
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("labels", [{}, LABELS])
def test_images_are_enlarged_by_a_whole_factor_and_lie_where_the_layout_says(channels, labels):
    groups = random_groups(channels)
    picture = plots.labeled_grid(groups, **labels)
    layout = plots.lay_out((28, 28), ROWS, COLUMNS, **labels)
    assert picture.shape == ((layout.height, layout.width) + (() if channels == 1 else (3,)))
    assert layout.scale == 3  # 84 pixels
    expected = np.concatenate(groups, axis=1)
    found = cells_of(picture, layout)
    np.testing.assert_array_equal(found.reshape(expected.shape), expected)
    top, left = layout.rows[1], layout.columns[2]
    square = picture[top : top + 3, left : left + 3].reshape(9, -1)
    np.testing.assert_array_equal(square, np.broadcast_to(expected[1, 2, 0, 0], square.shape))


def test_labels_are_drawn_outside_the_images_and_only_if_given():
    white = [np.full((ROWS, count, 28, 28, 1), 255, np.uint8) for count in COLUMNS]
    bare, labeled = plots.labeled_grid(white), plots.labeled_grid(white, **LABELS)
    assert (bare.min(axis=0) == 255).sum() == bare.shape[1] - 2  # two rules, and no letter
    layout = plots.lay_out((28, 28), ROWS, COLUMNS, **LABELS)
    assert (cells_of(labeled, layout) == 255).all()
    first = layout.columns[0]
    for top in layout.rows:  # each has its label
        assert labeled[top : top + layout.cell[0], : first - 2].min() < 100
    for start, end in layout.groups:
        assert labeled[: layout.rows[0], start:end].min() < 100
    edges = (labeled[:2], labeled[-2:], labeled[:, :2], labeled[:, -2:])
    assert all((edge == 255).all() for edge in edges)  # nothing is cut off


def test_no_label_reaches_over_another():
    names = ("a very long heading of one image", "b", "another long heading of two")
    layout = plots.lay_out((8, 8), 2, (1, 3, 2), headings=names)
    font = load_font(12)
    for name, (start, end) in zip(names, layout.groups, strict=True):
        assert font.getlength(name) <= end - start
    for (_, end), (start, _) in zip(layout.groups, layout.groups[1:], strict=False):
        assert end < start
    assert layout.groups[-1][1] < layout.width
    uneven = plots.lay_out((8, 8), 4, (2,), rows_together=2).rows
    assert np.diff(uneven)[1] > np.diff(uneven)[0] == np.diff(uneven)[2]


@pytest.mark.parametrize(
    ("image", "columns", "scale"),
    [((28, 28), 10, 2), ((28, 28), 3, 3), ((8, 8), 10, 9), ((64, 64), 10, 1), ((200, 9), 2, 1)],
)
def test_small_images_are_enlarged_until_they_are_easily_seen(image, columns, scale):
    assert plots.lay_out(image, 2, (columns,)).scale == scale


def test_reconstructions_lie_in_the_same_places_on_the_right():
    random = np.random.default_rng(0)
    originals, others = random.integers(0, 256, (2, 7, 28, 28, 1), np.uint8)
    picture = plots.labeled_reconstructions(originals, others / 255)
    layout = plots.lay_out((28, 28), 2, (5, 5), headings=("original", "reconstruction"))
    cells = cells_of(picture, layout)
    for index in range(7):
        np.testing.assert_array_equal(cells[index // 5, index % 5], originals[index, ..., 0])
        np.testing.assert_array_equal(cells[index // 5, 5 + index % 5], others[index, ..., 0])
    assert (cells[1, 2:5] == 255).all()  # white where there is no image
    rows = plots.labeled_rows({"original": originals[:3], "network": others[:3]})
    layout = plots.lay_out((28, 28), 2, (3,), row_labels=("original", "network"))
    np.testing.assert_array_equal(cells_of(rows, layout)[1], others[:3, ..., 0])


def test_words_are_wrapped_and_what_is_too_wide_is_cut():
    font = load_font(12)
    assert wrap("Ankle boot", font, 45) == ["Ankle", "boot"]
    assert wrap("T-shirt/top", font, 46) == ["T-shirt/", "top"]
    assert wrap("Ankle boot", font, 200) == ["Ankle boot"]
    (cut,) = wrap("unbelievable", font, 40)
    assert cut.endswith("…")
    assert 25 < font.getlength(cut) <= 40
    assert wrap("", font, 40) == [""]


GROUP = np.zeros((2, 3, 4, 4, 1), np.uint8)


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plots.labeled_grid([]), "one group or more"),
        (lambda: plots.labeled_grid([GROUP[0]]), r"\[rows, columns, H, W, C\]"),
        (lambda: plots.labeled_grid([GROUP, GROUP[:1]]), "differ only in their columns"),
        (lambda: plots.labeled_grid([GROUP, GROUP[..., :2, :]]), "differ only in their columns"),
        (lambda: plots.labeled_grid([GROUP[:0]]), "not empty"),
        (lambda: plots.labeled_grid([GROUP.astype(np.float32) * np.nan]), "NaN"),
        (lambda: plots.labeled_grid([GROUP], headings=("a", "b")), "2 headings were given for 1"),
        (lambda: plots.labeled_grid([GROUP], row_labels=("a",)), "1 row labels were given for 2"),
        (lambda: plots.labeled_grid([GROUP], column_labels=("a",)), "1 column labels .* for 3"),
        (lambda: plots.labeled_rows({"a": GROUP[0], "b": GROUP[1, :2]}), "one shape"),
        (lambda: plots.labeled_rows({}), "one group"),
        (lambda: plots.in_rows(GROUP[0], 0), "0 columns"),
    ],
)
def test_what_has_no_layout_is_refused(draw, message):
    with pytest.raises(UserError, match=message):
        draw()
