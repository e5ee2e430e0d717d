"""A guard against slower training steps that needs no clock: a step's operations are counted."""

import json

import pytest

from programs.count_operations import TABLE, count
from speed_records import RECIPES

ROOM = 1.1  # XLA's versions differ by a few percent

REMEDY = (
    "if the step needs them, run python tests/programs/count_operations.py --write, and say why in "
    "the commit"
)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_training_step_has_no_more_operations_than_the_table_says(recipe):
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    allowed, counted = table[recipe], count(recipe)
    assert counted.keys() == allowed.keys()
    more = {
        what: f"{number:,} instead of {allowed[what]:,}"
        for what, number in counted.items()
        if number > ROOM * allowed[what]
    }
    assert not more, f"{recipe} needs more with JAX {table['jax']} or newer: {more}; {REMEDY}"
