"""Lists and tables of runs, on folders that the tests write."""

import csv
import io
import math
import os
import re
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from scipy import stats

from jaxae import comparison
from jaxae.commands import compare as compare_command
from jaxae.commands import runs as runs_command
from jaxae.errors import UserError
from support.written_runs import write_run


def list_runs(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    runs_command.start(list(arguments), program="jaxae runs")
    return capsys.readouterr().out.splitlines()


# Lists.


def test_runs_are_found_below_folders_but_no_other_configs(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "deep/b")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/config.json").write_text("{}")
    (write_run(tmp_path / "a/export") / "export.json").write_text("{}")
    assert comparison.find_runs([tmp_path]) == [first, second]
    assert comparison.find_runs([second, tmp_path]) == [second, first]
    for place, message in (("nowhere", "not a folder"), ("other", "has no run")):
        with pytest.raises(UserError, match=message):
            comparison.find_runs([tmp_path / place])


def test_each_state_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "finished")
    write_run(tmp_path / "early", summary={"stopped_early": True})
    write_run(tmp_path / "diverged", summary={"warning": "it diverged"})
    write_run(tmp_path / "unfinished", finished=False)
    write_run(tmp_path / "running", finished=False)
    expected = {
        "finished": "finished",
        "early": "stopped early",
        "diverged": "diverged",
        "unfinished": "unfinished",
        "running": "running",
    }
    (tmp_path / "unfinished/.lock").touch()  # of a process that was killed
    with FileLock(tmp_path / "running/.lock"):
        found = {folder.name: comparison.listed(folder).state for folder in tmp_path.iterdir()}
    assert found == expected


def test_the_list_has_a_line_for_each_run_and_marks_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(Path("results/a"), losses=(0.5, 0.7))
    write_run(Path("results/b"), losses=(0.4,))
    write_run(Path("results/c"), losses=(0.1,), objective="wae")  # another loss
    write_run(Path("results/d"), losses=(0.3,), fingerprint="b")  # other data
    for age, name in enumerate("dcba"):
        for path in Path("results", name).iterdir():
            os.utime(path, (0, 86400.0 * age))
    head, *lines = list_runs(capsys)
    assert head.split() == ["run", "member", "dataset", "state", "epochs", "test", "loss", "age"]
    assert [line.split()[0] for line in lines] == [f"results/{name}" for name in "dcba"]
    assert re.match(r"results/a +vae +mnist +finished +3/3 +0.60 ± 0.14 +\d+ days$", lines[3])
    assert re.match(r"results/b +vae +mnist +finished +3/3 +0.4\* +\d+ days$", lines[2])
    assert [line.split()[0] for line in list_runs(capsys, "results", "--sort", "loss")[1:]] == [
        f"results/{name}" for name in "cdba"
    ]
    assert list_runs(capsys, "results", "--best") == ["results/b"]
    with pytest.raises(SystemExit):
        list_runs(capsys, "results/a", "results/c", "--best")
    said = capsys.readouterr()
    assert said.out == ""
    assert "no run is the best" in said.err


