"""The scaling of numbers, and what is surveyed of them."""

import numpy as np
import pytest

from jaxae.data.readers import numbers
from jaxae.data.readers.numbers import Survey, make_scaling
from jaxae.data.splits import divide_by_index, hold_out
from jaxae.errors import UserError

RNG = np.random.default_rng(0)


@pytest.fixture(params=[1, 100, 2**24])
def chunk_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numbers, "CHUNK_BYTES", request.param)


@pytest.mark.usefixtures("chunk_bytes")
def test_vectors_are_scaled_column_by_column() -> None:
    train = (RNG.normal(size=(50, 3)) * [1e-3, 1, 1e5] + [0, -7, 1e6]).astype(np.float32)
    exact = train.astype(np.float64)
    standardize, minmax = make_scaling("standardize", "x"), make_scaling("minmax", "x")
    assert standardize
    assert minmax
    scaling = standardize(train)
    np.testing.assert_allclose(scaling.offset, exact.mean(0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(scaling.scale, exact.std(0), rtol=1e-12)
    scaling = minmax(train)
    np.testing.assert_array_equal(scaling.offset, exact.min(0))
    np.testing.assert_array_equal(scaling.scale, np.ptp(exact, 0))
    scaled = scaling.apply(train)
    assert (scaled.min(0) == 0).all()
    assert (scaled.max(0) == 1).all()
    np.testing.assert_allclose(scaling.undo(scaled), train, rtol=1e-5, atol=1e-1)


@pytest.mark.usefixtures("chunk_bytes")
def test_images_are_scaled_as_a_whole() -> None:
    train = RNG.random((9, 4, 5, 2), np.float32) * 30 - 7
    standardize, minmax = make_scaling("standardize", "x"), make_scaling("minmax", "x")
    assert standardize
    assert minmax
    np.testing.assert_allclose(standardize(train).offset, [train.mean(dtype=float)])
    np.testing.assert_allclose(standardize(train).scale, [train.std(dtype=float)])
    assert minmax(train).offset == (float(train.min()),)
    assert minmax(train).scale == (float(train.max()) - float(train.min()),)


@pytest.mark.parametrize("scale", ["standardize", "minmax"])
@pytest.mark.parametrize("value", [0, 0.1, -1e30, 1e-44])
def test_a_constant_column_keeps_its_unit(scale: str, value: float) -> None:
    make = make_scaling(scale, "x")  # pyright: ignore[reportArgumentType]
    assert make
    train = np.full((1000, 2), value, np.float32)
    scaling = make(train)
    assert scaling.scale == (1, 1)
    assert (scaling.apply(train) == 0).all()


def test_no_scaling() -> None:
    assert make_scaling(None, "x") is None
    assert make_scaling("none", "x") is None


def test_a_survey_finds_the_first_bad_number_and_counts_all() -> None:
    survey = Survey()
    survey.add(0, np.array([[1.0, -2], [3, 4]]))
    survey.add(2, np.array([[5.0, 6], [7, np.nan], [np.inf, 8]]))
    survey.add(5, np.array([[np.nan, 9]]))
    assert (survey.bad, survey.first_bad) == (3, (3, 1))
    with pytest.raises(UserError, match=r"table holds 3 NaN .* \[3, 1\]"):
        survey.check("table")


def test_a_division_gives_each_example_to_one_split_in_order() -> None:
    division = divide_by_index(100, "x")
    held = hold_out([str(index) for index in range(100)])
    found: dict[str, list[np.ndarray]] = {"train": [], "test": []}
    for start in range(0, 100, 7):
        for piece in division.pieces(start, np.arange(100)[start : start + 7]):
            np.testing.assert_array_equal(
                piece.positions, sum(map(len, found[piece.split])) + np.arange(len(piece.positions))
            )
            found[piece.split].append(piece.examples)
    np.testing.assert_array_equal(np.concatenate(found["train"]), np.flatnonzero(~held))
    np.testing.assert_array_equal(np.concatenate(found["test"]), np.flatnonzero(held))
    assert division.counts == {"train": (~held).sum(), "test": held.sum()}
