"""Optimizers, schedules and averaged parameters in runs: resumed, in replicas, and loaded."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import pytest

import jaxae
from jaxae import checkpoint, cli, runs, train
from jaxae.checkpoint.checksums import checksum
from jaxae.commands import train as command
from jaxae.errors import UserError
from jaxae.runs import position, records, training
from jaxae.train.plateau import PATIENCE
from support import small_run
from support.small_fit import OPTIONS, OWN, SCALED, squared_error

compiled_once = small_run.compiled_once
pytestmark = pytest.mark.slow

KINDS: dict[str, dict[str, Any]] = {
    "adam": {},
    "adamw, cosine": {"optimizer": "adamw", "schedule": "cosine"},
    "adam, warmup-cosine, clip": {"schedule": "warmup-cosine", "warmup": 0.4, "clip": 1.0},
    "adam, plateau, ema": {"schedule": "plateau", "ema": 0.9},
    "muon, warmup-cosine, ema": {"optimizer": "muon", "schedule": "warmup-cosine", "ema": 0.9},
    "muon, plateau": {"optimizer": "muon", "schedule": "plateau"},
    "schedule-free": {"optimizer": "schedule-free", "warmup": 0.2},
}


def fit(out: Path, **options: Any) -> jaxae.TrainedRun:
    return jaxae.fit(SCALED, "vae", out=out, **{**OPTIONS, **options})


def leaves_of(folder: Path) -> dict[str, Any]:
    """Returns the checksums of all arrays in a run's last checkpoint."""
    checkpoints = folder / "checkpoints"
    path = checkpoints / str(checkpoint.steps(checkpoints)[-1]) / "_CHECKPOINT_METADATA"
    return json.loads(path.read_text())["custom_metadata"]["leaves"]


def interrupt(out: Path, after: int, **options: Any) -> None:
    """Trains a run and interrupts it while the picture of an epoch is drawn."""
    with pytest.MonkeyPatch.context() as patch:

        def shows(epoch: runs.Epoch) -> bool:
            if epoch.number == after:
                raise KeyboardInterrupt
            return False

        patch.setattr(command, "shows_reconstructions", shows)
        with pytest.raises(KeyboardInterrupt):
            fit(out, **options)


def constant(record: Any) -> Any:
    """Stands for `watched_loss`: a loss that reaches no new low after the first epoch."""
    loss = np.asarray(record.get("test_loss_replicas", record.get("test_loss", np.nan)))
    return np.where(np.isnan(loss), np.nan, 1).tolist()


@pytest.mark.parametrize(
    ("kind", "replicas"),
    [
        *((kind, 1) for kind in KINDS),
        *(
            (kind, 2)
            for kind in ("adam, plateau, ema", "muon, warmup-cosine, ema", "schedule-free")
        ),
    ],
)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    kind: str, replicas: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plateau ends after the sixth epoch."""
    monkeypatch.setattr(records, "watched_loss", constant)
    given = {**KINDS[kind], "replicas": replicas, "epochs": PATIENCE + 2}
    fit(tmp_path / "whole", **given)
    interrupt(tmp_path / "part", 3, **given)
    resumed = jaxae.fit(SCALED, "vae", out=tmp_path / "part", resume=True)
    assert leaves_of(tmp_path / "part") == leaves_of(tmp_path / "whole")
    whole = jaxae.load(tmp_path / "whole")
    for name in ("train_loss", "test_loss"):
        np.testing.assert_array_equal(resumed.history[name], whole.history[name])
    assert len(whole.history["epoch"]) == PATIENCE + 2


@pytest.mark.parametrize("kind", ["muon, plateau", "adam, plateau, ema", "schedule-free"])
def test_replicas_train_like_separate_runs(kind: str, tmp_path: Path) -> None:
    fit(tmp_path / "both", **KINDS[kind], replicas=2)
    for index in (0, 1):
        alone = fit(tmp_path / f"{index}", **KINDS[kind], seed=index)
        together = jaxae.load(tmp_path / "both", replica=index)
        assert_close(together.variables, alone.variables)


def assert_close(tree: Any, expected: Any) -> None:
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), tree, expected)


@pytest.mark.parametrize("kind", ["adam, plateau, ema", "schedule-free"])
def test_a_loaded_run_has_the_averaged_parameters(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    epochs: list[runs.Epoch] = []
    monkeypatch.setattr(command, "shows_reconstructions", epochs.append)
    run = fit(tmp_path / "run", **KINDS[kind])
    (_, last) = epochs
    assert run.dataset is not None
    images = run.dataset.test.images
    np.testing.assert_array_equal(run.reconstruct(images), last.trained.reconstruct(images))
    # Its own test of the last epoch was of the same parameters.
    errors = np.square(run.reconstruct(images) - images).mean()
    np.testing.assert_allclose(run.history["test_mse"][-1], errors, rtol=1e-5)
    raw = last.state.params["encoder"]["Dense_0"]["kernel"]
    assert not np.allclose(run.variables["params"]["encoder"]["Dense_0"]["kernel"], raw)


@pytest.mark.parametrize("kind", ["adam, plateau, ema", "schedule-free"])
def test_load_tests_and_draws_the_averaged_parameters(kind: str, tmp_path: Path) -> None:
    given = {**OPTIONS, "batch_size": 250, "epochs": 1}
    run = jaxae.fit("mnist_mini", "vae", out=tmp_path / "run", **given, **KINDS[kind])
    line = f"--load {tmp_path}/run --out {tmp_path}/again"
    command.main(cli.parse(command.Options, line.split()))
    again = runs.read_summary(tmp_path / "again")
    np.testing.assert_allclose(again["test_loss"], run.history["test_loss"][-1], rtol=1e-6)
    for picture in ("epoch_001.png", "samples.png"):
        first, second = (tmp_path / name / "pictures" / picture for name in ("run", "again"))
        assert first.read_bytes() == second.read_bytes()


def own(out: Path, epochs: int, **more: Any) -> jaxae.TrainedRun:
    """Trains an objective and an optimizer of one's own."""
    optimizer = optax.contrib.schedule_free_adamw(1e-2)
    given: Any = {**OWN, "optimizer": optimizer, "batch_size": 32, "epochs": epochs}
    return jaxae.fit(SCALED, squared_error, out=out, **given, **more)


