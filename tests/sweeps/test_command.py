"""`jaxae sweep` as a user starts it: its list, its table, and what it says of mistakes."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from jaxae import sweeps
from jaxae.sweeps import Result, make_cells, read_axes
from jaxae.sweeps.cells import read_cells
from jaxae.sweeps.display import describe_time, make_table, show_progress

TINY = "--dataset tiny.npz --batch-size 20 --epochs 2"


def start(line: str) -> int:
    """Starts the command in this process; returns its exit code."""
    try:
        sweeps.start(f"{TINY} {line}".split(), program="jaxae sweep")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.slow
def test_a_sweep_is_listed_trained_and_compared(capsys: pytest.CaptureFixture[str]) -> None:
    line = "--objective vae rae-l2 --hidden 4 --hidden 8 --seed 0 1 --out out"
    assert start(f"{line} --dry-run") == 0
    listed = capsys.readouterr().out
    # 64 x 4 weights in and out, 4 x 40 of the posterior, 20 x 4 of the decoder, and biases.
    parameters = 2 * 64 * 4 + 4 * 40 + 20 * 4 + 4 + 40 + 4 + 64
    assert re.search(rf"^objective-vae_hidden-4_seed-0 +{parameters} +2 ", listed, re.MULTILINE)
    assert "8 runs, 8 of them to train: about" in listed
    assert not Path("out").exists()

    assert start(line) == 0
    output = capsys.readouterr().out
    assert len(re.findall(r"^\[\d/8\] objective-.* done: test loss \d", output, re.MULTILINE)) == 8
    table = output[output.index("\nrun ") :].splitlines()
    assert len([row for row in table if row.startswith("objective-")]) == 4  # of two seeds
    assert "epoch 2/2" in Path("out/log.txt").read_text(encoding="utf-8")

    assert start(f"{line} --dry-run") == 0
    assert "8 runs, 0 of them to train" in capsys.readouterr().out


@pytest.mark.slow
def test_the_time_of_a_run_that_was_stopped_is_that_of_its_other_epochs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "--dataset tiny.npz --batch-size 20 --hidden 4 --out out"
    sweeps.start(f"{line} --epochs 1 --seed 0 1".split())
    sweeps.start(f"{line} --epochs 3 --seed 0 1 2 --dry-run".split())
    listed = capsys.readouterr().out
    assert re.search(r"^seed-0 +[\d,]+ +2 of 3 ", listed, re.MULTILINE)
    assert re.search(r"^seed-2 +[\d,]+ +3 ", listed, re.MULTILINE)


@pytest.mark.slow
def test_failed_runs_are_named_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    line = "--objective vae beta-vae --beta 2 --hidden 4 --out out"
    assert start(line) == 2
    said = capsys.readouterr()
    assert "[1/2] objective-vae failed: --beta 2.0: vae has no such setting" in said.out
    assert "[2/2] objective-beta-vae done: test loss" in said.out
    assert said.err.endswith(
        "error: 1 of 2 runs failed (objective-vae), as said above and in out/log.txt: the same "
        "command tries them again\n"
    )
    assert start(f"{line} --dry-run") == 0
    listed = capsys.readouterr().out
    assert "\nobjective-vae fails: --beta 2.0: vae has no such setting" in listed
    assert re.search(r"objective-beta-vae +done", listed)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--out out --side-by-side 0", "--side-by-side 0: give 1 or more"),
        ("--out out --side-by-side -1", "--side-by-side -1: give 1 or more"),
        ("--out tiny.npz", "--out tiny.npz is a file: give a folder"),
        ("--out out --latent 2 8 --zip latent", "--zip latent: that is one option"),
        ("--out out --learning-rate -1 2", "--learning-rate -1.0: give a positive number"),
        ("--out out --latnt 2", "did you mean --latent?"),
        ("--out out --objective vae vea", "vea"),
        ("--latent 2", "--out"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(
    line: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start(line) == 2
    assert said in capsys.readouterr().err
    assert not Path("out").exists()


def test_the_table_has_room_for_what_matters() -> None:
    cells = read_cells(make_cells(read_axes(["--seed", *map(str, range(30))])), Path("out"))
    results = {cell.name: Result("waiting") for cell in cells}
    results["seed-29"] = Result("training", 2, {"test_loss": 1.2345678})
    results["seed-28"] = Result("failed", error="no room")
    results["seed-3"] = Result("done", 20, {"test_loss": 2.0, "test_loss_std": 0.5})
    console = Console(file=io.StringIO(), width=120)
    console.print(make_table(cells, results, passed=10.0, done_before=0))
    drawn = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert re.search(r"seed-29.*training.*2/20.*1\.235", drawn)
    assert re.search(r"seed-28.*failed.*no room", drawn)
    assert re.search(r"seed-3 .*done.*20/20.*2\.00 ± 0\.50", drawn)
    assert len(re.findall(r"seed-\d+", drawn)) == 20
    assert "2 of 30 runs have ended, 5 min are left" in drawn  # 10 s for each of 28


def test_a_name_or_an_error_is_no_markup() -> None:
    cells = read_cells({"[red]": ["--seed", "1"]}, Path("out"))
    results = {"[red]": Result("failed", error="no dataset data[/x] [batch, 784]")}
    console = Console(file=io.StringIO(), width=120)
    console.print(make_table(cells, results, passed=1.0, done_before=0))
    drawn = console.file.getvalue()  # pyright: ignore[reportAttributeAccessIssue]
    assert "no dataset data[/x] [batch, 784]" in drawn
    assert "[red]" in drawn


@pytest.mark.slow
def test_a_cell_that_fails_is_listed_as_such_and_the_others_are_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = "--objective info-vae --strength 0.2 100 --hidden 4 --side-by-side 2 --out out"
    assert start(f"{line} --dry-run") == 0
    listed = capsys.readouterr().out
    assert re.search(r"^strength-0\.2 +2 +fails$", listed, re.MULTILINE)
    assert "\nstrength-0.2 fails: alpha = 0.5" in listed
    assert re.search(r"^strength-100 +[\d,]+ +2 +\d+ s", listed, re.MULTILINE)


def test_other_outputs_get_a_line_for_each_end(capsys: pytest.CaptureFixture[str]) -> None:
    cells = read_cells(make_cells(read_axes(["--seed", "1", "2"])), Path("out"))
    with show_progress(cells) as report:
        report(cells[0], Result("training", 1, {"test_loss": 3.0}))
        report(cells[0], Result("done", 20, {"test_loss": 3.0}))
        report(cells[1], Result("failed", error="[red] is no markup"))
    assert capsys.readouterr().out == (
        "[1/2] seed-1 done: test loss 3\n[2/2] seed-2 failed: [red] is no markup\n"
    )


def test_time_spans_are_rounded_up() -> None:
    assert [describe_time(seconds) for seconds in (0.2, 89.5, 91, 5000, 9000)] == [
        "1 s",
        "90 s",
        "2 min",
        "84 min",
        "2.5 h",
    ]


def test_a_damaged_run_is_listed_as_such(capsys: pytest.CaptureFixture[str]) -> None:
    Path("out/seed-1").mkdir(parents=True)
    Path("out/seed-1/config.json").write_text("{}", encoding="utf-8")
    assert start("--seed 1 2 --out out --dry-run") == 0
    listed = capsys.readouterr().out
    assert re.search(r"^seed-1 +2 +fails$", listed, re.MULTILINE)
    assert "\nseed-1 fails: out/seed-1/config.json: experiment is missing" in listed
    assert "2 runs, 1 of them to train" in listed
