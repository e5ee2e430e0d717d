"""A source of examples without a disk, of which some cannot be read."""

from dataclasses import dataclass

import numpy as np

from jaxae.errors import UserError


@dataclass(frozen=True)
class Numbers:
    """A source whose example N is the vector [N], with the label -N; those in `bad` are errors."""

    count: int
    bad: tuple[int, ...] = ()
    shape: tuple[int, ...] = (1,)
    dtype: np.dtype = np.dtype(np.float32)
    labeled: bool = True

    def __len__(self) -> int:
        return self.count

    def prefetch(self, numbers: np.ndarray) -> None:
        """Does nothing."""

    def read(self, numbers: np.ndarray, images: np.ndarray, labels: np.ndarray) -> None:
        """Reads examples, as a `Source` does."""
        for number in self.bad:
            if number in numbers:
                raise UserError(f"example {number} is bad")
        images[:, 0], labels[:] = numbers, -numbers
