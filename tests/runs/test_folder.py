"""A run's folder: where it can be, what remains after failures, and its pictures."""

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import runs
from jaxae.errors import UserError
from jaxae.runs import Epoch, RunOptions, disk
from support import small_run
from support.damage import CONFIG
from support.small_run import Options, go

compiled_once, small_data = small_run.compiled_once, small_run.small_data


def test_a_users_error_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"--batch-size 101: .* 100 training"):
        go(batch_size=101)
    assert list(tmp_path.glob("results/*/*")) == []
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match=r"--batch-size 101"):
        go(batch_size=101, out=tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []  # because the user created it


def test_an_interruption_before_training_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(epochs=1, batch_size=1, learning_rate=1.0, out=tmp_path / "run")
    with (
        pytest.raises(KeyboardInterrupt),
        runs.start("small", Options(options), dataset="mnist"),
    ):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    assert "--resume" not in capsys.readouterr().err


@pytest.mark.parametrize("program", ["python experiments/other.py", "jaxae train"])
@pytest.mark.parametrize("way", ["resume", "load"])
def test_the_run_of_another_experiment_is_refused_by_naming_its_program(
    way: str, program: str, tmp_path: Path
) -> None:
    config = {**CONFIG, "experiment": "other", "command": f"{program} --latent 3"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    options: dict[str, Any] = {way: tmp_path}
    with pytest.raises(UserError, match=f"of other, and this is small: give it to {program}, "):
        go(**options)


@pytest.mark.slow
def test_an_interrupted_run_names_the_command_that_resumes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(epoch: Epoch) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/jaxae", "train", "--latent", "3"])
    with pytest.raises(KeyboardInterrupt):
        go(out=tmp_path / "run", on_epoch=interrupt)
    said = capsys.readouterr().err.splitlines()
    assert said[-1].split() == ["jaxae", "train", "--resume", (tmp_path / "run").as_posix()]
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["command"] == "jaxae train --latent 3"


def test_a_folder_that_holds_something_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    with pytest.raises(UserError, match="holds files already"):
        go(out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


@pytest.mark.parametrize("name", ["checkpoints", "pictures"])
def test_a_link_into_another_run_is_not_followed(name: str, tmp_path: Path) -> None:
    (tmp_path / "other" / "7").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / name).symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="holds files already"):
        go(out=tmp_path / "run")
    assert (tmp_path / "other" / "7").exists()


def test_a_folder_whose_name_is_too_long_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be made .*File name too long"):
        go(out=tmp_path / ("a" * 300))


@pytest.mark.slow
def test_a_resumed_run_that_is_refused_stays_finished(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    go(out=folder, epochs=1)
    with (folder / "metrics.jsonl").open("ab") as file:
        file.write(b"garbage\n")
    names = ("config.json", "summary.json")
    before = [(folder / name).read_bytes() for name in names]
    with pytest.raises(UserError, match="line 2 of"):
        go(resume=folder, epochs=2)
    assert [(folder / name).read_bytes() for name in names] == before


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UserError, match="cannot be made"):
        go(out=tmp_path / "file")


def test_runs_started_in_the_same_second_have_folders_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(disk.time, "strftime", lambda format: "now")
    folders = [disk.new_folder("small", None) for _ in range(3)]
    assert [folder.name for folder in folders] == ["now", "now-2", "now-3"]


@pytest.mark.parametrize(
    ("name", "strip", "bare"),
    [("mnist", True, False), ("mnist", False, True), ("mnist_mini", False, False)],
)
def test_pictures_carry_experiment_and_dataset(
    name: str, strip: bool, bare: bool, tmp_path: Path
) -> None:
    picture = np.arange(20 * 200, dtype=np.uint8).reshape(20, 200)
    options = RunOptions(epochs=1, batch_size=1, learning_rate=1.0, dataset=name, out=tmp_path)
    with runs.start("small", Options(options), dataset="mnist") as run:
        runs.save_picture(run, "it", picture, "a ramp", strip=strip)
    with Image.open(tmp_path / "pictures" / "it.png") as image:
        assert image.info["Description"] == f"small, {name}: a ramp"
        assert image.size[0] == 200
        assert (image.size[1] == 20) == bare
        np.testing.assert_array_equal(np.asarray(image)[:20], picture)


@pytest.mark.slow
def test_tensorboard_holds_the_numbers_and_the_pictures(tmp_path: Path) -> None:
    epochs = go(out=tmp_path / "run", epochs=2, tensorboard=True)
    values = {}
    images = set()
    for event in read_events(tmp_path / "run" / "tensorboard"):
        for value in event.summary.value:
            if value.HasField("image"):
                images.add(value.tag)
            else:
                values[value.tag, event.step] = value.simple_value
    for epoch in epochs:
        for name in ("train_loss", "test_loss", "test_mse", "seconds"):
            assert values[name, epoch.number] == pytest.approx(epoch.record[name])
    assert images == {"curves"}


def read_events(folder: Path) -> list[Any]:
    """Reads the events of a folder's one file: length, its checksum, the event, its checksum."""
    from tensorboardX.proto import event_pb2

    (path,) = folder.glob("events.out.tfevents.*")
    stored, events = path.read_bytes(), []
    while stored:
        (length,) = struct.unpack_from("<Q", stored)
        events.append(event_pb2.Event.FromString(stored[12 : 12 + length]))  # pyright: ignore
        stored = stored[16 + length :]
    return events
