"""Sweeps that train: each cell as if it were alone, whatever happens to the others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxae import cli, devices, runs
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.runs import read_config, read_records
from jaxae.sweeps import Cell, Result, make_cells, read_axes, train_cells
from jaxae.sweeps.cells import read_cells

pytestmark = pytest.mark.slow

TINY = "--dataset tiny.npz --hidden 8 --batch-size 20 --epochs 3"


def sweep(
    line: str, report: Callable[[Cell, Result], None] = lambda *_: None, most: int | None = None
) -> dict[str, str]:
    """Trains the cells of a line; returns the errors."""
    cells = read_cells(make_cells(read_axes(f"{TINY} {line}".split())), Path("out"))
    return train_cells(cells, Path("out/log.txt"), report, most=most)


def alone(line: str) -> list[dict[str, Any]]:
    """Returns the records of a run of `jaxae train`, without the times."""
    train.main(cli.parse(train.Options, f"{TINY} {line} --out alone".split()))
    return untimed("alone")


def untimed(folder: str) -> list[dict[str, Any]]:
    times = ("seconds", "images_per_second")
    return [
        {name: value for name, value in line.items() if name not in times}
        for line in read_records(Path(folder))
    ]


def close(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    assert [line.keys() for line in ours] == [line.keys() for line in theirs]
    for mine, other in zip(ours, theirs, strict=True):
        for name, value in mine.items():
            if isinstance(value, str):
                assert value == other[name]
            else:
                np.testing.assert_allclose(value, other[name], rtol=1e-4)


@pytest.mark.parametrize(
    ("line", "cell", "same"),
    [
        (
            "--objective beta-vae --beta 1 3 --learning-rate 0.001 0.01",
            "beta-3_learning-rate-0.01",
            "--objective beta-vae --beta 3 --learning-rate 0.01",
        ),
        (
            "--objective vq --codebook 8 --commitment 0.1 0.5 --replicas 2 --seed 0 5",
            "commitment-0.5_seed-5",
            "--objective vq --codebook 8 --commitment 0.5 --replicas 2 --seed 5",
        ),
        (
            "--schedule plateau --ema 0.9 --validation 6 --seed 1 2",
            "seed-2",
            "--schedule plateau --ema 0.9 --validation 6 --seed 2",
        ),
    ],
)
def test_a_cell_trains_like_a_run_alone(line: str, cell: str, same: str) -> None:
    assert sweep(line, most=100) == {}
    folder = Path("out") / cell
    close(untimed(str(folder)), alone(same))
    trained, expected = (runs.load(each) for each in (folder, Path("alone")))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
        trained.variables,
        expected.variables,
    )
    config = read_config(folder)
    assert config.command == f"jaxae train {TINY} {same} --out {folder}"


def test_cells_train_together_by_vmap_on_other_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    line = "--objective denoising --noise 0.1 0.5 --replicas 2"
    with monkeypatch.context() as patch:
        patch.setattr(devices, "is_on_one_cpu", lambda tree: False)
        assert sweep(line, most=100) == {}
    close(untimed("out/noise-0.5"), alone("--objective denoising --noise 0.5 --replicas 2"))


def test_a_failed_cell_does_not_stop_the_others() -> None:
    seen: list[tuple[str, str]] = []
    errors = sweep(
        "--objective vae beta-vae --beta 2 4",
        lambda cell, result: seen.append((cell.name, result.state)),
    )
    assert list(errors) == ["objective-vae_beta-2", "objective-vae_beta-4"]
    assert "vae has no such setting" in errors["objective-vae_beta-2"]
    ended = [pair for pair in seen if pair[1] in ("done", "failed")]
    assert sorted(ended) == [
        ("objective-beta-vae_beta-2", "done"),
        ("objective-beta-vae_beta-4", "done"),
        ("objective-vae_beta-2", "failed"),
        ("objective-vae_beta-4", "failed"),
    ]
    assert not list(Path("out").glob("objective-vae*"))


@pytest.mark.parametrize("name", ["config.json", "metrics.jsonl", "summary.json"])
def test_a_damaged_cell_does_not_stop_the_others(name: str) -> None:
    assert sweep("--seed 0 1") == {}
    damaged = Path("out/seed-0") / name
    damaged.write_text("{\n", encoding="utf-8")
    errors = sweep("--seed 0 1 2")
    assert errors.keys() == {"seed-0"}
    assert f"{damaged}" in errors["seed-0"]
    assert errors["seed-0"].endswith("or remove out/seed-0 to train the run anew")
    assert damaged.read_text(encoding="utf-8") == "{\n"
    assert (Path("out/seed-2") / "summary.json").exists()


def test_a_cell_that_diverges_ends_alone() -> None:
    line = f"{TINY.replace('20', '5')} --seed 0 1 --learning-rate 1e-3 1e38"
    cells = read_cells(make_cells(read_axes(line.split())), Path("out"))
    errors = train_cells(cells, Path("out/log.txt"), lambda *_: None, most=100)
    assert list(errors) == [f"seed-{seed}_learning-rate-1e38" for seed in (0, 1)]
    assert all("not finite" in error for error in errors.values())
    for seed in (0, 1):
        lines = read_records(Path(f"out/seed-{seed}_learning-rate-1e-3"))
        assert [line["epoch"] for line in lines] == [1, 2, 3]
        assert np.isfinite([line["train_loss"] for line in lines]).all()
        assert not any(line["train_skipped_steps"] for line in lines)
    log = Path("out/log.txt").read_text(encoding="utf-8")
    assert all(f"out/{name}: {error}" in log for name, error in errors.items())


def test_an_error_in_a_group_is_tried_in_each_cell_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    together = runs.train_together

    def lack_memory(pairs: Any) -> Any:
        if len(pairs) > 1 or pairs[0][0].shared.seed == 1:
            raise MemoryError("no memory\nfor this")
        return together(pairs)

    monkeypatch.setattr(runs, "train_together", lack_memory)
    assert sweep("--seed 0 1 2", most=100) == {"seed-1": "MemoryError: no memory for this"}
    assert len(read_records(Path("out/seed-2"))) == 3
    assert "Traceback" in Path("out/log.txt").read_text(encoding="utf-8")


def test_a_sweep_continues_where_it_was_stopped() -> None:
    line = "--seed 0 1 --latent 2 3"

    def stop_in_the_second_group(cell: Cell, result: Result) -> None:
        if cell.name == "seed-0_latent-3" and result.epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(line, stop_in_the_second_group, most=2)
    assert (Path("out/seed-1_latent-2") / "summary.json").exists()
    assert len(read_records(Path("out/seed-0_latent-3"))) == 2
    before = (Path("out/seed-0_latent-2") / "metrics.jsonl").read_bytes()
    states: list[tuple[str, str]] = []
    assert sweep(line, lambda cell, result: states.append((cell.name, result.state)), most=2) == {}
    assert ("seed-0_latent-2", "training") not in states
    assert (Path("out/seed-0_latent-2") / "metrics.jsonl").read_bytes() == before
    close(untimed("out/seed-1_latent-3"), alone("--seed 1 --latent 3"))
    longer = [*TINY.replace("--epochs 3", "--epochs 4").split(), "--seed", "0", "--latent", "2"]
    (cell,) = read_cells({"seed-0_latent-2": longer}, Path("out"))
    assert not cell.is_finished
    assert train_cells([cell], Path("out/log.txt"), lambda *_: None) == {}
    assert len(read_records(cell.folder)) == 4


def test_cells_stop_early_on_their_own() -> None:
    line = "--patience 1 --learning-rate 1e-3 3.0"
    assert sweep(line, most=100) == {}
    summaries = {
        name: runs.read_summary(Path("out") / name)
        for name in ("learning-rate-1e-3", "learning-rate-3.0")
    }
    assert summaries["learning-rate-1e-3"]["epoch"] == 3
    assert summaries["learning-rate-3.0"]["stopped_early"]
    assert sweep(line, most=100) == {}  # nothing is left to train


def test_a_cell_that_was_killed_before_its_last_picture_gets_it() -> None:
    assert sweep("--seed 0 1") == {}
    picture = Path("out/seed-1/pictures/samples.png")
    picture.unlink()
    records = Path("out/seed-1/metrics.jsonl").read_bytes()
    states: list[tuple[str, str]] = []
    assert sweep("--seed 0 1", lambda cell, result: states.append((cell.name, result.state))) == {}
    assert picture.exists()
    assert Path("out/seed-1/metrics.jsonl").read_bytes() == records
    assert [state for name, state in states if name == "seed-0"] == ["done"]


def test_a_cell_that_another_process_has_finished_is_done() -> None:
    states: list[tuple[str, str]] = []

    def finish_the_other(cell: Cell, result: Result) -> None:
        states.append((cell.name, result.state))
        if (cell.name, result.state) == ("latent-2", "training") and not Path(
            "out/latent-3"
        ).exists():
            train.main(cli.parse(train.Options, f"{TINY} --latent 3 --out out/latent-3".split()))

    assert sweep("--latent 2 3", finish_the_other) == {}
    assert [state for name, state in states if name == "latent-3"] == ["waiting", "done"]


def test_an_interrupt_finds_all_cells_of_a_group_at_the_same_step() -> None:
    def interrupt(cell: Cell, result: Result) -> None:
        if result.epoch == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep("--seed 0 1 2", interrupt, most=3)
    assert [len(read_records(Path(f"out/seed-{seed}"))) for seed in range(3)] == [1, 1, 1]
    assert sweep("--seed 0 1 2", most=3) == {}
    close(untimed("out/seed-2"), alone("--seed 2"))


def test_another_option_is_refused_for_a_cell_that_has_started() -> None:
    assert sweep("--seed 0 1") == {}
    with pytest.raises(UserError, match=r"seed-0: --hidden 4: the run to resume was started with"):
        read_cells({"seed-0": [*TINY.replace("--hidden 8", "--hidden 4").split()]}, Path("out"))
