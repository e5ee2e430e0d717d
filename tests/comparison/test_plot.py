"""Plots of a figure against an option, on folders that the tests write."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxae import comparison, plots
from jaxae.commands import compare as compare_command
from jaxae.errors import UserError
from jaxae.plots.papers import spans_factors
from support.written_runs import write_run


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two objectives of three latents; one run has no beta, one was evaluated."""
    monkeypatch.chdir(tmp_path)
    for number, latent in enumerate((32, 2, 8)):
        for objective in ("vae", "wae"):
            losses = (5.0 + number, 5.5 + number, 7.0) if objective == "vae" else (1.0 + number,)
            folder = Path(f"sweep/{objective}-{latent}")
            write_run(folder, losses=losses, objective=objective, latent=latent)
    write_run(Path("more/beta"), losses=(2.0,), latent=4, beta=1.0, evaluation={"fid": 3.5})
    write_run(Path("more/betas"), losses=(2.0,), latent=4, beta=2.0)
    return tmp_path


def compared(*places: str) -> comparison.Comparison:
    return comparison.compare(comparison.find_runs([Path(place) for place in places]))


def test_points_are_the_means_and_deviations_of_rows(sweep: Path) -> None:
    found = compared("sweep")
    plot = comparison.plot_figure(found, "test_loss", "latent")
    assert plot.others == ("objective",)
    assert plot.categories == ()
    assert plot.lines.keys() == {"vae", "wae"}
    rows = {(row.options["objective"], row.options["latent"]): row for row in found.rows}
    for name, points in plot.lines.items():
        assert points.x.tolist() == [2, 8, 32]
        line = [rows[name, latent] for latent in ("2", "8", "32")]
        assert points.means.tolist() == [row.mean("test_loss") for row in line]
        np.testing.assert_array_equal(
            points.deviations, [row.deviation("test_loss") for row in line]
        )
    assert np.isfinite(plot.lines["vae"].deviations).all()
    assert np.isnan(plot.lines["wae"].deviations).all()  # of one seed


def test_an_option_of_words_has_categories(sweep: Path) -> None:
    plot = comparison.plot_figure(compared("sweep"), "test_loss", "objective")
    assert plot.categories == ("vae", "wae")
    assert plot.lines.keys() == {"2", "8", "32"}
    assert all(points.x.tolist() == [0, 1] for points in plot.lines.values())


@pytest.mark.parametrize(
    ("places", "figure", "option", "message"),
    [
        ("sweep", "accuracy", "latent", "no run has the figure accuracy: give some of epoch"),
        ("sweep", "test_loss", "colour", "no run has the option colour: give one of objective,"),
        ("sweep", "test_loss", "dataset", "dataset is mnist in all runs: give one of objective,"),
        ("more", "fid", "beta", "more/betas has no fid: leave it out"),
        ("sweep more", "test_loss", "beta", "sweep/vae-2 has no option beta"),
        ("sweep/vae-2", "test_loss", "latent", "latent is 2 in all runs: give runs whose options"),
    ],
)
def test_a_mistake_gets_one_error(
    places: str, figure: str, option: str, message: str, sweep: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        comparison.plot_figure(compared(*places.split()), figure, option)


def test_a_figure_that_is_not_finite_and_data_that_differ_are_refused(tmp_path: Path) -> None:
    folders = [
        write_run(tmp_path / "a", latent=2),
        write_run(tmp_path / "b", losses=(float("nan"),), latent=8),
    ]
    with pytest.raises(UserError, match=r"the test_loss of .*b is not finite"):
        comparison.plot_figure(comparison.compare(folders), "test_loss", "latent")
    folders[1] = write_run(tmp_path / "c", latent=4)
    folders.append(write_run(tmp_path / "d", latent=4, fingerprint="b"))
    with pytest.raises(UserError, match="the same options and other data"):
        comparison.plot_figure(comparison.compare(folders), "test_loss", "latent")


@pytest.mark.parametrize(
    ("places", "expected"),
    [
        ([2, 8, 32], True),
        ([1e-4, 1e-3], True),
        ([10, 20, 50, 100], True),
        ([1, 2, 3, 4], False),
        ([1, 2], False),
        ([0, 1, 10], False),
        ([5], False),
    ],
)
def test_the_axis_is_logarithmic_if_that_spaces_numbers_evenly(
    places: list[float], expected: bool
) -> None:
    assert spans_factors(np.array(places)) == expected


def draw(count: int) -> plots.Drawing:
    lines = {
        f"name {number}": plots.Points(np.array([2.0, 8, 32]), np.arange(3.0), np.full(3, 0.1))
        for number in range(count)
    }
    return plots.error_bars(lines, xlabel="latent", ylabel="test mse", legend="objective")


@pytest.mark.slow
def test_a_drawing_has_text_and_the_width_of_a_column() -> None:
    few, many = draw(1), draw(12)
    assert draw(12) == many  # without a date or a random name
    for drawing in (few, many):
        texts = re.findall(r"<text[^>]*>([^<]*)</text>", drawing.svg)
        assert {"latent", "test mse", "2", "8", "32"} <= set(texts)
        width = re.search(r'<svg [^>]*?width="([\d.]+)pt"', drawing.svg)
        assert width is not None
        assert float(width[1]) == pytest.approx(3.35 * 72)
        with Image.open(io.BytesIO(drawing.png)) as picture:
            assert picture.width == round(3.35 * 300)
    assert "name 0" not in few.svg
    assert all(f"name {number}<" in many.svg for number in range(12))
    heights = [Image.open(io.BytesIO(drawing.png)).height for drawing in (few, many)]
    assert heights[1] > heights[0]  # the legend is below


@pytest.mark.slow
def test_the_command_writes_both_files(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def start(line: str) -> str:
        compare_command.start(line.split(), program="jaxae compare")
        return capsys.readouterr().out

    told = start("sweep --plot test_loss --against latent")
    assert told.endswith("done: test_loss_by_latent.svg and test_loss_by_latent.png\n")
    assert "\nvae-2 " in told
    plotted = Path("test_loss_by_latent.svg").read_bytes()
    told = start("sweep --plot test_loss --against latent --out new/v0.1 --format csv")
    assert told == "done: new/v0.1\ndone: new/v0.1.svg and new/v0.1.png\n"
    assert Path("new/v0.1.svg").read_bytes() == plotted
    told = start("sweep --plot test_loss --against latent --out fig.png")
    assert "\nvae-2 " in told  # the table is printed, because the ending is a picture's
    assert Path("fig.svg").read_bytes() == plotted


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sweep --plot test_loss", "--plot and --against belong together"),
        ("sweep --against latent", "--plot and --against belong together"),
        ("sweep --out fig.svg", "--out fig.svg is a picture: give --plot"),
        ("sweep --page sweep", "--page sweep is a folder: give the file to write"),
        ("sweep --plot test_loss --against x --out new/t", "no run has the option x"),
    ],
)
def test_wrong_options_write_nothing(
    line: str, message: str, sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as end:
        compare_command.start(line.split(), program="jaxae compare")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
    assert sorted(Path().rglob("*")) == before