def test_an_optimizer_of_ones_own_is_loaded_with_its_average(tmp_path: Path) -> None:
    run = own(tmp_path / "run", 2)
    leaves = leaves_of(tmp_path / "run")
    params = run.variables["params"]
    for name, leaf in checkpoint.named_leaves(params).items():
        averaged, raw = leaves[f"averaged/{name}"], leaves[f"state/params/{name}"]
        assert averaged["crc32"] == checksum(leaf) != raw["crc32"]
    assert run.dataset is not None
    images = run.dataset.test.images
    errors = np.square(run.reconstruct(images) - images).mean()
    np.testing.assert_allclose(run.history["test_mse"][-1], errors, rtol=1e-5)


def test_a_run_whose_version_saved_no_average_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(state: train.State, totals: train.Metrics) -> dict[str, Any]:
        return {"state": state, "totals": totals}

    own(tmp_path / "whole", 2)
    with monkeypatch.context() as patch:
        for module in (position, training):
            patch.setattr(module, "saved_tree", without)
        own(tmp_path / "part", 1)
    assert not any(name.startswith("averaged/") for name in leaves_of(tmp_path / "part"))
    own(tmp_path / "part", 2, resume=True)
    assert leaves_of(tmp_path / "part") == leaves_of(tmp_path / "whole")


def test_a_member_takes_the_name_of_an_optimizer_and_resumes_it(tmp_path: Path) -> None:
    fit(tmp_path / "run", optimizer="muon", epochs=1)
    options = runs.read_config(tmp_path / "run").values["options"]
    assert (options["optimizer"], options["weight_decay"]) == ("muon", None)
    with pytest.raises(UserError, match=r'^optimizer="adam": the run to resume'):
        fit(tmp_path / "run", optimizer="adam", resume=True)
    resumed = jaxae.fit(SCALED, optimizer="muon", epochs=2, out=tmp_path / "run", resume=True)
    assert len(resumed.history["epoch"]) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"schedule": "warmup-cosine"}, "falls to 0 at epoch 2"),
        ({"optimizer": "schedule-free", "warmup": 0.5}, "still rises at epoch 2, for 0.5 of all"),
    ],
)
def test_a_rate_that_depends_on_the_epochs_is_not_resumed_with_others(
    options: dict[str, Any], message: str, tmp_path: Path
) -> None:
    fit(tmp_path / "run", **options)
    before = leaves_of(tmp_path / "run")
    with pytest.raises(UserError, match=message):
        fit(tmp_path / "run", **options, epochs=9, resume=True)
    assert leaves_of(tmp_path / "run") == before
    if "optimizer" in options:  # whose rate rises no more
        assert len(fit(tmp_path / "run", epochs=4, resume=True).history["epoch"]) == 4


def test_a_plateau_observes_the_tests_of_a_run_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test after the last epoch alone is not observed, because a longer run has none there."""
    monkeypatch.setattr(records, "watched_loss", constant)
    given: dict[str, Any] = {"schedule": "plateau", "evaluate_every": 2}
    fit(tmp_path / "whole", **given, epochs=4)
    fit(tmp_path / "part", **given, epochs=3)
    jaxae.fit(SCALED, "vae", out=tmp_path / "part", resume=True, epochs=4)
    assert leaves_of(tmp_path / "part") == leaves_of(tmp_path / "whole")
