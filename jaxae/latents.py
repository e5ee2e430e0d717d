"""Functions of codes: interpolation, traversal, arithmetic with class means, nearest neighbors.

A code is a vector [latent] or a feature map [height, width, channels], written *shape here.
Returned codes are float32. A `Decode` function, such as `Trained.decode` of `jaxae.network`, turns
codes [N, *shape] into images [N, H, W, C]. Arrays that do not fit together raise `UserError`.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float32, Int, Real

from jaxae.errors import UserError

Decode = Callable[[np.ndarray], np.ndarray]
Interpolate = Callable[[ArrayLike, ArrayLike, int], np.ndarray]

_QUERIES_AT_ONCE = 128  # their distances to 60,000 codes take 61 MB


def interpolate_linearly(
    start: Real[ArrayLike, "*shape"], stop: Real[ArrayLike, "*shape"], steps: int
) -> Float32[np.ndarray, "{steps} *shape"]:
    """Returns codes at equal steps along the line from one code to another, ends included."""
    start, stop = _checked_ends(start, stop, steps)
    return np.linspace(start, stop, steps, dtype=np.float32)


def interpolate_spherically(
    start: Real[ArrayLike, "*shape"], stop: Real[ArrayLike, "*shape"], steps: int
) -> Float32[np.ndarray, "{steps} *shape"]:
    """Returns codes between two, turning by equal angles while the norm changes linearly.

    Shoemake 1985, section 3.3, for directions; White 2016 for latent spaces. The path between
    opposite codes is a half circle in a fixed but arbitrary plane. A code that is zero, or a single
    number, has no direction to turn: then the path is the straight line.
    """
    start, stop = _checked_ends(start, stop, steps)
    norms = np.linalg.norm(start), np.linalg.norm(stop)
    if start.size == 1 or min(norms) == 0:
        return interpolate_linearly(start, stop, steps)
    first, last = start.ravel() / norms[0], stop.ravel() / norms[1]
    # The half-angle formula stays accurate where the arc cosine of a dot product does not.
    angle = 2 * np.arctan2(np.linalg.norm(last - first), np.linalg.norm(last + first))
    across = _direction_across(first, last)
    angles = np.linspace(0, angle, steps)[:, None]
    directions = np.cos(angles) * first + np.sin(angles) * across
    codes = np.linspace(norms[0], norms[1], steps)[:, None] * directions
    return codes.reshape(steps, *start.shape).astype(np.float32)


def _direction_across(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Returns a unit vector orthogonal to `first`, in its plane with `last` if they span one."""
    across = last - (last @ first) * first
    if np.linalg.norm(across) < 1e-6:  # below the precision of float32 codes
        axis = np.zeros_like(first)
        axis[np.abs(first).argmin()] = 1
        across = axis - (axis @ first) * first
    return across / np.linalg.norm(across)


def morph(
    decode: Decode,
    codes: Real[ArrayLike, "N *shape"],
    steps: int,
    interpolate: Interpolate = interpolate_spherically,
) -> Real[np.ndarray, "frames *image"]:
    """Decodes a closed path through two or more codes to N * steps images.

    Each code is followed by `steps - 1` codes between it and the next, and the last code leads back
    to the first.
    """
    codes = np.asarray(codes)
    if len(codes) < 2 or steps < 1:
        raise UserError(
            f"a path through {len(codes)} codes with {steps} steps between two was asked for: give "
            "2 codes or more, and 1 step or more"
        )
    pairs = zip(codes, np.roll(codes, -1, axis=0), strict=True)
    path = [interpolate(start, stop, steps + 1)[:-1] for start, stop in pairs]
    return decode(np.concatenate(path))


def traverse(
    code: Real[ArrayLike, "*shape"],
    values: Real[ArrayLike, " values"] | Sequence[float],
    dimensions: Sequence[int] | None = None,
) -> Float32[np.ndarray, "dimensions values *shape"]:
    """Returns copies of a code in which each dimension in turn is set to each value.

    The other dimensions keep their values (Higgins et al. 2017, section 4). `dimensions` index the
    flattened code; the default is all of them.
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


def class_means(
    codes: Real[ArrayLike, "N *shape"], labels: Int[ArrayLike, " N"] | Sequence[int]
) -> Float32[np.ndarray, "classes *shape"]:
    """Returns the mean code of each class.

    Classes are numbered from 0 to the largest label; raises `UserError` if one of them has no code.
    """
    codes, labels = np.asarray(codes), np.asarray(labels)
    integers = labels.size > 0 and np.issubdtype(labels.dtype, np.integer) and labels.min() >= 0
    if not integers or labels.shape != codes.shape[:1]:
        raise UserError(
            f"codes {codes.shape} and labels {labels.dtype} {labels.shape} were given: give one "
            "integer for each code, 0 or greater"
        )
    empty = np.flatnonzero(np.bincount(labels) == 0)
    if empty.size:
        raise UserError(
            f"labels up to {labels.max()} were given, but no code has label "
            f"{', '.join(map(str, empty))}: give codes of each class, or number the classes "
            "without gaps"
        )
    means = [codes[labels == label].mean(axis=0, dtype=float) for label in range(labels.max() + 1)]
    return np.stack(means).astype(np.float32)


def add_difference(
    codes: Real[ArrayLike, "N *shape"],
    source_mean: Real[ArrayLike, "..."],
    target_mean: Real[ArrayLike, "..."],
) -> Float32[np.ndarray, "N *shape"]:
    """Moves codes from one class to another by adding the difference of the class means.

    A mean is [*shape], or [N, *shape] to give each code its own (Larsen et al. 2016, section 5.2).
    """
    codes = np.asarray(codes, np.float32)
    difference = np.asarray(target_mean, np.float32) - np.asarray(source_mean, np.float32)
    if difference.shape not in (codes.shape, codes.shape[1:]):
        raise UserError(
            f"means that differ by {difference.shape} were given for codes {codes.shape}: give "
            "means of a code's shape, or one for each code"
        )
    return codes + difference


def nearest_neighbors(
    queries: Real[ArrayLike, "queries *shape"], codes: Real[ArrayLike, "N *shape"], count: int
) -> Int[np.ndarray, "queries {count}"]:
    """Returns the indices of the codes nearest to each query, nearest first.

    Euclidean distances are computed in float64 from differences; ties go to the lower index.
    """
    from scipy.spatial.distance import cdist

    queries, codes = np.asarray(queries), np.asarray(codes)
    if queries.shape[1:] != codes.shape[1:] or not 1 <= count <= len(codes):
        raise UserError(
            f"{count} neighbors of queries {queries.shape} among codes {codes.shape} were asked "
            f"for: give queries of the codes' shape, and ask for 1 to {len(codes)}"
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
    """Returns the ends of a path as float64; they must be finite and of one shape."""
    start, stop = np.asarray(start, np.float64), np.asarray(stop, np.float64)
    if start.shape != stop.shape or not start.size or steps < 2:
        raise UserError(
            f"a path of {steps} codes between codes of shapes {start.shape} and {stop.shape} was "
            "asked for: give two codes of one shape, and ask for a path of 2 codes or more"
        )
    _check_finite(start, stop)
    return start, stop


def _check_finite(*groups: np.ndarray) -> None:
    if not all(np.isfinite(codes).all() for codes in groups):
        raise UserError(
            "codes with NaN or infinity were given: if a network made them, its training diverged; "
            "try a smaller learning rate"
        )
