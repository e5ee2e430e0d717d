"""Figures side by side have equally many decimals; and the seconds of stages are tabulated."""

import math

import pytest

from jaxae.evaluate.decimals import format_row
from jaxae.evaluate.progress import stage
from jaxae.evaluate.tables import make_seconds_table


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ({"a_mse": 0.01234, "b_mse": 0.5}, ("0.0123", "0.5000")),
        ({"a_fid": 12.3456, "b_fid": 255.9, "c_fid": 5.085}, ("12.3", "255.9", "5.1")),
        ({"a_mse": 0.01796, "a_mse_std": 0.00033, "b_mse": 0.02}, ("0.01796 ± 0.00033", "0.02000")),
        ({"a_mse": 2.5, "a_mse_std": 0.0, "b_mse": 1.0}, ("2.500 ± 0.000", "1.000")),
        ({"a_accuracy": 0.85, "b_accuracy": 1.0}, ("0.8500", "1.0000")),
        ({"parameters": 51416}, ("51,416",)),
        ({"active_units": 3.0}, ("3",)),
        ({"active_units": 3.5, "active_units_std": 0.71}, ("3.50 ± 0.71",)),
        ({"a_kid": 0.0}, ("0",)),
        ({"a_kid": 1e-9}, ("0.000000",)),
        ({"a_fid": math.nan, "b_fid": 2.0}, ("nan", "2.000")),
    ],
)
def test_a_row_has_equally_many_decimals(
    known: dict[str, float], expected: tuple[str, ...]
) -> None:
    names = [name for name in known if not name.endswith("_std")]
    assert format_row(known, names) == expected
    assert format_row(known, [*names, "missing"]) == (*expected, "-")


def test_the_seconds_of_stages_are_kept_in_order_and_tabulated() -> None:
    seconds: dict[str, float] = {}
    for name in ("codes", "report", "codes"):
        with stage(name, seconds=seconds, which=", replica 1 of 2"):
            pass
    assert list(seconds) == ["codes", "report"]
    both = {"codes": 1.5, "codes_std": 0.71, "codes_replicas": [1.0, 2.0], "report": 4.0}
    table = make_seconds_table(both, replicas=2)
    assert [(row.name, *row.cells) for row in table.rows] == [
        ("Codes", "1.5 ± 0.7"),
        ("Report", "4.0"),
        ("All", "7.0"),
    ]
