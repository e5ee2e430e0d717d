"""Distances between sets of generated and real images, from features or class probabilities.

Everything is computed in float64 with NumPy. Features can come from any network, but from the same
one for both sets; distances in the features of different networks cannot be compared.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxae.errors import UserError

_SUBSET_SIZE = 1000  # as in Binkowski et al. 2018, section 5
_NUMBERS = 2**19  # of a matrix of distances or kernels, computed at a time
# The error of a squared distance from a product, relative to the largest squared norm.
_ROUNDING = 1e-12


class KernelDistance(NamedTuple):
    """The mean and standard deviation of the squared MMD over random subsets."""

    mean: float
    standard_deviation: float


class PrecisionAndRecall(NamedTuple):
    """Shares, in [0, 1]: of generated features near real ones, and of real near generated ones."""

    precision: float
    recall: float


def frechet_distance(
    features: Float[np.ndarray, "N dimension"], others: Float[np.ndarray, "M dimension"]
) -> float:
    """The squared Fréchet distance between the Gaussians fitted to two sets; 0 or greater.

    |m - m'|^2 + tr(C + C' - 2 (C C')^(1/2)), Heusel et al. 2017, eq. 6; symmetric in its arguments.
    Covariances divide by N - 1 and may be singular, as they are if N is not above the dimension.
    Instead of subtracting traces, this minimizes |S - S' U|^2 over orthogonal U, where S S^T = C
    and S' S'^T = C' (Bhatia, Jain and Lim 2019, theorem 1). The estimate is biased upwards for few
    examples, so compare equal N and M. Raises `UserError` unless N, M >= 2, both have one
    dimension, and all features are finite.
    """
    features, others = _checked_pair(features, others, least=2)
    root, other_root = _covariance_root(features), _covariance_root(others)
    between_means = np.sum(np.square(features.mean(axis=0) - others.mean(axis=0)))
    # The two differ by rounding only; their mean is exactly symmetric.
    between_roots = _procrustes(root, other_root) + _procrustes(other_root, root)
    return float(between_means + between_roots / 2)


def kernel_distance(
    features: Float[np.ndarray, "N dimension"],
    others: Float[np.ndarray, "M dimension"],
    *,
    subsets: int = 100,
    subset_size: int | None = None,
    seed: int = 0,
) -> KernelDistance:
    """The kernel distance between two sets of features: the squared MMD over random subsets.

    Binkowski et al. 2018, section 4, with the kernel (x^T y / dimension + 1)^3. The estimate is
    unbiased: its mean is 0 for equal distributions, so it can be negative. Subsets are drawn
    without replacement.

    Args:
      features: features of one set.
      others: features of the other set.
      subsets: the number of subsets.
      subset_size: features per subset; None means 1,000, or half of the smaller set if that is
        fewer.
      seed: the seed of the NumPy generator that draws the subsets.

    Raises:
      UserError: unless N, M >= 4, both have one dimension, all features are finite, subsets >= 1,
        and 2 <= subset_size <= min(N, M).
    """
    features, others = _checked_pair(features, others, least=4)
    smaller = min(len(features), len(others))
    size = min(_SUBSET_SIZE, smaller // 2) if subset_size is None else subset_size
    if subsets < 1 or not 2 <= size <= smaller:
        raise UserError(
            f"the kernel distance was asked of {subsets} subsets of {size} features: give 1 subset "
            f"or more, of 2 to {smaller} features, the size of the smaller set"
        )
    generator = np.random.default_rng(seed)
    distances = [
        _squared_mmd(
            features[generator.choice(len(features), size, replace=False)],
            others[generator.choice(len(others), size, replace=False)],
        )
        for _ in range(subsets)
    ]
    return KernelDistance(float(np.mean(distances)), float(np.std(distances)))


def precision_and_recall(
    real: Float[np.ndarray, "N dimension"],
    generated: Float[np.ndarray, "M dimension"],
    neighbors: int = 5,
) -> PrecisionAndRecall:
    """The share of each set that lies within the manifold of the other.

    Kynkäänniemi et al. 2019, eq. 1 and 2 (with 3 neighbors): the manifold of a set is the union of
    balls around its points, each with the distance to the k-th nearest other point as its radius.
    Raises `UserError` unless both sets have one dimension, more points than neighbors, and finite
    features.
    """
    if neighbors < 1:
        raise UserError(f"{neighbors} neighbors were asked for: give 1 or more")
    real, generated = _checked_pair(real, generated, least=neighbors + 1)
    # Centering leaves distances unchanged, and their products lose fewer digits.
    center = (real.mean(axis=0) + generated.mean(axis=0)) / 2
    real, generated = real - center, generated - center
    largest = max(np.square(real).sum(axis=1).max(), np.square(generated).sum(axis=1).max())
    tolerance = _ROUNDING * largest  # keeps a point within the ball of radius 0 around it
    real_radii, radii = (_squared_radii(each, neighbors) + tolerance for each in (real, generated))
    precise, recalled, start = 0, np.zeros(len(real), bool), 0
    for distances in _squared_distances(generated, real):
        stop = start + len(distances)
        precise += int((distances <= real_radii).any(axis=1).sum())
        recalled |= (distances <= radii[start:stop, None]).any(axis=0)
        start = stop
    return PrecisionAndRecall(precise / len(generated), float(recalled.mean()))


def inception_score(probabilities: Float[np.ndarray, "N classes"]) -> float:
    """exp of the mean KL(p(y | x) || p(y)) over images, from their class probabilities.

    Salimans et al. 2016, section 4, over all images at once. It ranges from 1, if all images have
    the same probabilities, to the number of classes. Raises `UserError` unless each row sums to 1.
    """
    probabilities = np.asarray(probabilities, np.float64)
    if probabilities.ndim != 2 or 0 in probabilities.shape:
        raise UserError(
            f"probabilities of shape {probabilities.shape} were given: give [N, classes], with at "
            "least one of each"
        )
    totals = probabilities.sum(axis=1, keepdims=True)
    if not (probabilities >= 0).all() or not np.allclose(totals, 1, atol=1e-3):
        raise UserError(
            "the inception score was given rows that are not probabilities: give numbers of 0 or "
            "more that add up to 1, such as the softmax of logits"
        )
    probabilities = probabilities / totals
    divergences = scipy.special.rel_entr(probabilities, probabilities.mean(axis=0, keepdims=True))
    return float(np.exp(divergences.sum(axis=1).mean()))


def _covariance_root(features: np.ndarray) -> np.ndarray:
    """Returns a lower triangular S [D, D] with S S^T = the covariance of features [N, D]."""
    count, dimension = features.shape
    _, upper = np.linalg.qr(features - features.mean(axis=0))
    return np.pad(upper.T, ((0, 0), (0, dimension - len(upper)))) / np.sqrt(count - 1)


def _procrustes(root: np.ndarray, other: np.ndarray) -> float:
    """The least |root - other U|^2 over orthogonal U, all [D, D]."""
    left, _, right = np.linalg.svd(other.T @ root)
    return np.sum(np.square(root - other @ (left @ right)))


def _squared_mmd(x: np.ndarray, y: np.ndarray) -> float:
    """The unbiased estimate from x and y, both [N, D]; Binkowski et al. 2018, eq. 4."""
    count = len(x)
    pairs = count * (count - 1)
    within = sum(
        _sum_of_kernel(z, z) - np.sum((np.square(z).sum(axis=1) / z.shape[1] + 1) ** 3)
        for z in (x, y)
    )
    return within / pairs - 2 * _sum_of_kernel(x, y) / count**2


def _sum_of_kernel(x: np.ndarray, y: np.ndarray) -> float:
    """The sum of (x^T y / D + 1)^3 over all pairs of x [N, D] and y [M, D]."""
    scaled = np.pad(y / x.shape[1], ((0, 0), (0, 1)), constant_values=1).T
    x, total = np.pad(x, ((0, 0), (0, 1)), constant_values=1), 0.0
    for rows in _blocks(len(x), len(y)):
        base = (x[rows] @ scaled).ravel()
        total += float((base * base) @ base)
    return total


def _blocks(rows: int, columns: int) -> Iterator[slice]:
    """Yields slices of the rows of a matrix, whose numbers are computed at a time."""
    size = max(1, _NUMBERS // columns)
    return (slice(start, start + size) for start in range(0, rows, size))


def _squared_radii(points: np.ndarray, neighbors: int) -> np.ndarray:
    """The squared distance of each point to its k-th nearest other point: [N, D] -> [N]."""
    # Index 0 is the point itself. A copy, because a view would keep all distances in memory.
    return np.concatenate(
        [
            np.partition(distances, neighbors)[:, neighbors].copy()
            for distances in _squared_distances(points, points)
        ]
    )


def _squared_distances(x: np.ndarray, y: np.ndarray) -> Iterator[np.ndarray]:
    """Yields the squared distances of x [N, D] and y [M, D], a block of rows [*, M] at a time."""
    x_norms, y_norms = (np.square(points).sum(axis=1) for points in (x, y))
    doubled = -2 * y.T
    for rows in _blocks(len(x), len(y)):
        distances = x[rows] @ doubled
        distances += x_norms[rows, None]
        distances += y_norms
        yield distances


def _checked_pair(
    features: np.ndarray, others: np.ndarray, *, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64; they must be finite, of one dimension, and have `least` rows."""
    features, others = np.asarray(features, np.float64), np.asarray(others, np.float64)
    if features.ndim != 2 or others.ndim != 2 or features.shape[1:] != others.shape[1:]:
        raise UserError(
            f"features of shapes {features.shape} and {others.shape} were compared: give [N, D] "
            "and [M, D], from one network"
        )
    if min(len(features), len(others)) < least or features.shape[1] == 0:
        raise UserError(
            f"{len(features)} and {len(others)} features of {features.shape[1]} numbers were "
            f"compared: give {least} or more of each, of one number or more"
        )
    if not (np.isfinite(features).all() and np.isfinite(others).all()):
        raise UserError("features with NaN or infinite numbers were compared; fix or drop them")
    return features, others
