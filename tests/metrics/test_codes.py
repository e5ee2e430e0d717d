"""How much of a code is used, against known counts."""

import numpy as np
import pytest

from jaxae.errors import UserError
from jaxae.metrics import active_units, perplexity


def test_active_units_are_those_whose_mean_varies_over_the_images() -> None:
    signs = np.resize([-1.0, 1.0], 100)[:, None]
    # Variances 1, 0.0121, 0.0081 and 0, with means far from 0.
    means = 5 + signs * np.array([[1, 0.11, 0.09, 0]])
    assert active_units(means) == 2
    assert active_units(means, threshold=0.001) == 3
    assert active_units(means.astype(np.float32), threshold=2) == 0


@pytest.mark.parametrize(
    "means", [np.zeros(4), np.zeros((1, 4)), np.zeros((3, 2, 2, 1)), np.full((3, 2), np.nan)]
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_means_of_another_kind_are_refused(means: np.ndarray) -> None:
    with pytest.raises(UserError, match="posterior means of shape"):
        active_units(means)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 512])
def test_perplexity_of_even_use_is_the_number_of_codes_used(size: int) -> None:
    even = np.tile(np.arange(size), 6).reshape(2, 3, size)
    assert perplexity(even, size) == pytest.approx(size, rel=1e-12)
    assert 1 <= perplexity(even, size) <= size
    assert perplexity(even.astype(np.uint64), 1000) == pytest.approx(size, rel=1e-12)


def test_perplexity_of_one_code_is_one() -> None:
    assert perplexity(np.full((4, 5), 3), 8) == 1


def test_perplexity_of_uneven_use() -> None:
    # Shares 1/2, 1/4, 1/4: an entropy of 1.5 bits.
    assert perplexity(np.array([0, 0, 5, 2], np.int32), 8) == pytest.approx(2**1.5)


@pytest.mark.parametrize(
    "indices", [np.array([], int), np.array([0, 4]), np.array([-1, 0]), np.array([0.0, 1.0])]
)
@pytest.mark.usefixtures("unchecked_shapes")
def test_indices_of_no_code_are_refused(indices: np.ndarray) -> None:
    with pytest.raises(UserError, match=r"for 4 codes: give one or more integers from 0 to 3"):
        perplexity(indices, 4)
