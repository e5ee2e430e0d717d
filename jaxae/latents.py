"""What one does with codes: paths between them, their dimensions, their classes, their neighbours.

A code is a vector [latent] or a feature map [h, w, C], written [*shape] here; codes are float32.
`decode` is a function from codes [N, *shape] to images [N, H, W, C], such as that of
`jaxae.trained.Trained`. Arrays that do not fit together raise UserError.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from jaxae.errors import UserError

Decode = Callable[[np.ndarray], np.ndarray]
Interpolate = Callable[[ArrayLike, ArrayLike, int], np.ndarray]

_QUERIES_AT_ONCE = 128  # of which the distances to 60,000 codes take 61 MB


def interpolate_linearly(start: ArrayLike, stop: ArrayLike, steps: int) -> np.ndarray:
    """Codes [steps, *shape] at equal steps on the line between two, both of which are included."""
    start, stop = _checked_ends(start, stop, steps)
    return np.linspace(start, stop, steps, dtype=np.float32)


def interpolate_spherically(start: ArrayLike, stop: ArrayLike, steps: int) -> np.ndarray:
    """Codes [steps, *shape] between two, which turn by equal angles and whose norms grow linearly.

    Shoemake 1985, section 3.3, on the directions; White 2016 on latent spaces. Opposite codes are
    joined by a half circle in a plane that is fixed but arbitrary; where one code is 0, the other
    alone has a direction, and numbers have none: then the path is the line.
    """
    start, stop = _checked_ends(start, stop, steps)
    norms = np.linalg.norm(start), np.linalg.norm(stop)
    if start.size == 1 or min(norms) == 0:
        return interpolate_linearly(start, stop, steps)
    first, last = start.ravel() / norms[0], stop.ravel() / norms[1]
    # By half angles, which are exact where the arc cosine of a dot product is not.
    angle = 2 * np.arctan2(np.linalg.norm(last - first), np.linalg.norm(last + first))
    across = _direction_across(first, last)
    angles = np.linspace(0, angle, steps)[:, None]
    directions = np.cos(angles) * first + np.sin(angles) * across
    codes = np.linspace(norms[0], norms[1], steps)[:, None] * directions
    return codes.reshape(steps, *start.shape).astype(np.float32)


def _direction_across(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The unit vector orthogonal to `first`, in its plane with `last` if the two span one."""
    across = last - (last @ first) * first
    if np.linalg.norm(across) < 1e-6:  # less than float32 codes say
        axis = np.zeros_like(first)
        axis[np.abs(first).argmin()] = 1
        across = axis - (axis @ first) * first
    return across / np.linalg.norm(across)


def morph(
    decode: Decode,
    codes: ArrayLike,
    steps: int,
    interpolate: Interpolate = interpolate_spherically,
) -> np.ndarray:
    """Images [N * steps, H, W, C] along a closed path through codes [N, *shape], N at least 2.

    Each code is followed by `steps - 1` between it and the next, the last by those to the first.
    """
    codes = np.asarray(codes)
    if len(codes) < 2 or steps < 1:
        raise UserError(
            f"a path of {steps} steps from code to code through {len(codes)} was asked for: give "
            "2 codes or more, and 1 step or more"
        )
    pairs = zip(codes, np.roll(codes, -1, axis=0), strict=True)
    path = [interpolate(start, stop, steps + 1)[:-1] for start, stop in pairs]
    return decode(np.concatenate(path))


def traverse(
    code: ArrayLike, values: ArrayLike, dimensions: Sequence[int] | None = None
) -> np.ndarray:
    """Codes [dimensions, values, *shape]: one with each dimension in turn set to each value.

    The other dimensions stay (Higgins et al. 2017, section 4). `dimensions` are those of the
    flattened code, by default all.
    """
    code, values = np.asarray(code, np.float32), np.asarray(values, np.float32)
    chosen = np.arange(code.size) if dimensions is None else np.asarray(dimensions, int)
    if values.ndim != 1 or chosen.ndim != 1 or not set(chosen.tolist()) <= set(range(code.size)):
        raise UserError(
            f"values of shape {values.shape} for dimensions {chosen.tolist()} of a code of "
            f"{code.size} numbers were given: give values [V], and dimensions from 0 to "
            f"{code.size - 1}"
        )
    codes = np.tile(code.ravel(), (len(chosen), len(values), 1))
    codes[np.arange(len(chosen)), :, chosen] = values
    return codes.reshape(len(chosen), len(values), *code.shape)


