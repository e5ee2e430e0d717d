"""Splits data that comes without test examples."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from jaxae.data.reading import Piece
from jaxae.errors import UserError

_SHARE = 10  # one example in so many is held out


def hold_out(keys: Sequence[str]) -> np.ndarray:
    """Returns which examples to hold out for testing, bool [N]: about a tenth of them.

    Each example is chosen by a hash of its own key, so it stays on its side when others are added
    or removed. Of two or more examples at least one is on each side.
    """
    hashes = np.array([_hash(key) for key in keys], np.uint64)
    held = hashes % _SHARE == 0
    if len(held) > 1 and held.all():
        held[np.argmax(hashes)] = False
    elif len(held) > 1 and not held.any():
        held[np.argmin(hashes)] = True
    return held


def _hash(key: str) -> int:
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big")


@dataclass(frozen=True)
class Division:
    """Divides N examples that come as one into a training and a test split, in their order.

    `held` says which are held out for testing, bool [N].
    """

    held: np.ndarray

    @property
    def counts(self) -> dict[str, int]:
        """The number of examples in each split."""
        return {split: len(values) for split, values in self.divide(self.held).items()}

    def divide(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the values [N, ...] of the examples of each split."""
        return {"train": values[~self.held], "test": values[self.held]}

    @cached_property
    def _positions(self) -> np.ndarray:
        """The position of each example in its split, int [N]."""
        return np.where(self.held, np.cumsum(self.held), np.cumsum(~self.held)) - 1

    def pieces(self, start: int, examples: np.ndarray) -> Iterator[Piece]:
        """Yields consecutive examples, the first of which has the index `start`, by split."""
        part = slice(start, start + len(examples))
        for split, chosen in (("train", ~self.held[part]), ("test", self.held[part])):
            if chosen.any():
                yield Piece(split, self._positions[part][chosen], examples[chosen])


def divide_by_index(count: int, what: str) -> Division:
    """Divides examples by a hash of their index; raises `UserError` unless there are two or more.

    `what` names the data in the error.
    """
    if count < 2:
        raise UserError(
            f"{what} holds {count} example{'s' * (count != 1)}: give 2 or more, one of which is "
            "held out for testing"
        )
    return Division(hold_out([str(index) for index in range(count)]))
