"""Whether rows of a comparison differ from the best: a paired t-test over their seeds."""

import math
from collections.abc import Mapping

from scipy import stats

from jaxae.comparison.rows import DIRECTIONS, Comparison, is_loss, measured_in
from jaxae.errors import UserError


def compare_with_best(comparison: Comparison, figure: str) -> dict[int, float]:
    """Returns the p-value of a paired t-test of each row with the best that compares, by row.

    The rows need two seeds or more in common at which both are finite; a row without them is left
    out. Raises `UserError` if there is no best row.
    """
    groups = comparison.groups(figure)
    if not groups:
        raise UserError(_explain_missing(comparison, figure))
    best = comparison.best(figure)
    found = {}
    for group in groups:
        first = min(best & set(group))
        theirs = comparison.rows[first].values[figure]
        for number in group:
            ours = comparison.rows[number].values[figure]
            if number != first and (probability := _probability(ours, theirs)) is not None:
                found[number] = probability
    return found


def _probability(ours: Mapping[int, float], theirs: Mapping[int, float]) -> float | None:
    """Returns the p-value of two rows' values by seed; None for fewer than two shared seeds."""
    pairs = [(ours[seed], theirs[seed]) for seed in sorted(ours.keys() & theirs.keys())]
    pairs = [pair for pair in pairs if all(map(math.isfinite, pair))]
    if len(pairs) < 2:
        return None
    differences = {left - right for left, right in pairs}
    if len(differences) == 1:  # the test would divide by 0
        return float(differences == {0.0})
    left, right = zip(*pairs, strict=True)
    return float(stats.ttest_rel(left, right).pvalue)


def _explain_missing(comparison: Comparison, figure: str) -> str:
    """Returns why a figure has no best row, and which figures have one."""
    having = [row for row in comparison.rows if math.isfinite(row.mean(figure))]
    if figure not in DIRECTIONS:
        why = f"{figure} has no better side"
    elif len(having) < 2:
        why = f"fewer than two rows have a finite {figure} at all their seeds"
    elif is_loss(figure):
        why = (
            "no two rows are of one objective with the same weights, likelihood and dataset, and "
            "other losses do not compare"
        )
    else:
        why = "the rows are of several datasets"
    others = [name for name in sorted(measured_in(comparison.rows)) if comparison.best(name)]
    advice = f"give one of {', '.join(others)}" if others else "give other runs"
    return f"--significance {figure}: there is no best row, because {why}; {advice}"