def class_means(codes: ArrayLike, labels: ArrayLike) -> np.ndarray:
    """The mean code of each class, [classes, *shape], of codes [N, *shape] with labels int [N].

    Classes are numbered from 0 to the greatest label; UserError where one of them has no code.
    """
    codes, labels = np.asarray(codes), np.asarray(labels)
    integers = labels.size > 0 and np.issubdtype(labels.dtype, np.integer) and labels.min() >= 0
    if not integers or labels.shape != codes.shape[:1]:
        raise UserError(
            f"codes {codes.shape} and labels {labels.dtype} {labels.shape} were given: give one "
            "integer from 0 on for each code"
        )
    empty = np.flatnonzero(np.bincount(labels) == 0)
    if empty.size:
        raise UserError(
            f"no code has the label {', '.join(map(str, empty))} of those up to {labels.max()}: "
            "give codes of each class, or number the classes without gaps"
        )
    means = [codes[labels == label].mean(axis=0, dtype=float) for label in range(labels.max() + 1)]
    return np.stack(means).astype(np.float32)


def add_difference(codes: ArrayLike, source_mean: ArrayLike, target_mean: ArrayLike) -> np.ndarray:
    """Codes [N, *shape] moved from one class to another: the difference of the means is added.

    Each mean is [*shape], or [N, *shape] for one of each code's own (Larsen et al. 2016, section
    5.2).
    """
    codes = np.asarray(codes, np.float32)
    difference = np.asarray(target_mean, np.float32) - np.asarray(source_mean, np.float32)
    if difference.shape not in (codes.shape, codes.shape[1:]):
        raise UserError(
            f"means that differ by {difference.shape} were given for codes {codes.shape}: give "
            "means of a code's shape, or one for each code"
        )
    return codes + difference


def nearest_neighbours(queries: ArrayLike, codes: ArrayLike, count: int) -> np.ndarray:
    """Indices [Q, count] of the codes [N, ...] nearest to each query [Q, ...], nearest first.

    By Euclidean distance, computed in float64 from differences; of equally near ones, the first.
    """
    from scipy.spatial.distance import cdist

    queries, codes = np.asarray(queries), np.asarray(codes)
    if queries.shape[1:] != codes.shape[1:] or not 1 <= count <= len(codes):
        raise UserError(
            f"{count} neighbours of queries {queries.shape} among {codes.shape} were asked for: "
            f"give queries of the codes' shape, and ask for 1 to {len(codes)}"
        )
    _check_finite(queries, codes)
    queries, codes = (array.reshape(len(array), -1) for array in (queries, codes))
    found = np.empty((len(queries), count), int)
    for start in range(0, len(queries), _QUERIES_AT_ONCE):
        distances = cdist(queries[start : start + _QUERIES_AT_ONCE], codes, "sqeuclidean")
        for row, query in enumerate(distances, start):
            reach = np.partition(query, count - 1)[count - 1]
            near = np.flatnonzero(query <= reach)
            found[row] = near[np.argsort(query[near], kind="stable")][:count]
    return found


def _checked_ends(start: ArrayLike, stop: ArrayLike, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """The ends of a path as float64, if they are finite and of one shape."""
    start, stop = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    if start.shape != stop.shape or not start.size or steps < 2:
        raise UserError(
            f"a path of {steps} codes between ones of shapes {start.shape} and {stop.shape} was "
            "asked for: give two of one shape, and ask for 2 codes or more"
        )
    _check_finite(start, stop)
    return start, stop


def _check_finite(*groups: np.ndarray) -> None:
    if not all(np.isfinite(codes).all() for codes in groups):
        raise UserError(
            "codes with NaN or infinity were given: if a network made them, its training diverged; "
            "try a smaller learning rate"
        )