@pytest.mark.parametrize(
    ("command", "objective", "expected"),
    [
        ("jaxae train --latent 3", "vae", "jaxae train --resume RUN"),
        ("python experiments/family.py", "vae", "python experiments/family.py --resume RUN"),
        ("python experiments/fashion.py", None, "python experiments/fashion.py --resume RUN"),
        ("python mine.py --fast", "vae", "jaxae.fit(..., out='RUN', resume=True)"),
        ("python -m ipykernel", "vae", "jaxae.fit(..., out='RUN', resume=True)"),
    ],
)
def test_the_line_that_resumes_an_unfinished_run(
    command: str,
    objective: str | None,
    expected: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = write_run(tmp_path / "a", finished=False, command=command, objective=objective)
    lines = list_runs(capsys, str(tmp_path))
    assert lines[-1] == f"    {expected.replace('RUN', folder.as_posix())}"
    assert "1/3" in lines[1]


# Tables.


@pytest.fixture
def compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three settings: one of two runs with other seeds, one of replicas, one that was evaluated."""
    monkeypatch.chdir(tmp_path)
    write_run(Path("a"), losses=(5.0,), seed=0, beta=1.0, latent=2)
    write_run(Path("b"), losses=(7.0,), seed=1, beta=1.0, latent=2)
    write_run(Path("c"), losses=(4.0, 5.0), seed=0, beta=1.0, latent=8)
    write_run(Path("d"), losses=(9.0,), beta=4.0, latent=8, evaluation={"fid": 3.5})
    return tmp_path


def test_runs_that_differ_only_in_their_seeds_share_a_row(compared: Path) -> None:
    found = comparison.compare(comparison.find_runs([Path()]))
    assert found.options == ("latent", "beta")
    assert [dict(row.options) for row in found.rows] == [
        {"latent": "2", "beta": "1.0"},
        {"latent": "8", "beta": "1.0"},
        {"latent": "8", "beta": "4.0"},
    ]
    assert [row.values_of("test_loss") for row in found.rows] == [[5, 7], [4, 5], [9]]
    assert found.rows[0].deviation("test_loss") == pytest.approx(2**0.5)
    assert found.figures == ("test_loss", "fid", "training_seconds")
    assert found.best("test_loss") == {1}
    assert found.best("fid") == set()  # of one row
    assert found.best("training_seconds") == set()  # no direction


def test_losses_of_other_objectives_or_data_are_not_compared(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", losses=(1.0,), evaluation={"fid": 2.0}),
        write_run(tmp_path / "b", losses=(2.0,), objective="wae", evaluation={"fid": 1.0}),
    ]
    found = comparison.compare(folders)
    assert found.options == ("objective",)
    assert found.best("test_loss") == set()
    assert found.best("fid") == {1}
    folders.append(write_run(tmp_path / "d", losses=(0.5,), latent=2, evaluation={"fid": 3.0}))
    assert comparison.compare(folders).best("test_loss") == {2}  # of the rows of one objective
    folders.append(write_run(tmp_path / "c", fingerprint="b", evaluation={"fid": 0.0}))
    assert comparison.compare(folders).best("fid") == set()


def test_losses_of_other_weights_are_not_compared(tmp_path: Path) -> None:
    figures = {"test_mse": 0.1}
    for beta in (None, 2.0, 4.0):
        options: dict[str, Any] = {} if beta is None else {"beta": beta}
        write_run(tmp_path / f"{beta}", objective="beta-vae", summary=figures, **options)
    table = comparison.compare([tmp_path / "None", tmp_path / "2.0"], ["test_loss", "test_mse"])
    assert table.best("test_loss") == set()
    assert table.best("test_mse") == {0, 1}
    default = comparison.compare([tmp_path / "None", tmp_path / "4.0"], ["test_loss"])
    assert len(default.rows) == 1  # the default is 4


def test_options_that_a_run_does_not_have_are_no_difference(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", clip=None),
        write_run(tmp_path / "b", objective=None),
        write_run(tmp_path / "c", clip=1.0),
    ]
    found = comparison.compare(folders)
    assert found.options == ("experiment", "clip")
    assert [row.options["clip"] for row in found.rows] == ["default", "-", "1.0"]


def table(capsys: pytest.CaptureFixture[str], line: str) -> str:
    compare_command.start(line.split(), program="jaxae compare")
    return capsys.readouterr().out


def test_text(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, first, second, third = table(capsys, ". --figures test_loss fid").splitlines()
    assert head.split() == ["run", "latent", "beta", "seeds", "test", "loss", "FID"]
    assert first.split() == ["a", "and", "1", "more", "2", "1.0", "2", "6.0", "±", "1.4", "-"]
    assert second.split() == ["c", "8", "1.0", "2", "4.50", "±", "0.71*", "-"]
    assert third.split() == ["d", "8", "4.0", "1", "9", "3.5"]
    assert len({len(line) for line in (head, first, second, third)}) == 1


def test_a_figure_that_some_seeds_lack_says_so(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=0, evaluation={"fid": 3.5})
    write_run(tmp_path / "b", seed=1)
    (row,) = comparison.compare(comparison.find_runs([tmp_path])).rows
    assert row.text("fid") == "3.5 (1 of 2)"
    assert "of" not in row.text("test_loss")


def test_runs_that_are_damaged_or_not_finished_are_named(
    compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (compared / "a/config.json").write_text("{")
    (compared / "d/evaluation.json").write_text("[]")
    write_run(Path("e"), finished=False, latent=16)
    compare_command.start(["."], program="jaxae compare")
    compare, listing = capsys.readouterr(), list_runs(capsys, ".")
    assert [line.split()[0] for line in compare.out.splitlines()] == ["run", "b", "c", "e"]
    # A list of runs does not show what an evaluation found.
    assert sorted(line.split()[0] for line in listing[1:5]) == ["b", "c", "d", "e"]
    for damaged in ("a/config.json", "d/evaluation.json"):
        assert re.search(rf"^warning: left out: .*{damaged}", compare.err, re.MULTILINE)
    assert "warning: e is unfinished, after 1 of 3 epochs\n" in compare.err
    for damaged in "bc":
        (compared / damaged / "config.json").write_text("{")
    (compared / "e/config.json").write_text("{")
    with pytest.raises(UserError, match=r"a/config\.json"):
        comparison.compare(comparison.find_runs([Path()]))


def test_markdown_and_latex(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = table(capsys, ". --figures test_loss --format markdown").splitlines()
    assert lines[0] == "| run | latent | beta | seeds | test loss |"
    assert lines[3] == "| c | 8 | 1.0 | 2 | **4.50 ± 0.71** |"
    assert table(capsys, ". --figures test_loss fid --format latex").splitlines() == [
        r"\begin{tabular}{lllrrr}",
        r"\toprule",
        r"run & latent & beta & seeds & test loss & FID \\",
        r"\midrule",
        r"a and 1 more & 2 & 1.0 & $2$ & $6.0 \pm 1.4$ & -- \\",
        r"c & 8 & 1.0 & $2$ & $\mathbf{4.50 \pm 0.71}$ & -- \\",
        r"d & 8 & 4.0 & $1$ & $9$ & $3.5$ \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_latex_escapes_names(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / name) for name in ("50%_of", "b")]
    found = comparison.render(comparison.compare(folders[:1]), "latex")
    assert r"50\%\_of" in found


def test_rows_are_named_below_the_folder_that_they_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(("a/first", "a/b/second", "a/b/third")):
        write_run(Path("results/deep", name), latent=2 if number else 8, seed=number)
    lines = table(capsys, "results").splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == ["b/second and 1 more", "first"]
    runs_of = list(csv.DictReader(io.StringIO(table(capsys, "results --format csv"))))
    assert [row["run"] for row in runs_of] == [
        "results/deep/a/b/second",
        "results/deep/a/first",
    ]
    folders = [Path("results/deep/a/first"), tmp_path / "results/deep/a/b/second"]
    assert comparison.compare(folders).names == [folder.as_posix() for folder in folders]


def test_csv_has_every_digit(compared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert table(capsys, ". --figures test_loss fid --format csv --out new/table.csv") == (
        "done: new/table.csv\n"
    )
    text = Path("new/table.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["run"] for row in rows] == ["a", "c", "d"]
    assert float(rows[0]["test_loss_std"]) == pytest.approx(2**0.5, abs=0, rel=1e-15)
    assert rows[2]["test_loss_std"] == rows[0]["fid"] == ""
    assert float(rows[2]["fid"]) == 3.5


def test_significance_is_a_paired_t_test_over_shared_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = (3.0, 4.0, 6.0), (3.5, 4.25, 7.0)
    folders = [
        write_run(tmp_path / "a", losses=ours, latent=2),
        write_run(tmp_path / "b", losses=(*theirs, 9.0), latent=8),  # one seed more
        write_run(tmp_path / "c", losses=(9.0,), latent=16),
    ]
    found = comparison.compare(folders, significance="test_loss")
    assert found.probabilities is not None
    assert found.probabilities.keys() == {1}
    expected = stats.ttest_rel(theirs, ours).pvalue
    assert found.probabilities[1] == pytest.approx(expected)
    lines = table(capsys, f"{tmp_path} --figures test_loss --significance test_loss").splitlines()
    assert lines[0].endswith("p of test loss")
    assert [line.split()[-1] for line in lines[1:]] == ["-", f"{expected:.2g}", "-"]


def test_a_diverged_seed_is_no_number_and_leaves_the_test(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", losses=(3.0, 4.0, 6.0, math.nan), latent=2),
        write_run(tmp_path / "b", losses=(3.5, 4.25, 7.0, 1.0), latent=8),
        write_run(tmp_path / "c", losses=(1.0, 2.0), latent=16),
        write_run(tmp_path / "d", losses=(2.0,), seed=1, latent=16, summary={"test_loss": None}),
    ]
    folders.append(write_run(tmp_path / "e", losses=(9.0,), latent=32))
    found = comparison.compare(folders, ["test_loss"], significance="test_loss")
    lines = comparison.render(found, "text").splitlines()[1:]
    assert [line.split()[-2] for line in lines] == ["nan", "2.5*", "nan", "9"]
    assert found.best("test_loss") == {1}
    expected = stats.ttest_rel((3.0, 4.0, 6.0), (3.5, 4.25, 7.0)).pvalue
    assert found.probabilities == {0: pytest.approx(expected)}


def test_rows_are_tested_against_the_best_of_their_objective(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", losses=(3.0, 4.0, 6.0), latent=2),
        write_run(tmp_path / "b", losses=(3.5, 4.25, 7.0), latent=8),
        write_run(tmp_path / "c", losses=(1.0, 1.5, 1.0), objective="wae"),
    ]
    found = comparison.compare(folders, significance="test_loss").probabilities
    assert found == {1: pytest.approx(stats.ttest_rel((3.0, 4.0, 6.0), (3.5, 4.25, 7.0)).pvalue)}


def test_without_a_best_row_the_cause_is_told(tmp_path: Path) -> None:
    figures = {"fid": 2.0, "active_units": 3}
    folders = [
        write_run(tmp_path / "a", evaluation=figures),
        write_run(tmp_path / "b", objective="wae", evaluation=figures),
        write_run(tmp_path / "c", fingerprint="b", evaluation=figures),
    ]
    for count, figure, message in (
        (2, "test_loss", "no two rows are of one objective .*; give one of fid$"),
        (2, "active_units", "active_units has no better side; give one of fid$"),
        (1, "fid", "fewer than two rows .*; give other runs$"),
        (3, "fid", "the rows are of several datasets"),
    ):
        with pytest.raises(UserError, match=message):
            comparison.compare(folders[:count], significance=figure)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("", "no run was given: give runs, or folders of runs"),
        (". --figures accuracy", "no run has the figure accuracy: give some of epoch, fid"),
        (". --significance fid", "there is no best row, because fewer than two rows"),
        ("nowhere", "nowhere is not a folder"),
        (". --page a/config.json", "--page a/config.json: give a name that ends in .html"),
        (". --out a/summary.json", "a/summary.json is a file of the run a; give another"),
        (". --page table.txt", "--page table.txt: give a name that ends in .html"),
        (". --page a.html --out a.html", "--out and --page are both a.html: give two files"),
        (". --plot test_loss --against seed", "runs that differ only in their seeds share a row"),
    ],
)
def test_a_mistake_gets_one_error(
    line: str, message: str, compared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        compare_command.start(line.split(), program="jaxae compare")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
