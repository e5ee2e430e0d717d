"""`jaxae.fit` trains what the command trains, on arrays or files, and resumes it exactly."""

import json
import signal
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import jaxae
from jaxae import cli, data, objectives, runs, train
from jaxae.commands import train as command
from jaxae.likelihoods import GAUSSIAN_SIGMOID
from jaxae.network import Network
from support import small_run
from support.small_fit import DIGITS, LABELS, OPTIONS, OWN, SCALED, squared_error

compiled_once = small_run.compiled_once
pytestmark = pytest.mark.slow


def assert_equal_variables(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a.variables, b.variables)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> jaxae.TrainedRun:
    """A run of two epochs on arrays."""
    return jaxae.fit(
        DIGITS,
        labels=LABELS,
        scale="minmax",
        name="digits",
        out=tmp_path_factory.mktemp("fit") / "digits",
        **OPTIONS,
    )


def test_the_run_is_that_of_the_command_on_a_file_of_the_same_arrays(
    digits: jaxae.TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez(tmp_path / "digits.npz", images=DIGITS, labels=LABELS)
    line = (
        f"--dataset {tmp_path}/digits.npz --scale minmax --latent 3 --hidden 16 --epochs 2 "
        f"--batch-size 32 --out {tmp_path}/run"
    )
    command.main(cli.parse(command.Options, line.split()))
    assert_equal_variables(jaxae.load(tmp_path / "run"), digits)
    trees = [
        sorted(path.name for path in folder.rglob("*") if path.parent.name != "checkpoints")
        for folder in (tmp_path / "run" / "pictures", digits.folder / "pictures")
    ]
    assert trees[0] == trees[1] == ["curves.png", "epoch_001.png", "epoch_002.png", "samples.png"]


def test_the_config_names_the_arrays(digits: jaxae.TrainedRun) -> None:
    config = json.loads((digits.folder / "config.json").read_text())
    assert config["experiment"] == "family"
    assert (config["dataset"]["name"], config["dataset"]["own"]) == ("digits", True)
    assert config["options"]["run"]["reading"]["scale"] == "minmax"
    assert config["options"]["latent"] == 3


def test_a_dataset_and_its_arrays_train_alike(digits: jaxae.TrainedRun, tmp_path: Path) -> None:
    dataset = data.from_arrays(DIGITS, LABELS, scale="minmax", name="again")
    run = jaxae.fit(dataset, "vae", out=tmp_path / "run", **OPTIONS)
    assert_equal_variables(run, digits)
    assert run.dataset is dataset


@pytest.mark.parametrize("kind", ["a member", "an objective of one's own"])
def test_a_resumed_run_is_an_uninterrupted_one(kind: str, tmp_path: Path) -> None:
    member = kind == "a member"
    given = {"latent": 3, "hidden": (16,)} if member else {"objective": squared_error, **OWN}
    given |= {"scale": "minmax", "batch_size": 32}
    whole = jaxae.fit(DIGITS, **given, epochs=3, out=tmp_path / "whole")
    folder = tmp_path / "parts"
    jaxae.fit(DIGITS, **given, epochs=1, out=folder)
    # Of its own options it needs none again.
    again = {} if member else {"objective": squared_error, **OWN}
    resumed = jaxae.fit(DIGITS, **again, epochs=3, out=folder, resume=True)
    assert_equal_variables(resumed, whole)
    for name in ("train_loss", "test_loss"):
        np.testing.assert_array_equal(resumed.history[name], whole.history[name])


def test_settings_of_a_member_and_numpys_numbers_are_options(tmp_path: Path) -> None:
    run = jaxae.fit(
        SCALED,
        "beta-vae",
        beta=np.float32(2),
        latent=np.int64(3),
        hidden=[16],
        epochs=1,
        batch_size=32,
        replicas=2,
        out=str(tmp_path / "run"),
    )
    options = run.config.values["options"]
    assert (options["settings"]["beta"], options["latent"], options["hidden"]) == (2, 3, [16])
    assert run.history["test_loss_replicas"].shape == (1, 2)


def test_a_bundled_set_is_found_by_its_name(tmp_path: Path) -> None:
    run = jaxae.fit("mnist_mini", out=tmp_path / "run", **{**OPTIONS, "epochs": 1})
    assert run.dataset is not None
    assert run.dataset.fingerprint == data.load("mnist_mini").fingerprint
    resumed = jaxae.fit("mnist_mini", epochs=2, out=tmp_path / "run", resume=True)
    assert len(resumed.history["epoch"]) == 2


def test_an_optimizer_and_collections_of_ones_own_are_used(tmp_path: Path) -> None:
    def objective(variables: Any, key: jax.Array, batch: train.Batch) -> train.Terms:
        terms = squared_error(variables, key, batch)
        return train.Terms(
            terms.loss,
            {"seen": variables["count"]["steps"]},
            {**terms.collections, "count": {"steps": variables["count"]["steps"] + 1}},
        )

    run = jaxae.fit(
        SCALED,
        objective,
        **OWN,
        optimizer=optax.sgd(0.0),
        collections={"count": {"steps": jax.numpy.zeros(())}},
        epochs=2,
        batch_size=64,
        out=tmp_path / "run",
    )
    steps = run.config.steps_per_epoch
    assert run.variables["count"]["steps"] == 2 * steps
    initial = OWN["model"].init(jax.random.split(jax.random.key(0))[0], SCALED[:1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6),
        run.variables["params"],
        initial["params"],
    )


def test_a_test_objective_measures_without_dropout(tmp_path: Path) -> None:
    measure = partial(objectives.reconstruction, network=Network(OWN["model"], GAUSSIAN_SIGMOID))
    run = jaxae.fit(
        SCALED,
        squared_error,
        **OWN,
        test_objective=measure,
        epochs=1,
        batch_size=32,
        out=tmp_path / "run",
    )
    assert run.dataset is not None
    images = run.dataset.test.images
    errors = np.square(run.reconstruct(images) - images).sum((1, 2, 3))
    np.testing.assert_allclose(run.history["test_loss"], [errors.mean()], rtol=1e-5)


def test_an_interrupt_leaves_a_run_that_can_be_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    handler = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        draw = runs.draw_reconstructions
        patch.setattr(
            runs,
            "draw_reconstructions",
            lambda *args: signal.raise_signal(signal.SIGINT) or draw(*args),
        )
        with pytest.raises(KeyboardInterrupt) as stop:
            jaxae.fit(
                DIGITS, squared_error, **OWN, scale="minmax", epochs=3, batch_size=32, out=folder
            )
    assert signal.getsignal(signal.SIGINT) is handler
    (shown,) = stop.value._render_traceback_()  # pyright: ignore[reportAttributeAccessIssue]
    assert "interrupted" in shown
    said = capsys.readouterr().err
    assert f"resume with\n    jaxae.fit(..., out='{folder.as_posix()}', resume=True)" in said
    run = jaxae.fit(DIGITS, squared_error, **OWN, out=folder, resume=True)
    assert len(run.history["epoch"]) == 3
