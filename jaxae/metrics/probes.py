"""How much of a label a code still tells, by the accuracy of simple classifiers that read codes."""

import warnings

import numpy as np

from jaxae.errors import UserError

_TOLERANCE = 1e-3  # of the largest gradient of the mean loss, where the linear probe stops
_ITERATIONS = 1000  # of L-BFGS at most; MNIST's pixels take about 60


def linear_probe_accuracy(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> float:
    """The test accuracy, in [0, 1], of multinomial logistic regression on codes [N, ...].

    Codes are standardized by the training codes' mean and deviation, constant numbers only
    centered; scikit-learn's L-BFGS with its default L2 penalty stops at a gradient of 1e-3. The
    same input gives the same number. A fit that ends short of that gradient counts as it stands,
    for it too is a linear classifier. Raises UserError for codes that are not finite or whose
    counts or sizes do not match, and for training labels of one class.
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
    # With one thread, sums have one order; and on a busy machine several were ten times slower.
    with warnings.catch_warnings(), threadpool_limits(1, user_api="blas"):
        warnings.simplefilter("ignore", ConvergenceWarning)
        return float(probe.fit(train_codes, train_labels).score(test_codes, test_labels))


def neighbour_accuracy(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
    neighbours: int = 5,
) -> float:
    """The test accuracy, in [0, 1], of the most frequent label of the k nearest training codes.

    Nearest by the Euclidean distance of codes [N, ...] as they are, compared with all; of labels
    that are as frequent the smallest counts. Raises UserError for codes that are not finite or
    whose counts or sizes do not match, and unless 1 <= neighbours <= N.
    """
    from sklearn.neighbors import KNeighborsClassifier

    train_codes, test_codes = _checked_codes(train_codes, train_labels, test_codes, test_labels)
    if not 1 <= neighbours <= len(train_codes):
        raise UserError(
            f"{neighbours} neighbours were asked of {len(train_codes)} codes: give from 1 to as "
            "many"
        )
    probe = KNeighborsClassifier(neighbours, algorithm="brute").fit(train_codes, train_labels)
    return float(probe.score(test_codes, test_labels))


def _checked_codes(
    train_codes: np.ndarray,
    train_labels: np.ndarray,
    test_codes: np.ndarray,
    test_labels: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Both codes as float32 [N, D]."""
    if train_codes.shape[1:] != test_codes.shape[1:]:
        raise UserError(
            f"a probe was given training codes of shape {train_codes.shape} and test codes of "
            f"{test_codes.shape}: take both from one network"
        )
    return _flat_codes(train_codes, train_labels), _flat_codes(test_codes, test_labels)


def _flat_codes(codes: np.ndarray, labels: np.ndarray) -> np.ndarray:
    if codes.size == 0 or np.shape(labels) != codes.shape[:1]:
        raise UserError(
            f"a probe was given codes of shape {codes.shape} and labels of {np.shape(labels)}: "
            "give codes [N, ...], N and their size 1 or more, and a label for each"
        )
    flat = np.asarray(codes, np.float32).reshape(len(codes), -1)
    if not np.isfinite(flat).all():
        raise UserError("a probe was given codes with NaN or infinite numbers: mend or drop them")
    return flat
