"""`jaxae explore` as a user starts it, on a run that was trained before."""

from pathlib import Path

import pytest

from jaxae import explore
from support.commands import start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run in it."""
    folder = tmp_path_factory.mktemp("explored")
    process = start("latent2d", "--dataset mnist_mini --epochs 1 --out run", folder)
    assert process.returncode == 0, process.stderr
    return folder


def test_the_page_is_beside_the_run_and_links_to_its_report(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    explore.start(["run", "--images", "30"], program="jaxae explore")
    assert capsys.readouterr().out.startswith("done: run/explore.html, ")
    page = Path("run/explore.html").read_text(encoding="utf-8")
    assert "latent2d on mnist_mini" in page
    assert "1 epoch, 200,963 parameters" in page
    assert "30 test images" in page
    assert "report.html" not in page
    Path("run/report.html").write_text("a report", encoding="utf-8")
    explore.explore_run(explore.Options(Path("run"), images=30, epoch=1))
    assert 'href="report.html"' in Path("run/explore.html").read_text(encoding="utf-8")
    elsewhere = explore.explore_run(explore.Options(Path("run"), images=30, out=Path("new/a.html")))
    assert 'href="report.html"' not in elsewhere.path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run --images 0", "--images 0: give 1 or more"),
        ("run --seed -1", "--seed -1: give 0 or more"),
        ("run --epoch 7", "--epoch 7: run keeps only the checkpoint after epoch 1"),
        ("run --out .", "--out . is a folder: give the file to write"),
        ("run --out run/config.json", "run/config.json: give a name that ends in .html"),
        ("nowhere", "nowhere is not a run"),
    ],
)
def test_a_mistake_gets_one_error(
    line: str,
    message: str,
    place: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(place)
    with pytest.raises(SystemExit) as end:
        explore.start(line.split(), program="jaxae explore")
    assert end.value.code == 2
    assert message in capsys.readouterr().err
