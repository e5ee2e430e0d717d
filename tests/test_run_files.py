"""What is read of a run's folder, which may be damaged, or come from a stranger."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import small_run

from jaxae import cli, data, evaluate, records
from jaxae.commands import latents
from jaxae.commands import train as family
from jaxae.errors import UserError
from jaxae.trained import load_dataset

compiled_once = small_run.compiled_once


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    with small_run.small_images():
        small_run.go(out=folder, epochs=1)
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


READERS: dict[str, Callable[[Path], Any]] = {
    "--resume": lambda run: parse(run, "--resume {run}"),
    "--load": lambda run: parse(run, "--load {run}"),
    "evaluate": lambda run: evaluate.main(evaluate.Options(run)),
    "latents": lambda run: latents.main(latents.Options(run)),
}


@pytest.fixture
def stranger(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run beside a prepared set, whose features are of a module that leaves a mark."""
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
    config = records.read_config(stranger)
    for given, default in ((sets, "own"), (None, "sets")):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / default))
        assert parse(stranger, "--resume {run}" + f" --data-dir {sets}" * bool(given))
        with pytest.raises(AttributeError):  # there is no dataset
            load_dataset(stranger, config, data_dir=given, sources=None)
    assert opened == [sets, None]


def test_a_bundled_dataset_lies_nowhere_else(stranger: Path) -> None:
    change_config(stranger, lambda config: config["dataset"].update(name="mnist_mini"))
    assert parse(stranger, "--load {run}").run.data_dir is None


def test_a_relative_folder_of_data_is_named_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = cli.parse(family.Options, ["--data-dir", "sets", "--sources", "archives"])
    stored = records.describe_options(options)["run"]
    assert (stored["data_dir"], stored["sources"]) == (tmp_path / "sets", tmp_path / "archives")
    assert records.describe_options(cli.parse(family.Options, []))["run"]["data_dir"] is None


def test_a_folder_that_an_older_run_has_stored_relative_is_said_to_be(stranger: Path) -> None:
    change_config(stranger, lambda config: config["options"]["run"].update(data_dir="sets"))
    with pytest.raises(UserError, match="data in sets, relative to where it was started"):
        parse(stranger, "--resume {run}")
