"""Runs on a user's own data: their config names no path, and the data is found again or refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxae import cli, data, files
from jaxae.commands import latents, train
from jaxae.errors import UserError
from jaxae.evaluate import command as evaluation
from jaxae.runs import environment, load, load_dataset, read_config, read_records

pytestmark = pytest.mark.slow


@pytest.fixture
def pets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Writes a folder of 120 pictures in two classes; the user's cache is beside it."""
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    generator = np.random.default_rng(0)
    for index in range(120):
        folder = tmp_path / "place/pets" / ("cats", "dogs")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = generator.integers(0, 256, (12, 16, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "place/pets"


def train_with(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trains with a command line, which the run's config also keeps."""
    arguments = line.split()
    monkeypatch.setattr("sys.argv", ["jaxae", "train", *arguments])
    train.main(cli.parse(train.Options, arguments))


def start(pets: Path, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Path:
    """Trains a small run of two epochs, and returns its folder."""
    line = f"--dataset {pets} --size 8 --fit crop --hidden 8 --latent 4 --batch-size 16 --epochs 2"
    train_with(f"{line} --out run {more}", monkeypatch)
    return Path("run")


def test_no_file_of_a_run_holds_the_path_of_its_data(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(pets, monkeypatch)
    train_with("--resume run --epochs 3", monkeypatch)
    train_with(f"--resume run --epochs 4 --dataset={pets}", monkeypatch)
    evaluation.main(evaluation.Options(run, samples=2))
    latents.main(latents.Options(run, dataset=str(pets), priors=("normal",), fit_images=10))
    hidden = str(pets.parent).encode()
    for file in run.rglob("*"):
        assert file.is_dir() or hidden not in file.read_bytes(), file
    config = read_config(run)
    assert (config.dataset.name, config.dataset.own, config.dataset.classes) == ("pets", True, 2)
    assert "--dataset pets --size 8" in config.command
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["dataset"] == "pets"


def test_data_that_moved_is_asked_for_and_then_resumed(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = start(pets, monkeypatch)
    shutil.copytree(run, "uninterrupted")
    train_with("--resume uninterrupted --epochs 3", monkeypatch)
    moved = pets.parent / "animals"
    pets.rename(moved)
    message = "trained on data of your own, pets, which is not found here: give .* --dataset"
    for read in (
        lambda: cli.parse(train.Options, ["--resume", "run"]),
        lambda: evaluation.main(evaluation.Options(run)),
        lambda: latents.main(latents.Options(run)),
    ):
        with pytest.raises(UserError, match=message):
            read()
    train_with(f"--resume run --epochs 3 --dataset {moved}", monkeypatch)
    here, there = (
        json.loads((Path(name) / "summary.json").read_text()) for name in ("run", "uninterrupted")
    )
    assert here["test_loss"] == pytest.approx(there["test_loss"])
    assert here["dataset"] == "pets"


CHANGES = {
    "a picture less": "training images were 105 and are 104",
    "other pixels": "as many images, of which some differ",
    "a class more": "classes were 2 and are 3",
}


@pytest.mark.parametrize("change", CHANGES)
def test_changed_data_is_refused_with_what_changed(
    pets: Path, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    run = start(pets, monkeypatch)
    changed = sorted((pets / "cats").iterdir())[0]
    if change == "a picture less":
        changed.unlink()
    elif change == "other pixels":
        Image.new("RGB", (12, 12), "white").save(changed)
    else:
        (pets / "birds").mkdir()
        changed.rename(pets / "birds/0.png")
    before = sorted(path.name for path in run.rglob("*"))
    for read in (
        lambda: train_with("--resume run --epochs 3", monkeypatch),
        lambda: evaluation.main(evaluation.Options(run)),
    ):
        with pytest.raises(UserError, match=CHANGES[change]):
            read()
    assert sorted(path.name for path in run.rglob("*")) == before


def test_options_of_reading_are_kept_and_cannot_change(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(pets, monkeypatch)
    assert cli.parse(train.Options, ["--resume", "run"]).run.reading.size == (8,)
    message = "^--size 16 20: the run to resume was started with 8;"
    with pytest.raises(UserError, match=message):
        cli.parse(train.Options, ["--resume", "run", "--size", "16", "20"])


def test_streamed_runs_equal_those_in_memory(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start(pets, monkeypatch)
    Path("run").rename("memory")
    start(pets, monkeypatch, "--stream")
    losses = [
        [record["test_loss"] for record in read_records(Path(run))] for run in ("memory", "run")
    ]
    assert losses[0] == pytest.approx(losses[1])


def test_a_loaded_run_warns_of_other_data_of_the_same_name(
    pets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "--hidden 4 --latent 2 --epochs 1 --batch-size 20"
    train_with(f"--dataset {pets} {line} --out run", monkeypatch)
    train_with("--load run --out loaded", monkeypatch)
    assert "warning: run was trained on" not in capsys.readouterr().err
    next(pets.rglob("*.png")).unlink()
    train_with("--load run --out again", monkeypatch)
    assert "warning: run was trained on pets with other content" in capsys.readouterr().err


def test_a_path_for_a_run_of_another_kind_is_refused(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_with("--dataset mnist_mini --hidden 4 --latent 2 --epochs 1 --out run", monkeypatch)
    with pytest.raises(UserError, match="was trained on mnist_mini, which is found by its name"):
        load_dataset(
            Path("run"), read_config(Path("run")), path=str(pets), data_dir=None, sources=None
        )


@pytest.mark.parametrize("place", ["/home/me/pets", "photos/pets", "~/pets/", "hf:/home/me/pets"])
def test_the_recorded_command_names_data_without_its_place(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pets = data.from_arrays(np.zeros((2, 4, 4), np.uint8), name="pets")
    for words, shown in {
        ("--dataset", place, "--epochs", "3"): "--dataset pets --epochs 3",
        (f"--dataset={place}",): "--dataset=pets",
        ("--dataset",): "--dataset",
    }.items():
        monkeypatch.setattr("sys.argv", ["jaxae", "train", *words])
        assert environment.describe_environment(pets)["command"] == f"jaxae train {shown}"


def test_the_recorded_command_keeps_a_name_of_tfds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["jaxae", "train", "--dataset", "emnist/digits"])
    command = environment.describe_environment(data.load("mnist_mini"))["command"]
    assert command == "jaxae train --dataset emnist/digits"


def test_images_of_any_range_train_under_an_identity_mean(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = np.random.default_rng(0)
    np.save("bytes.npy", generator.uniform(0, 255, (60, 4, 4)).astype(np.float32))
    line = "--dataset bytes.npy --scale none --objective reconstruction --hidden 8 --latent 2"
    line += " --likelihood gaussian_identity --batch-size 16 --epochs 1 --out run"
    train_with(line, monkeypatch)
    reconstructed = load(Path("run")).reconstruct(np.load("bytes.npy")[:2, ..., None])
    assert reconstructed.shape == (2, 4, 4, 1)
