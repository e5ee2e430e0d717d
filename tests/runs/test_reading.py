"""Reading a run's folder that may be damaged, or come from a stranger."""

import dataclasses
import itertools
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import jaxae
import report_page
from jaxae import checkpoint, cli, data, runs
from jaxae.checkpoint import reading
from jaxae.checkpoint.reading import METADATA
from jaxae.commands import latents
from jaxae.commands import train as family
from jaxae.errors import UserError
from jaxae.evaluate import command, figures, pictures
from jaxae.pages import drawing
from jaxae.runs import environment, format_figure, load_dataset, read_config, records
from jaxae.runs.config import check_restorable, label_replica, label_run
from support import small_run
from support.damage import damaged_contents, damaged_descriptions, damaged_lines

compiled_once = small_run.compiled_once


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with small_run.small_images():
        small_run.go(out=folder)
    return folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return shutil.copytree(finished, tmp_path / "run")


def change_config(run: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    config = json.loads((run / "config.json").read_text())
    change(config)
    (run / "config.json").write_text(json.dumps(config))


def parse(run: Path, line: str) -> small_run.Options:
    return cli.parse(small_run.Options, line.format(run=run).split())


EVERY = 31  # slow readers try only one in this many ways to damage a config

READERS: dict[str, Callable[[Path], Any]] = {
    "--resume": lambda run: parse(run, "--resume {run}"),
    "--load": lambda run: parse(run, "--load {run}"),
    "evaluate": lambda run: command.main(command.Options(run)),
    "latents": lambda run: latents.main(latents.Options(run)),
}


@pytest.fixture
def stranger(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with a prepared dataset beside it, whose features would import the module `marker`."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "own"))
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "marker.py").write_text("class Features:\n    pass\n")
    folder = tmp_path / "sets" / "mine" / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps({"name": "mine", "version": "1.0.0"}))
    (folder / "features.json").write_text(json.dumps({"pythonClassName": "marker.Features"}))

    def change(config: dict[str, Any]) -> None:
        config["dataset"]["name"] = "mine"
        config["options"]["run"].update(dataset="mine", data_dir=str(tmp_path / "sets"))

    change_config(run, change)
    return run


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_a_run_does_not_choose_where_data_are_opened(
    name: str, stranger: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=f"--data-dir {tmp_path / 'sets'} if you trust"):
        READERS[name](stranger)
    assert "marker" not in sys.modules


def test_the_folder_of_a_runs_data_is_opened_if_the_user_names_it(
    stranger: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sets, opened = tmp_path / "sets", []
    monkeypatch.setattr(data, "load", lambda name, **places: opened.append(places["data_dir"]))
    config = read_config(stranger)
    for given, default in ((sets, "own"), (None, "sets")):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / default))
        assert parse(stranger, "--resume {run}" + f" --data-dir {sets}" * bool(given))
        with pytest.raises(AttributeError):  # there is no dataset
            load_dataset(stranger, config, data_dir=given, sources=None)
    assert opened == [sets, None]


def test_a_bundled_dataset_needs_no_data_dir(stranger: Path) -> None:
    change_config(stranger, lambda config: config["dataset"].update(name="mnist_mini"))
    assert parse(stranger, "--load {run}").run.data_dir is None


def test_relative_data_folders_are_stored_as_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = cli.parse(family.Options, ["--data-dir", "sets", "--sources", "archives"])
    stored = records.describe_options(options)["run"]
    assert (stored["data_dir"], stored["sources"]) == (tmp_path / "sets", tmp_path / "archives")
    assert records.describe_options(cli.parse(family.Options, []))["run"]["data_dir"] is None


def test_an_error_says_that_an_older_run_stored_a_relative_folder(stranger: Path) -> None:
    change_config(stranger, lambda config: config["options"]["run"].update(data_dir="sets"))
    with pytest.raises(UserError, match="data in sets, relative to the folder it was started in"):
        parse(stranger, "--resume {run}")


def read_as_evaluate(run: Path) -> None:
    """Reads what `jaxae evaluate` reads before it computes."""
    config = read_config(run)
    step = command.choose_step(command.Options(run))
    networks = command.load_replicas(run, step, config)
    load_dataset(run, config, data_dir=None, sources=None)
    figures.choose_prior(networks[0], config.options.objective)
    assert config.label
    json.dumps(config.values, ensure_ascii=False).encode()
    command.describe_cost(run, networks[0], step / config.steps_per_epoch)
    draw_charts(run)


def draw_charts(run: Path) -> None:
    """Draws the charts of the epochs on a run's page."""
    for chart in pictures.make_charts(runs.read_records(run)):
        drawing.draw_chart(chart, {"training": "red", "test": "blue"})


def read_as_resumed(run: Path) -> None:
    """Reads what `--resume` reads before it trains, and writes what it writes then."""
    options = parse(run, "--resume {run}")
    dataset = data.load("mnist")
    check_restorable(options.run, "small", dataset)
    runs.step_of_epoch(run, 3)
    records.write_config(run, "small", options, dataset, 7)
    records.keep_records(run, 2)
    records.write_summary(run, runs.read_records(run)[-1], 3)


def read_as_report(run: Path) -> None:
    """Reads a run as experiments/report.py does."""
    finished = report_page.read(run)
    report_page.table([finished], {})
    report_page.section(finished, run)


def outcome(read: Callable[[Path], Any], run: Path) -> str:
    """Returns the outcome of reading a run: "works", or the text of the error."""
    try:
        read(run)
    except UserError as error:
        return str(error)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "works"


