"""Small or odd datasets: training works if it can, and draws the pictures that it can."""

import json
import re
from pathlib import Path

import numpy as np
import optax
import pytest

from jaxae import cli, data, devices, models, plots, runs
from jaxae.commands import latents, train
from jaxae.errors import UserError
from jaxae.runs import RunOptions

pytestmark = pytest.mark.slow


def use_set(
    patch: pytest.MonkeyPatch, train_labels: list[int], test_labels: list[int], channels: int = 1
) -> None:
    """Makes every name load a dataset of eight classes, whose images have these labels."""
    generator = np.random.default_rng(0)
    splits = (
        data.Split(
            generator.integers(0, 256, (len(labels), 8, 8, channels), np.uint8),
            np.array(labels, np.int32),
        )
        for labels in (train_labels, test_labels)
    )
    odd = data.assemble("odd", *splits, class_names=tuple("abcdefgh"))
    patch.setattr(data, "load", lambda name, **places: odd)


def run_and_draw(line: str, folder: Path) -> tuple[set[str], set[str]]:
    """Trains with a command line; returns the names of the run's pictures and of its codes'."""
    full = f"{line} --dataset odd --hidden 8 --latent 4 --epochs 1 --out {folder / 'run'}"
    train.main(cli.parse(train.Options, full.split()))
    run = folder / "run"
    assert np.isfinite(json.loads((run / "summary.json").read_text())["test_loss"])
    latents.main(latents.Options(run, out=folder / "codes"))
    first, second = (
        {path.name for path in place.iterdir()} for place in (run / "pictures", folder / "codes")
    )
    return first, second


@pytest.mark.parametrize(("memory", "remedy"), [(10_000, "at most 4"), (1_000, "a smaller netw")])
def test_replicas_that_exceed_the_memory_are_refused_with_a_remedy(
    memory: int, remedy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = models.Autoencoder(models.DenseEncoder((2,), 2), models.DenseDecoder((2,), (4, 4, 1)))
    options = RunOptions(epochs=1, batch_size=4, learning_rate=1e-3, replicas=100)
    monkeypatch.setattr(devices, "memory", lambda: memory)
    with pytest.raises(UserError, match=f"--replicas 100: .* give {remedy}"):
        runs.initial_state(options, model, optax.adam(1e-3), (4, 4, 1))


def left_out(said: str) -> dict[str, str]:
    """Returns the reason for each missing picture, from the text on stderr."""
    return dict(re.findall(r"^jaxae: no picture (\w+): (.*)$", said, flags=re.MULTILINE))


def test_one_image_is_enough_to_train_and_to_draw_some_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use_set(monkeypatch, [3], [3])
    of_run, of_codes = run_and_draw("--objective vq --batch-size 1", tmp_path)
    assert of_run == {"epoch_001.png", "samples.png", "curves.png"}
    assert of_codes == {"samples_resample.png", "arithmetic.png", "traversal.png", "neighbors.png"}
    assert left_out(capsys.readouterr().err).keys() == {"interpolations", "morph"}


def test_channels_that_are_no_color_and_labels_without_training_images_cost_one_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Eight codes are also too few for a mixture and a flow."""
    use_set(monkeypatch, [0, 1] * 4, [0, 7, 1], channels=4)
    of_run, of_codes = run_and_draw("--objective sparse-l1 --batch-size 8", tmp_path)
    assert {"epoch_001.png", "curves.png"} <= of_run
    assert {"samples_normal.png", "interpolations.png", "morph.gif", "traversal.png"} <= of_codes
    reasons = left_out(capsys.readouterr().err)
    assert reasons.keys() == {"samples", "samples_mixture", "samples_flow", "arithmetic"}
    assert "class 7 of a test image is not among 8 training images" in reasons["arithmetic"]


def test_a_picture_that_fails_costs_no_run_and_a_full_disk_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(error: Exception) -> None:
        def raise_error(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr(plots, "labeled_reconstructions", raise_error)

    use_set(monkeypatch, [0] * 8, [0] * 8)
    line = "--dataset odd --hidden 8 --latent 4 --epochs 1 --batch-size 8 --out"
    fail(ZeroDivisionError("two\nlines"))
    train.main(cli.parse(train.Options, [*line.split(), str(tmp_path / "run")]))
    assert (tmp_path / "run" / "summary.json").exists()
    assert left_out(capsys.readouterr().err) == {"epoch_001": "ZeroDivisionError: two lines"}
    fail(OSError(28, "No space left on device"))
    with pytest.raises(ValueError, match="No space left"):
        train.main(cli.parse(train.Options, [*line.split(), str(tmp_path / "full")]))
