"""A meter of the images that a run trains on, and of the seconds that they take."""

from dataclasses import dataclass, field


@dataclass
class Meter:
    """Counts the images and seconds of an epoch, or of the part that a resumed run trains.

    Attributes:
      images: the number of images trained on since the first epoch, over all replicas.
    """

    images: int
    _seconds: float = field(default=0.0, init=False)
    _start: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._start = self.images

    def count(self, images: int, seconds: float) -> None:
        """Adds a chunk, given the total number of images after it and the seconds it took."""
        self.images = images
        self._seconds += seconds

    def finish_epoch(self) -> dict[str, float]:
        """Returns seconds and images per second since the last finished epoch, and resets them."""
        rate = (self.images - self._start) / self._seconds
        measured = {"seconds": self._seconds, "images_per_second": rate}
        self._seconds, self._start = 0.0, self.images
        return measured
