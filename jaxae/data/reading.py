"""How a user's own data is read: the options, and the parts that a reader gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np

from jaxae.data.dataset import Scaling
from jaxae.errors import UserError
from jaxae.files import shorten


@dataclass(frozen=True)
class Reading:
    """How data of your own is read.

    --help shows the comments.
    """

    # side of a picture in pixels, or height and width (default: the pictures' own, if all agree)
    size: tuple[int, ...] | None = None
    # how pictures of other proportions get --size: crop the middle, pad with black, or stretch
    fit: Literal["crop", "pad", "stretch"] | None = None
    # 1 for gray, 3 for color (default: 1 if all pictures are stored as gray)
    channels: Literal[1, 3] | None = None
    background: Literal["white", "black"] = "white"  # color that transparent pixels are drawn over
    skip_unreadable: bool = False  # leave out files that cannot be read, and list them
    # how numbers in arrays and tables are scaled: by the range of the training split to [0, 1]
    # (minmax; test images are clipped to it), by its mean and deviation to 0 and 1 (standardize),
    # or not at all (none); images as a whole, vectors column by column (default: standardize
    # vectors, expect images to be uint8 or in [0, 1])
    scale: Literal["minmax", "standardize", "none"] | None = None
    channels_first: bool = False  # images in arrays are [N, C, H, W], not [N, H, W, C]
    # column of a table, or feature of a TFDS or Hugging Face dataset, that holds the classes
    # (default: none of a table, the only such feature of a dataset)
    label: str | None = None

    def check_only(self, allowed: Collection[str], what: str) -> None:
        """Raises `UserError` if an option that is not among those allowed differs from its default.

        `what` names the kind of data in the error.
        """
        given = [
            field.name
            for field in fields(self)
            if field.name not in allowed and getattr(self, field.name) != field.default
        ]
        if given:
            raise UserError(
                f"{_flags(given)} {'does' if len(given) == 1 else 'do'} not apply to {what}: leave "
                f"{'it' if len(given) == 1 else 'them'} out"
                + (f", or give only {_flags(allowed)}" if allowed else "")
            )


def list_names(names: Sequence[str]) -> str:
    """Returns a text of the first ten names, quoted and shortened, and of how many more."""
    more = len(names) - 10
    return ", ".join(map(shorten, names[:10])) + (f" and {more} more" if more > 0 else "")


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)


@dataclass(frozen=True)
class Piece:
    """Some examples of a split."""

    split: str
    positions: np.ndarray  # int [n], of these examples in their split
    examples: np.ndarray  # [n, *shape], of the dataset's dtype


@dataclass(frozen=True)
class Opened:
    """Data whose files are listed and checked, and whose examples are not read yet.

    Attributes:
      shape: of an example, (H, W, C) or (D,).
      dtype: uint8 or float32.
      counts: the number of examples in "train" and in "test".
      labels: int32 [N] for each split, or None.
      class_names: empty without labels.
      read: yields all examples, before scaling. Positions that never come are left out of the
        dataset. Raises `UserError` at the latest at the end if examples cannot be read.
      scaling: makes the scaling of the examples, from those of the training split, which are
        given as one array on disk; None leaves them as they are.
      clipped: whether scaled examples are clipped to [0, 1], because those of the test split may
        reach beyond the range of the training split.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    counts: Mapping[str, int]
    labels: Mapping[str, np.ndarray] | None
    class_names: tuple[str, ...]
    read: Callable[[], Iterator[Piece]]
    scaling: Callable[[np.ndarray], Scaling] | None = None
    clipped: bool = False


@dataclass(frozen=True)
class Reader:
    """A kind of data, such as a folder of pictures.

    `files` lists the files that are read, whose names, sizes and times tell whether the data has
    changed. `open` checks and describes them.
    """

    files: Callable[[Path], list[Path]]
    open: Callable[[Path, Reading], Opened]
