"""Experiment trackers: what they are told of a run, how it continues there, and their failures."""

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxae import data, runs
from jaxae.errors import Terminated, UserError
from jaxae.runs import RunOptions
from jaxae.runs.records import append_record
from jaxae.runs.tracking import open_trackers
from support import small_run
from support.small_run import Options, go
from support.trackers import Recorder, inject

compiled_once, small_data = small_run.compiled_once, small_run.small_data

TRACKERS = ("wandb", "trackio", "mlflow")
IDS = {"trackio": "of trackio", "mlflow": "of mlflow"}  # that the tracker chooses
RECORD = {
    "epoch": 2,
    "dataset": "it",
    "train_loss": 1.5,
    "test_loss": math.nan,
    "test_loss_std": 0.25,
    "test_loss_replicas": [math.nan, 1.0],
}
FIGURES = {"train_loss": 1.5, "test_loss_std": 0.25}
SUMMARY = {"epoch": 2, "test_loss": 2.0, "parameters": 7, "training_seconds": 3.0}


def show(
    folder: Path,
    track: Any,
    *,
    error: BaseException | None = None,
    summary: bool = False,
    **options: Any,
) -> None:
    """Tracks an epoch and a picture of a run that trains nothing."""
    run = RunOptions(3, 16, 1e-2, track=track, **options)
    images = np.zeros((4, 2, 2, 1), np.uint8)
    dataset = data.from_arrays(images, test=images)
    picture = np.zeros((2, 3, 3), np.uint8)
    with open_trackers(folder, "small", Options(run), dataset) as trackers:
        for tracker in trackers:
            tracker.show_picture("epoch_001", picture, "drawn again by a resumed run")
        append_record(folder, RECORD, trackers)
        for tracker in trackers:
            tracker.show_picture("epoch_002", picture, "two")
        if error is not None:
            raise error
        if summary:
            (folder / "summary.json").write_text(json.dumps(SUMMARY))


def figures_of(name: str, told: Recorder) -> list[tuple[int, dict[str, float]]]:
    """The figures that a tracker was told, by step, without those of the summary."""
    if name != "mlflow":
        logged = [(given["step"], values) for (values,), given in told.of("log")]
    else:
        batches = [given["metrics"] for _, given in told.of("log_batch") if "metrics" in given]
        logged = [
            (step, {key: value for key, value, _ in batch})
            for batch in batches
            for step in {step for *_, step in batch}
        ]
    kept = [(step, {k: v for k, v in values.items() if "/" not in k}) for step, values in logged]
    return [(step, values) for step, values in kept if values]


