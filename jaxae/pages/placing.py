"""Places labels on a plane so that none covers another."""

import numpy as np
from jaxtyping import Bool, Float

_ROUNDS = 200
_FARTHEST = 48.0  # from its own place; a label farther away would seem to name other points


def place_labels(
    centers: Float[np.ndarray, "labels 2"],
    sizes: Float[np.ndarray, "labels 2"],
    extent: tuple[float, float],
) -> tuple[Float[np.ndarray, "labels 2"], Bool[np.ndarray, " labels"]]:
    """Returns new centers of labels, pushed apart, and which labels are to be shown.

    Labels are boxes of a width and a height, and stay within (0, 0) and `extent`. A label that
    still overlaps an earlier one that is shown, or that was pushed too far, is not shown.
    """
    low, high = sizes / 2, np.maximum(sizes / 2, np.array([extent]) - sizes / 2)
    places = np.clip(centers, low, high)
    for _ in range(_ROUNDS):
        moved = False
        for first in range(len(places)):
            for second in range(first):
                push = _push(places[first] - places[second], (sizes[first] + sizes[second]) / 2)
                if push is not None:
                    places[first] += push
                    places[second] -= push
                    moved = True
        places = np.clip(places, low, high)
        if not moved:
            break
    near = np.linalg.norm(places - centers, axis=1) <= _FARTHEST
    shown = np.zeros(len(places), bool)
    for index in np.flatnonzero(near):
        others = np.flatnonzero(shown)
        shown[index] = not any(
            overlaps(places[index], sizes[index], places[other], sizes[other]) for other in others
        )
    return places, shown


def overlaps(
    center: Float[np.ndarray, "2"],
    size: Float[np.ndarray, "2"],
    other_center: Float[np.ndarray, "2"],
    other_size: Float[np.ndarray, "2"],
) -> bool:
    """Returns whether two boxes have more than an edge in common."""
    return bool((np.abs(center - other_center) < (size + other_size) / 2 - 1e-6).all())


def _push(
    offset: Float[np.ndarray, "2"], reach: Float[np.ndarray, "2"]
) -> Float[np.ndarray, "2"] | None:
    """Returns how far to move each of two boxes so that they only touch; None if they do not."""
    missing = reach - np.abs(offset)
    if (missing <= 1e-9).any():
        return None
    axis = int(np.argmin(missing))
    push = np.zeros(2)
    push[axis] = missing[axis] / 2 * (1 if offset[axis] >= 0 else -1)
    return push
