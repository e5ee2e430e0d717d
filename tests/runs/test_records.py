"""The records of a run: its options and environment, one line per epoch, a summary."""

import dataclasses
import json
import math
import re
import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxae
from jaxae import data, files, runs
from jaxae.errors import UserError
from jaxae.runs import RunOptions, environment, records
from jaxae.runs.trackers import Tracker
from support.commands import REPOSITORY


@dataclass(frozen=True)
class Options:
    """An experiment's options."""

    code: tuple[float, ...] = (1.0, 2.0)
    run: RunOptions = RunOptions(epochs=3, batch_size=8, learning_rate=1e-3)


def listing(shown: list[tuple[int, dict[str, float]]]) -> Tracker:
    """Returns a tracker that lists the epochs it is shown."""
    return Tracker(
        show_epoch=lambda epoch, figures: shown.append((epoch, dict(figures))),
        show_picture=lambda *_: None,
        end=lambda *_: None,
    )


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return data.load("fashion_mnist_mini")


def epoch_record(epoch: int, **others: Any) -> dict[str, Any]:
    """Returns a line of metrics.jsonl with simple numbers."""
    losses = {"train_loss": 0.75, "test_loss": 1 / epoch}
    return {"epoch": epoch, **losses, "seconds": 0.5, **others}


def append_epochs(folder: Path, *epochs: int) -> None:
    for epoch in epochs:
        records.append_record(folder, epoch_record(epoch), ())


def recorded_epochs(folder: Path) -> list[int]:
    return [record["epoch"] for record in runs.read_records(folder)]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_config_has_the_options_the_dataset_and_the_environment(
    tmp_path: Path, dataset: data.Dataset
) -> None:
    shared = RunOptions(epochs=3, batch_size=8, learning_rate=1e-3, sources=Path("archives"))
    records.write_config(tmp_path, "fashion", Options(run=shared), dataset, 625)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["experiment"] == "fashion"
    assert config["options"]["code"] == [1.0, 2.0]
    assert config["options"]["run"]["sources"] == str(Path("archives").absolute())
    assert config["options"]["run"].keys() == {f.name for f in dataclasses.fields(RunOptions)}
    assert config["dataset"] == {
        "name": "fashion_mnist_mini",
        "train_images": 5000,
        "validation_images": 0,
        "test_images": 1000,
        "image_shape": [28, 28, 1],
        "fingerprint": dataset.fingerprint,
        "classes": 10,
        "own": False,
        "scaling": None,
    }
    assert config["steps_per_epoch"] == 625
    assert config["versions"]["jax"] == jax.__version__
    assert config["versions"]["jaxae"] == jaxae.__version__
    assert config["versions"].keys() >= {"python", "jaxlib", "flax", "optax", "orbax-checkpoint"}
    assert len(config["devices"]) == jax.device_count()
    assert jax.devices()[0].platform in config["devices"][0]


def test_config_of_a_resumed_run_keeps_its_first_environment(
    tmp_path: Path, dataset: data.Dataset
) -> None:
    options = Options()
    records.write_config(tmp_path, "fashion", options, dataset, 625)
    first = json.loads((tmp_path / "config.json").read_text())
    longer = dataclasses.replace(options, run=dataclasses.replace(options.run, epochs=9))
    for _ in range(2):
        records.write_config(tmp_path, "fashion", longer, dataset, 625)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["options"]["run"]["epochs"] == 9
    assert [entry["versions"] for entry in config["resumed"]] == [first["versions"]] * 2
    for name in ("experiment", "dataset", "command", "git_commit", "versions", "devices"):
        assert config[name] == first[name]


def commit_all(folder: Path) -> None:
    """Makes a folder a checkout, with one commit of its files."""
    user = ("-c", "user.name=a", "-c", "user.email=b")
    for command in (("init",), ("add", "."), (*user, "commit", "-m", "one")):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)


def test_git_commit_names_the_commit_and_whether_files_changed() -> None:
    if not (REPOSITORY / ".git").exists():
        pytest.skip("needs a git checkout")
    assert re.fullmatch(r"[0-9a-f]{40}\+?", runs.git_commit() or "")


