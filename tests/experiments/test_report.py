"""The page of results, made of short trainings."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import report
import report_page
from jaxae.errors import UserError
from jaxae.runs import format_figure
from report_recipes import RECIPES, PeerFigures, published_epochs
from support.commands import REPOSITORY, start

LINE = "--run --recipes deep --seeds 2 --epochs 1 --dataset mnist_mini --out page"


def rows_of(page: str) -> list[list[str]]:
    """Returns the cells of the rows in the page's first table, whose labels are links."""
    rows = re.findall(r"^\| (\[.*) \|$", page, re.MULTILINE)
    return [row.split(" | ") for row in rows]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a recipe was trained and reported."""
    folder = tmp_path_factory.mktemp("place")
    process = start("report", LINE, folder)
    assert process.returncode == 0, process.stderr
    return folder


@pytest.mark.slow
def test_a_recipe_is_trained_evaluated_and_tabulated(place: Path) -> None:
    run = place / "results" / "recipes" / "deep-1x2"
    summary = json.loads((run / "summary.json").read_text())
    evaluation = json.loads((run / "judged" / "evaluation.json").read_text())
    page = (place / "page" / "README.md").read_text()
    ((label, epochs, seeds, _, test_loss, *_),) = rows_of(page)
    assert (epochs, seeds) == ("1 of 5", "2")
    mean, deviation = map(float, test_loss.split(" ± "))
    losses = summary["test_loss_replicas"]
    assert mean == pytest.approx(sum(losses) / 2, rel=1e-2)
    assert deviation == pytest.approx(abs(losses[0] - losses[1]) / 2**0.5, rel=0.1)
    assert f"SSIM {format_figure(evaluation['figures'], 'test_ssim')}" in page
    assert "    python experiments/deep.py --epochs 1 --replicas 2 --dataset mnist_mini\n" in page
    assert str(place) not in page
    anchor = re.findall(r"\(#(\S+)\)", label)[0]
    assert f'<a id="{anchor}"></a>' in page
    pictures = re.findall(r"\(pictures/(\S+)\)", page)
    assert len(pictures) == 4
    assert all((place / "page" / "pictures" / name).exists() for name in pictures)


@pytest.mark.slow
def test_a_finished_recipe_is_not_repeated(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = place / "page" / "README.md"
    before = page.read_text()
    page.write_text(f"{before}\n<!-- mine -->\nkept\n<!-- end of mine -->\n")
    monkeypatch.chdir(place)
    monkeypatch.setattr(report.jobs, "run", lambda words: pytest.fail("repeats a run"))
    options = report.Options(
        run=True, recipes=("deep",), seeds=2, epochs=1, dataset="mnist_mini", out=Path("page")
    )
    report.main(options)
    assert page.read_text() == f"{before}\n<!-- mine -->\nkept\n<!-- end of mine -->\n"
    with pytest.raises(UserError, match=r"another command .* give another --folder"):
        report.main(replace(options, dataset="fashion_mnist_mini"))


def test_the_tracked_page_is_not_the_default() -> None:
    assert report.Options().out != Path("results")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "give --run, which trains the recipes, or the folders"),
        ("--run somewhere", "and not both"),
        ("--run --seeds 0", "--seeds 0: give 1 or more"),
        ("--run --epochs 0", "--epochs 0: give 1 or more"),
        ("--run --recipes vea", "--recipes vea: give some of fashion, denoise"),
        ("--run --recipes deep deep", "--recipes deep deep: give some of fashion, denoise"),
        ("--run --recipes", "give some of fashion, denoise"),
        ("--run --pytorch page.json", "page.json"),
    ],
)
def test_bad_options_are_reported_before_training(
    arguments: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "page.json").write_text('{"deep": {"0": {"epochs": 5}}}')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["report.py", *arguments.split()])
    with pytest.raises(SystemExit) as end:
        report.run_tool(report.main, report.Options, description=report.__doc__)
    assert end.value.code == 2
    assert said in capsys.readouterr().err


def test_the_spread_of_peers_is_that_of_samples() -> None:
    seeds = [PeerFigures("mnist", 5, 1.0, loss, 0.5, "PyTorch") for loss in (1.0, 2.0, 3.0)]
    spread = report_page._spread(seeds)
    assert (spread["test_loss"], spread["test_loss_std"]) == (2.0, 1.0)
    assert "test_loss_std" not in report_page._spread(seeds[:1])
    assert report_page._spread([]) == {}


def test_the_tracked_page_has_every_recipe_whole_with_its_spread() -> None:
    """Five seeds of the published length, at one commit, beside three of PyTorch."""
    page = (REPOSITORY / "results/README.md").read_text(encoding="utf-8")
    commits = re.findall(r"^All runs: commit ([0-9a-f]{40}), ", page, re.MULTILINE)
    assert len(commits) == 1
    rows = {row[0]: row[1:] for row in rows_of(page)}
    spread = re.compile(r"[\d.]+ ± [\d.]+")
    for wanted in RECIPES.values():
        label = f"{wanted.experiment} {wanted.arguments}".strip()
        (cells,) = [cells for link, cells in rows.items() if link.startswith(f"[{label}](")]
        epochs, seeds, *ours = cells[:5]
        assert epochs == str(published_epochs(wanted.experiment))
        assert int(seeds) >= 5
        assert all(map(spread.fullmatch, ours))
        if wanted.peer is not None:
            peers, *theirs = cells[5:]
            assert int(peers) >= 3
            assert all(map(spread.fullmatch, theirs))
    pictures = re.findall(r"\(pictures/(\S+?)\)", page)
    assert all((REPOSITORY / "results/pictures" / name).exists() for name in pictures)
