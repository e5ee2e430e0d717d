"""Animated GIFs: the frames, their times, and nothing half-written."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from jaxae import plots
from jaxae.errors import UserError

FRAMES = np.random.default_rng(0).integers(256, size=(4, 20, 30, 1)).astype(np.uint8)


def read(path: Path, mode: str) -> np.ndarray:
    with Image.open(path) as image:
        return np.stack(
            [np.asarray(frame.convert(mode)) for frame in ImageSequence.Iterator(image)]
        )


@pytest.mark.parametrize("floats", [False, True])
def test_gray_frames_are_exact_and_enlarged_by_whole_pixels(tmp_path: Path, floats: bool) -> None:
    path = tmp_path / "new" / "strip.gif"
    frames = FRAMES / 255 if floats else FRAMES
    plots.save_gif(frames, path, seconds_per_frame=0.25, caption="four frames, größer")
    expected = FRAMES[..., 0].repeat(4, axis=1).repeat(4, axis=2)
    np.testing.assert_array_equal(read(path, "L"), expected)
    with Image.open(path) as image:
        assert image.info["loop"] == 0
        assert image.info["comment"].decode() == "four frames, größer"
        durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert durations == [250] * 4


def test_colors_are_kept_and_large_frames_are_not_enlarged(tmp_path: Path) -> None:
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    frames = np.broadcast_to(colors[:, None, None], (3, 150, 100, 3))
    plots.save_gif(frames, tmp_path / "a.gif", seconds_per_frame=0.02, caption="")
    np.testing.assert_array_equal(read(tmp_path / "a.gif", "RGB"), frames)


def test_a_writer_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.gif"
    path.write_text("before")

    def fail(image: Image.Image, file: Path, **options: object) -> None:
        file.write_bytes(b"GIF8")
        raise OSError("no space")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="no space"):
        plots.save_gif(FRAMES, path, seconds_per_frame=0.1, caption="")
    assert [file.name for file in tmp_path.iterdir()] == ["a.gif"]
    assert path.read_text() == "before"


@pytest.mark.parametrize("seconds", [0.0, 0.01, -1.0, 700.0, float("nan"), float("inf")])
def test_times_that_a_gif_cannot_show_are_refused(seconds: float, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="seconds a frame"):
        plots.save_gif(FRAMES, tmp_path / "a.gif", seconds_per_frame=seconds, caption="")


@pytest.mark.parametrize("frames", [FRAMES[:0], FRAMES[..., 0], np.full((2, 3, 3, 1), np.nan), 3.0])
def test_what_is_not_a_sequence_of_images_is_refused(frames: np.ndarray, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        plots.save_gif(frames, tmp_path / "a.gif", seconds_per_frame=0.1, caption="")
    assert not list(tmp_path.iterdir())