def test_git_commit_is_marked_if_files_outside_results_have_changed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "jaxae" / "records.py"))
    paths = [tmp_path / name for name in ("results/README.md", "jaxae/records.py")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("one")
    commit_all(tmp_path)
    commit = runs.git_commit()
    assert commit is not None
    assert re.fullmatch("[0-9a-f]{40}", commit)
    paths[0].write_text("two")
    assert runs.git_commit() == commit
    paths[1].write_text("two")
    assert runs.git_commit() == f"{commit}+"


def test_the_commit_of_the_checkout_around_an_environment_is_not_the_packages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".venv" / "jaxae" / "records.py"
    file.parent.mkdir(parents=True)
    file.write_text("")
    (tmp_path / ".gitignore").write_text(".venv")
    commit_all(tmp_path)
    monkeypatch.setattr(environment, "__file__", str(file))
    assert runs.git_commit() is None


def test_git_commit_is_none_without_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert runs.git_commit() is None


def test_json_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    files.write_json(path, {"where": tmp_path})
    with pytest.raises(ValueError, match="Circular"):
        files.write_json(path, (loop := [], loop.append(loop))[0])
    assert json.loads(path.read_text()) == {"where": str(tmp_path)}
    assert names_in(tmp_path) == ["file.json"]


def test_numbers_of_any_kind_are_numbers_in_json() -> None:
    values = [np.float32(0.5), np.int64(3), np.array([1.0, np.inf]), jax.numpy.ones(2), Path("a")]
    assert json.loads(files.encode_json(values)) == [0.5, 3, [1.0, None], [1.0, 1.0], "a"]


def test_a_single_run_has_plain_numbers() -> None:
    record = runs.flatten_replicas("test_", {"loss": jax.numpy.float32(0.5), "mse": 2})
    assert record == {"test_loss": 0.5, "test_mse": 2.0}
    assert all(type(value) is float for value in record.values())


def test_replicas_become_mean_sample_deviation_and_list() -> None:
    values = np.array([1.0, 2.0, 6.0], np.float32)
    record = runs.flatten_replicas("train_", {"loss": values})
    assert record["train_loss"] == 3.0
    assert record["train_loss_std"] == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert record["train_loss_replicas"] == [1.0, 2.0, 6.0]
    json.dumps(record)


def test_records_come_back_and_go_to_the_trackers(tmp_path: Path) -> None:
    shown: list[tuple[int, dict[str, float]]] = []
    record = epoch_record(4, dataset="mnist", test_loss_replicas=[0.25, 0.25])
    records.append_record(tmp_path, record, [listing(shown)])
    assert runs.read_records(tmp_path) == [record]
    assert shown == [(4, {"train_loss": 0.75, "test_loss": 0.25, "seconds": 0.5})]


def test_no_records_is_an_empty_list(tmp_path: Path) -> None:
    assert runs.read_records(tmp_path) == []
    records.keep_records(tmp_path, 3)
    assert names_in(tmp_path) == []


def test_keep_records_drops_later_epochs(tmp_path: Path) -> None:
    append_epochs(tmp_path, 1, 2, 3, 4)
    records.keep_records(tmp_path, 2)
    assert recorded_epochs(tmp_path) == [1, 2]
    records.keep_records(tmp_path, 0)
    assert recorded_epochs(tmp_path) == []
    assert names_in(tmp_path) == ["metrics.jsonl"]


def test_a_record_is_replaced_in_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_epochs(tmp_path, 1, 2, 3)
    before, tested = runs.read_records(tmp_path), epoch_record(2, test_loss=0.125)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            records.replace_record(tmp_path, tested, ())
    assert runs.read_records(tmp_path) == before
    shown: list[tuple[int, dict[str, float]]] = []
    records.replace_record(tmp_path, tested, [listing(shown)])
    assert runs.read_records(tmp_path) == [before[0], tested]
    assert [(epoch, figures["test_loss"]) for epoch, figures in shown] == [(2, 0.125)]
    assert names_in(tmp_path) == ["metrics.jsonl"]


@pytest.mark.parametrize("cut", ['{"epoch": 3, "test_l', '{"epoch": 3}', "{"])
def test_a_line_cut_short_is_left_out_and_overwritten(cut: str, tmp_path: Path) -> None:
    append_epochs(tmp_path, 1, 2)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(cut)
    assert recorded_epochs(tmp_path) == [1, 2]
    records.keep_records(tmp_path, 2)
    append_epochs(tmp_path, 3)
    assert recorded_epochs(tmp_path) == [1, 2, 3]


def test_summary_has_the_last_record_the_best_epoch_and_the_time(tmp_path: Path) -> None:
    append_epochs(tmp_path, 1, 2)
    records.append_record(tmp_path, epoch_record(3, test_loss=0.75), ())
    records.write_summary(tmp_path, epoch_record(3, test_loss=0.75), parameters=12)
    records.add_to_summary(tmp_path, {"pca_test_mse": 0.125})
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary == {
        **epoch_record(3, test_loss=0.75),
        "parameters": 12,
        "training_seconds": 1.5,
        "best_epoch": 2,
        "best_test_loss": 0.5,
        "best_chosen_on": "test",
        "pca_test_mse": 0.125,
    }
    assert names_in(tmp_path) == ["metrics.jsonl", "summary.json"]


def test_validation_images_choose_the_best_epoch_if_there_are_any(tmp_path: Path) -> None:
    for epoch, loss in enumerate((3.0, 2.0, 2.5), 1):
        records.append_record(tmp_path, epoch_record(epoch, validation_loss=loss), ())
    records.write_summary(tmp_path, epoch_record(3, validation_loss=2.5), parameters=12)
    summary = runs.read_summary(tmp_path)
    assert (summary["best_epoch"], summary["best_validation_loss"]) == (2, 2.0)
    assert summary["best_test_loss"] == 1 / 2  # of the second epoch, where the third has 1 / 3
    assert summary["best_chosen_on"] == "validation"


@pytest.mark.parametrize(
    ("record", "expected", "mean"),
    [
        ({"test_loss": 2.0}, 2.0, 2.0),
        ({"test_loss": 2.0, "validation_loss": 3.0}, 3.0, 3.0),
        ({"test_loss": 2.0, "test_loss_replicas": [1.0, 3.0]}, [1.0, 3.0], 2.0),
        (
            {"test_loss": 2.0, "validation_loss": 4.0, "validation_loss_replicas": [3.0, 5.0]},
            [3.0, 5.0],
            4.0,
        ),
        ({"train_loss": 2.0}, math.nan, math.nan),
    ],
)
def test_the_loss_that_decides_is_that_of_validation_if_there_is_one(
    record: dict[str, Any], expected: Any, mean: float
) -> None:
    np.testing.assert_equal(runs.watched_loss(record), expected)
    np.testing.assert_equal(records.mean_watched_loss(record), mean)


@pytest.mark.parametrize("changed", [{"best_chosen_on": "luck"}, {"stopped_early": 1}])
def test_a_summary_with_an_unknown_choice_is_refused(
    changed: dict[str, Any], tmp_path: Path
) -> None:
    append_epochs(tmp_path, 1)
    records.write_summary(tmp_path, epoch_record(1), parameters=12)
    records.add_to_summary(tmp_path, {"stopped_early": True})
    assert runs.read_summary(tmp_path)["stopped_early"] is True
    records.add_to_summary(tmp_path, changed)
    with pytest.raises(UserError, match=next(iter(changed))):
        runs.read_summary(tmp_path)


@pytest.mark.parametrize("diverged", [math.nan, math.inf])
def test_a_diverged_epoch_is_not_the_best(diverged: float, tmp_path: Path) -> None:
    records.append_record(tmp_path, epoch_record(1, test_loss=diverged), ())
    append_epochs(tmp_path, 2, 3)
    records.write_summary(tmp_path, epoch_record(3), parameters=12)
    assert json.loads((tmp_path / "summary.json").read_text())["best_epoch"] == 3


def test_pictures_by_epoch_are_in_the_order_of_the_epochs(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("epoch_1000", "epoch_200", "epoch_003", "epoch_010_1", "codes", "step_000001"):
        (tmp_path / "pictures" / f"{name}.png").touch()
    found = runs.pictures_by_epoch(tmp_path)
    assert [(epoch, path.stem) for epoch, path in found.items()] == [
        (3, "epoch_003"),
        (200, "epoch_200"),
        (1000, "epoch_1000"),
    ]
    assert runs.pictures_by_epoch(tmp_path / "none") == {}
    (tmp_path / "pictures" / "epoch_200_labeled.png").touch()  # says what it shows, so it is taken
    assert runs.pictures_by_epoch(tmp_path)[200].stem == "epoch_200_labeled"
    assert list(runs.pictures_by_epoch(tmp_path)) == [3, 200, 1000]


PACKAGE = Path(jaxae.__file__).parent


@pytest.mark.parametrize(
    ("argv", "program"),
    [
        (["/somewhere/bin/jaxae", "train"], "jaxae train"),
        (["jaxae.exe", "train"], "jaxae train"),
        ([f"{PACKAGE}/__main__.py", "train"], "python -m jaxae train"),
        (["experiments/vae.py"], "python experiments/vae.py"),
        (["my/jaxae.py"], "python my/jaxae.py"),
    ],
)
def test_a_run_is_started_again_by_its_command_line(argv: list[str], program: str) -> None:
    words = runs.command_line([*argv, "--path", "3", "8"])
    assert shlex.join(words) == f"{program} --path 3 8"
    assert runs.split_command(words) == (program.split(), ["--path", "3", "8"])
    assert runs.portable(f"{program} --out here") == program


@pytest.mark.parametrize(
    ("file", "module"),
    [("evaluate.py", "jaxae.evaluate"), ("evaluate/__main__.py", "jaxae.evaluate")],
)
def test_a_module_is_started_again_as_a_module(file: str, module: str) -> None:
    words = runs.command_line([f"{PACKAGE}/{file}", "RUN", "--seed", "3"])
    assert words == ["python", "-m", module, "RUN", "--seed", "3"]
    assert runs.split_command(words) == (words[:3], words[3:])


def test_a_portable_command_names_no_place_of_the_machine() -> None:
    command = "python fashion.py --out here --latent 20 --sources=there --data_dir 'a b' --seed 3"
    assert runs.portable(command) == "python fashion.py --latent 20 --seed 3"
    assert runs.portable("python fashion.py --resume a/b --epochs 4") == (
        "python fashion.py --resume RUN --epochs 4"
    )
    assert runs.portable("jaxae train --out here --resume=there") == "jaxae train --resume RUN"