@pytest.mark.parametrize("name", TRACKERS)
def test_an_epoch_is_shown_with_its_number_as_the_step(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject(name, monkeypatch)
    show(tmp_path, name)
    ((step, figures),) = figures_of(name, told)
    assert step == 2
    assert math.isnan(figures.pop("test_loss"))
    assert figures == FIGURES | ({"epoch": 2} if name == "wandb" else {})


@pytest.mark.parametrize("name", TRACKERS)
def test_a_picture_has_the_step_of_its_epoch_and_is_not_shown_again(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject(name, monkeypatch)
    show(tmp_path, name)
    if name == "mlflow":
        ((_, given),) = told.of("log_image")
        assert given == {"key": "pictures/epoch", "step": 2}
    else:
        ((values, step),) = [
            (values, given["step"])
            for (values,), given in told.of("log")
            if "pictures/epoch" in values
        ]
        assert step == 2
        assert values["pictures/epoch"][1] == "two"


@pytest.mark.parametrize("name", TRACKERS)
def test_the_config_names_options_dataset_and_versions(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject(name, monkeypatch)
    show(tmp_path, name)
    if name == "mlflow":
        config = dict(pair for _, given in told.of("log_batch") for pair in given.get("params", ()))
        assert config["options.run.batch_size"] == "16"
        assert config["dataset.name"] == "arrays"
        assert "versions.jax" in config
        assert max(len(given.get("params", ())) for _, given in told.of("log_batch")) <= 100
        return
    ((_, given),) = told.of("init")
    config = told.of("config")[0][0][0] if name == "wandb" else given["config"]
    assert given["project"] == "jaxae"
    assert given["name"] == tmp_path.name
    assert config["options"]["run"]["batch_size"] == 16
    assert config["dataset"]["name"] == "arrays"
    assert "jax" in config["versions"]


@pytest.mark.parametrize("name", TRACKERS)
@pytest.mark.parametrize(
    ("error", "summary", "ending"),
    [
        (None, True, "finished"),
        (None, False, "interrupted"),
        (KeyboardInterrupt(), False, "interrupted"),
        (Terminated(), False, "interrupted"),
        (UserError("diverged"), False, "failed"),
    ],
)
def test_a_tracker_learns_how_the_run_ended(
    name: str,
    error: BaseException | None,
    summary: bool,
    ending: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = inject(name, monkeypatch)
    if error is None:
        show(tmp_path, name, summary=summary)
    else:
        with pytest.raises(type(error)):
            show(tmp_path, name, error=error)
    if name == "mlflow":
        status = {"finished": "FINISHED", "failed": "FAILED", "interrupted": "KILLED"}[ending]
        assert told.of("set_terminated") == [(("of mlflow", status), {})]
        last = {key: value for key, value, _ in told.of("log_batch")[-1][1]["metrics"]}
    elif name == "wandb":
        code = {"finished": 0, "failed": 1, "interrupted": 255}[ending]
        assert told.of("finish") == [((), {"exit_code": code})]
        (((last,), _),) = told.of("summary")
        assert last["ending"] == ending
        last = {f"summary/{key}": value for key, value in last.items()}
    else:
        assert len(told.of("finish")) == 1
        last = told.of("log")[-1][0][0]
        assert last["summary/ending"] == ending
    assert last.get("summary/parameters") == (7 if summary else None)


@pytest.mark.parametrize("name", TRACKERS)
def test_a_resumed_run_continues_the_tracked_one(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    show_first = inject(name, monkeypatch)
    show(tmp_path, name)
    ids = json.loads((tmp_path / "tracking.json").read_text())
    given = ids[name]
    if name == "wandb":
        assert show_first.of("init")[0][1]["id"] == given
        assert show_first.of("init")[0][1]["resume"] == "never"
    else:
        assert given == IDS[name]
    told = inject(name, monkeypatch)
    show(tmp_path, name, resume=tmp_path)
    if name == "mlflow":
        assert told.of("update_run") == [((given,), {"status": "RUNNING"})]
        assert not told.of("create_run")
        assert not any("params" in keywords for _, keywords in told.of("log_batch"))
    else:
        ((_, keywords),) = told.of("init")
        assert keywords["resume"] == {"wandb": "allow", "trackio": "must"}[name]
        assert keywords.get("id", given) == given
    assert json.loads((tmp_path / "tracking.json").read_text()) == ids


@pytest.mark.parametrize("again", [{"restart": True}, {"initial_epoch": 1}])
def test_a_run_that_trains_epochs_again_is_tracked_anew(
    again: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject("wandb", monkeypatch)
    show(tmp_path, "wandb")
    show(tmp_path, "wandb", resume=tmp_path, **again)
    first, second = (keywords["id"] for _, keywords in told.of("init"))
    assert first != second
    assert json.loads((tmp_path / "tracking.json").read_text()) == {"wandb": second}


def test_trackio_does_not_continue_another_run_of_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject("trackio", monkeypatch)
    (tmp_path / "tracking.json").write_text('{"trackio": "an older one", "wandb": "kept"}')
    with pytest.raises(UserError, match=r"is not this one\): .* remove .*tracking\.json"):
        show(tmp_path, "trackio", resume=tmp_path)
    (tmp_path / "tracking.json").write_text('{"wandb": "kept"}')
    show(tmp_path, "trackio", resume=tmp_path)
    kept = json.loads((tmp_path / "tracking.json").read_text())
    assert kept == {"wandb": "kept", "trackio": "of trackio"}


@pytest.mark.parametrize("text", ["", "[]", '{"wandb": 3}', '{"wandb"'])
def test_a_damaged_file_of_ids_is_named(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inject("wandb", monkeypatch)
    (tmp_path / "tracking.json").write_text(text)
    with pytest.raises(UserError, match=r"tracking\.json"):
        show(tmp_path, "wandb", resume=tmp_path)


@pytest.mark.parametrize(
    ("name", "failing"), [*zip(TRACKERS, ("init", "init", "create_run"), strict=True)]
)
def test_a_tracker_that_cannot_start_is_a_users_error(
    name: str, failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject(name, monkeypatch)
    told.failing.add(failing)
    expected = rf"--track {name} cannot start \(ConnectionError: {failing} has no network\): "
    with pytest.raises(UserError, match=expected):
        show(tmp_path, name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", TRACKERS)
def test_a_missing_package_names_the_extra(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UserError, match=rf"pip install 'jaxae\[{name}\]'"):
        show(tmp_path, name)


@pytest.mark.parametrize(
    ("name", "failing"), [*zip(TRACKERS, ("log", "log", "log_image"), strict=True)]
)
def test_a_tracker_that_fails_later_warns_once_and_the_run_goes_on(
    name: str,
    failing: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = inject(name, monkeypatch)
    told.failing.add(failing)
    show(tmp_path, name, summary=True)
    assert capsys.readouterr().err.count("warning: ") == 1
    assert told.of("set_terminated" if name == "mlflow" else failing)
    assert (tmp_path / "metrics.jsonl").read_text().count("\n") == 1


def test_a_loaded_run_and_other_processes_are_not_tracked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject("wandb", monkeypatch)
    show(tmp_path, "wandb", load=tmp_path)
    monkeypatch.setattr("jaxae.runs.tracking.is_first_process", lambda: False)
    show(tmp_path, "wandb")
    assert told.calls == []


@pytest.mark.slow
def test_a_run_is_tracked_from_its_first_epoch_to_its_last_across_a_resumption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = inject("wandb", monkeypatch)
    folder = tmp_path / "run"
    go(out=folder, epochs=3, track="wandb", replicas=2, stop_after=1)
    go(resume=folder, epochs=3, track="wandb", replicas=2)
    assert [step for step, _ in figures_of("wandb", told)] == [1, 2, 3]
    for (step, figures), line in zip(
        figures_of("wandb", told), runs.read_records(folder), strict=True
    ):
        assert step == line["epoch"]
        assert figures["test_loss_std"] == line["test_loss_std"]
    assert len({keywords["id"] for _, keywords in told.of("init")}) == 1
    assert [keywords["exit_code"] for _, keywords in told.of("finish")] == [255, 0]
    drawn = [set(values) for (values,), given in told.of("log") if "pictures/curves" in values]
    assert len(drawn) == 1
