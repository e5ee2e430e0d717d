"""Labels of a user's own data: any whole numbers or names, turned into indices of classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from jaxae.errors import UserError

_MOST_CLASSES = 2**16


def index_classes(
    parts: Mapping[str, Iterable[np.ndarray]], what: str
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the labels of each split, int32 [N], and the names of the classes that they index.

    Whole numbers, also as floats or as text, are sorted as numbers; other names alphabetically.

    Args:
      parts: the values of each split in chunks [n], of a dtype for numbers or text.
      what: names the labels in errors.

    Raises:
      UserError: a label is missing, or the labels are not classes.
    """
    codes: dict[str | float, int] = {}  # of each value, in the order in which values first come
    coded = {
        split: np.concatenate([np.zeros(0, np.int32), *(_encode(c, codes, what) for c in chunks)])
        for split, chunks in parts.items()
    }
    classes = _classes(list(codes), what)
    names = sorted(set(classes))
    rank = {name: index for index, name in enumerate(names)}
    indices = np.array([rank[name] for name in classes], np.int32)
    return {split: indices[code] for split, code in coded.items()}, tuple(map(str, names))


def _encode(chunk: np.ndarray, codes: dict[str | float, int], what: str) -> np.ndarray:
    """Returns the codes of values, int32 [n]; adds those of new values to `codes`."""
    distinct, inverse = np.unique(chunk, return_inverse=True)
    found = [codes.setdefault(_text(value), len(codes)) for value in distinct.tolist()]
    if len(codes) > _MOST_CLASSES:
        raise UserError(
            f"{what} hold more than {_MOST_CLASSES} different values: labels name classes; give "
            "others, or none"
        )
    return np.array(found, np.int32)[inverse.reshape(-1)]


def _text(value: str | bytes | float) -> str | float:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _classes(values: list[str | float], what: str) -> list[int] | list[bool] | list[str]:
    """Returns the class of each value, of one type that can be sorted."""
    if any(value == "" or value != value for value in values):
        raise UserError(f"{what} are missing for some examples: label each example, or none")
    if all(isinstance(value, bool) for value in values):
        return [bool(value) for value in values]
    numbers = [_number(value) for value in values]
    if None in numbers:
        return [str(value) for value in values]
    whole = [number for number in numbers if isinstance(number, int)]
    if len(whole) < len(numbers):
        odd = next(number for number in numbers if not isinstance(number, int))
        raise UserError(
            f"{what} hold {odd}, which is no whole number: labels name classes; give others, or "
            "none"
        )
    return whole


def _number(value: str | float) -> int | float | None:
    """Returns a number as an int if it is whole, else as a float; None for other text."""
    try:
        if not isinstance(value, float):
            return int(value)  # exact, however large
    except ValueError:
        pass
    try:
        number = float(value)
    except ValueError:
        return None
    return int(number) if number.is_integer() else number
