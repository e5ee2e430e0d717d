"""Accuracies of simple classifiers of codes, which measure how much codes say about labels."""

import warnings

import numpy as np
from jaxtyping import Int, Real

from jaxae.errors import UserError

_TOLERANCE = 1e-3  # the linear probe stops at this largest gradient of the mean loss
_ITERATIONS = 1000  # at most, of L-BFGS; MNIST's pixels take about 60


def linear_probe_accuracy(
    train_codes: Real[np.ndarray, "N *shape"],
    train_labels: Int[np.ndarray, " N"],
    test_codes: Real[np.ndarray, "M *shape"],
    test_labels: Int[np.ndarray, " M"],
) -> float:
    """The test accuracy, in [0, 1], of multinomial logistic regression on codes.

    Codes are standardized with the training codes' mean and deviation; constant numbers are only
    centered. scikit-learn's L-BFGS with its default L2 penalty stops at a gradient of 1e-3, or at
    1,000 iterations with the linear classifier that it has by then. The result is deterministic.
    Raises `UserError` for codes that are not finite or whose counts or shapes do not match, and for
    training labels of one class.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    train_codes, test_codes = _checked_codes(train_codes, train_labels, test_codes, test_labels)
    if len(np.unique(train_labels)) < 2:
        raise UserError("a linear probe was given training labels of one class: give two or more")
    regression = LogisticRegression(tol=_TOLERANCE, max_iter=_ITERATIONS)
    probe = make_pipeline(StandardScaler(), regression)
    # One thread sums in one order; on a busy machine several threads were ten times slower.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(probe.fit(train_codes, train_labels).score(test_codes, test_labels))


def neighbor_accuracy(
    train_codes: Real[np.ndarray, "N *shape"],
    train_labels: Int[np.ndarray, " N"],
    test_codes: Real[np.ndarray, "M *shape"],
    test_labels: Int[np.ndarray, " M"],
    neighbors: int = 5,
) -> float:
    """The test accuracy, in [0, 1], of the majority label among the nearest training codes.

    The distance is Euclidean, on codes that are not standardized, and the search is exact; ties
    between labels go to the smallest. Raises `UserError` for codes that are not finite or whose
    counts or shapes do not match, and unless 1 <= neighbors <= N.
    """
    from sklearn.neighbors import KNeighborsClassifier

    train_codes, test_codes = _checked_codes(train_codes, train_labels, test_codes, test_labels)
    if not 1 <= neighbors <= len(train_codes):
        raise UserError(
            f"{neighbors} neighbors were asked of {len(train_codes)} codes: give 1 to "
            f"{len(train_codes)}"
        )
    probe = KNeighborsClassifier(neighbors, algorithm="brute").fit(train_codes, train_labels)
    return float(probe.score(test_codes, test_labels))


def _checked_codes(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both sets of codes as float32 [N, D]."""
    if train_codes.shape[1:] != test_codes.shape[1:]:
        raise UserError(
            f"a probe was given training codes of shape {train_codes.shape} and test codes of "
            f"shape {test_codes.shape}: take both from one network"
        )
    return _flat_codes(train_codes, train_labels), _flat_codes(test_codes, test_labels)


def _flat_codes(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Returns codes as float32 [N, D]; they must be finite, with a label for each."""
    if codes.size == 0 or np.shape(labels) != codes.shape[:1]:
        raise UserError(
            f"a probe was given codes of shape {codes.shape} and labels of shape "
            f"{np.shape(labels)}: give codes [N, ...], at least one, and a label for each"
        )
    flat = np.asarray(codes, np.float32).reshape(len(codes), -1)
    if not np.isfinite(flat).all():
        raise UserError("a probe was given codes with NaN or infinite numbers: fix or drop them")
    return flat