def check(
    readers: dict[str, Callable[[Path], Any]],
    run: Path,
    file: str,
    damages: Callable[[bytes], Iterator[tuple[str, bytes]]],
    every: int = 1,
) -> None:
    """Damages a run's file in each way; reading it must work, or raise an error that names it.

    Only one way in `every` is tried, which still varies keys and values.
    """
    path = run / file
    written = [path, *run.glob("*.json*")]
    before = {each: each.read_bytes() for each in written}
    outcomes = []
    for name, content in itertools.islice(damages(before[path]), 0, None, every):
        for reader, read in readers.items():
            path.write_bytes(content)
            said = outcome(read, run)
            outcomes.append(said)
            good = said == "works" or (str(path.parent) in said and len(said) < 2000)
            assert good, f"{file}, {name}, {reader}: {said[:2000]}"
            for each in written:
                each.write_bytes(before[each])
    refused = sum(said != "works" for said in outcomes)
    print(f"{file}: {len(outcomes)} readings of damage, {refused} refused, all in one error")
    assert refused


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
def test_a_damaged_config_is_one_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variables = checkpoint.load_variables(run / "checkpoints")
    monkeypatch.setattr(checkpoint, "load_variables", lambda folder, step: variables)
    monkeypatch.setattr(checkpoint, "latest_step", lambda folder: 21)
    monkeypatch.setattr(environment, "git_commit", lambda: None)  # it starts processes
    readers = {
        "load": jaxae.load,
        "evaluate": read_as_evaluate,
        "--resume": read_as_resumed,
        "--load": lambda run: parse(run, "--load {run}"),
        "report": read_as_report,
    }
    with small_run.small_images():
        check({"": read_config}, run, "config.json", damaged_contents)
        check(readers, run, "config.json", damaged_contents, every=EVERY)


def test_a_damaged_summary_is_one_error(run: Path) -> None:
    readers = {
        "summary": lambda run: records.add_to_summary(run, {"pca_test_mse": 1.0}),
        "report": read_as_report,
    }
    check(readers, run, "summary.json", damaged_contents, every=3)


@pytest.mark.slow
def test_damaged_figures_are_one_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "git_commit", lambda: None)
    readers = {"page": draw_charts, "--resume": read_as_resumed, "report": read_as_report}
    with small_run.small_images():
        check({"": runs.read_records}, run, "metrics.jsonl", damaged_lines)
        check(readers, run, "metrics.jsonl", damaged_lines, every=3)


@pytest.mark.slow
def test_a_damaged_description_is_one_error(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RETRY_SECONDS", 0)
    folder = run / "checkpoints"
    readers = {"variables": lambda run: checkpoint.load_variables(folder, 21)}
    read_losses = {"best": lambda run: checkpoint.best_step(folder, [21])}
    file = f"checkpoints/21/{METADATA}"
    check(read_losses, run, file, damaged_descriptions, every=29)
    check(readers, run, file, damaged_descriptions, every=311)


@pytest.mark.slow
def test_a_run_that_was_loaded_has_a_summary_that_can_be_added_to(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with small_run.small_images():
        small_run.go(load=run, out=tmp_path / "again")
    records.add_to_summary(tmp_path / "again", {"pca_test_mse": 0.5})
    assert runs.read_summary(tmp_path / "again")["pca_test_mse"] == 0.5
    assert "not finite" not in capsys.readouterr().err


def test_a_picture_that_cannot_be_read_is_left_out_with_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "epoch_001.png").write_bytes(b"garbage")
    assert pictures.read_pictures(tmp_path) == []
    assert "epoch_001.png cannot be read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "text"),
    [
        ({"a": 0.0430551}, "0.04306"),
        ({"a": 815824}, "815,824"),
        ({"a": 131.0115, "a_std": 1.196}, "131.0 ± 1.2"),
        ({"a": 0.043006, "a_std": 0.000813}, "0.04301 ± 0.00081"),
        ({"a": 20.0, "a_std": 0.0}, "20 ± 0"),
        ({"a": 512.3, "a_std": 35.47}, "512 ± 35"),
    ],
)
def test_a_figure_has_as_many_digits_as_its_deviation_allows(
    figures: dict[str, float], text: str
) -> None:
    assert format_figure(figures, "a") == text


@pytest.mark.parametrize(
    ("experiment", "objective", "expected"),
    [("family", "vae", "vae"), ("fashion", None, "fashion"), ("own", "vae", "own: vae")],
)
def test_a_run_of_the_family_is_called_by_its_member(
    experiment: str, objective: str | None, expected: str
) -> None:
    assert label_run(experiment, objective) == expected
    assert label_replica(0, 5, 1) == ""
    assert label_replica(1, 5, 2) == ", replica 1 (seed 6)"


@pytest.mark.slow
def test_each_command_of_a_run_is_told_once(finished: Path) -> None:
    config = read_config(finished)
    assert config.commands == (config.command,)
    resumed = json.loads((finished / "config.json").read_text())
    resumed["command"], others = "train --epochs 2", ["go --epochs 3", "go --epochs 3", "go"]
    resumed["resumed"] = [{"command": command} for command in others]
    (finished.parent / "again").mkdir()
    (finished.parent / "again/config.json").write_text(json.dumps(resumed))
    again = read_config(finished.parent / "again")
    assert again.commands == ("train --epochs 2", "go --epochs 3", "go")


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (("cpu cpu",), "cpu"),
        (("gpu NVIDIA H200", "gpu NVIDIA H200"), "gpu NVIDIA H200"),
        ((), "an unknown device"),
    ],
)
@pytest.mark.slow
def test_a_device_is_named_once(devices: tuple[str, ...], expected: str, finished: Path) -> None:
    assert dataclasses.replace(read_config(finished), devices=devices).device == expected
