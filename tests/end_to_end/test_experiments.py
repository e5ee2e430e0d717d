"""Every experiment as a user starts it: its files, its pictures and its output."""

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from jaxae import checkpoint, data, plots
from jaxae.data.prepared import archives
from support.commands import REPOSITORY, Finished, start
from support.pictures import cells_of

pytestmark = pytest.mark.slow

MNIST = "--dataset mnist_mini --epochs 1"
# fashion.py is started without a dataset and a folder.
COMMANDS = {
    "latent2d": f"{MNIST} --images 64 --batch-size 32 --picture-steps 1 --out latent2d",
    "denoise": f"{MNIST} --batch-size 1000 --out denoise",
    "conv": f"{MNIST} --batch-size 1000 --out conv",
    "vae": f"{MNIST} --batch-size 500 --path 3 8 --out vae",
    "family": f"{MNIST} --objective conditional --beta 2 --batch-size 500 --out family",
    "latent3d": f"{MNIST} --batch-size 500 --code 1.5 -2 0.25 --out latent3d",
    "deep": f"{MNIST} --batch-size 500 --out deep",
    "fashion": "--epochs 1 --batch-size 500",
}
CELL = (28, 28)
PAIRS = plots.lay_out(CELL, 10, (5, 5), headings=("original", "reconstruction"))
DENOISED = plots.lay_out(CELL, 3, (10,), row_labels=("noisy", "denoised", "clean"))
COMPARED = plots.lay_out(CELL, 3, (10,), row_labels=("original", "network", "PCA"))
ONE, SAMPLES = plots.lay_out(CELL, 1, (1,)), plots.lay_out(CELL, 10, (10,))
PATH = plots.lay_out(CELL, 1, (1, 10, 1), headings=("image 3", "decoded path", "image 8"))
# How pictures are laid out without their caption; a size for pixels alone, None for a chart.
PICTURES: dict[str, dict[str, plots.Layout | tuple[int, int] | None]] = {
    "fashion": {"epoch_001": (280, 280), "epoch_001_labeled": PAIRS},
    "denoise": {"epoch_001": DENOISED},
    "latent2d": {
        "step_000001": ONE,
        "step_000002": ONE,
        "epoch_001": PAIRS,
        "codes": None,
        "plane": None,
    },
    "latent3d": {"epoch_001": PAIRS, "code": ONE, "codes": None},
    "conv": {"epoch_001": PAIRS},
    "deep": {
        "epoch_001": PAIRS,
        "reconstructions": plots.lay_out(CELL, 2, (10,), row_labels=("original", "network")),
        "with_pca": COMPARED,
    },
    "family": {"epoch_001": PAIRS, "samples": SAMPLES},
    "vae": {"epoch_001": PAIRS, "samples": SAMPLES, "path": PATH},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The current directory of all runs."""
    return tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def started(place: Path) -> Iterator[dict[str, Future]]:
    """Starts all experiments, two at a time."""
    with ThreadPoolExecutor(2) as pool:
        yield {name: pool.submit(start, name, line, place) for name, line in COMMANDS.items()}


def label_of(name: str) -> str:
    """Returns what output calls the run of an experiment."""
    return "conditional" if name == "family" else name


def finished(name: str, started: dict[str, Future], place: Path) -> Finished:
    process = started[name].result()
    assert process.returncode == 0, process.stderr
    named = re.search(rf"^{label_of(name)} on \S+: (.+)$", process.stdout, re.MULTILINE)
    assert named, process.stdout
    return Finished(name, process, place / named[1])


@pytest.fixture(params=sorted(COMMANDS))
def run(request: pytest.FixtureRequest, started: dict[str, Future], place: Path) -> Finished:
    """Each experiment, after it has finished."""
    return finished(request.param, started, place)


def test_all_experiments_are_run() -> None:
    runnable = {
        path.stem
        for path in (REPOSITORY / "experiments").glob("*.py")
        if re.search("run_main|train.start", path.read_text())
    }
    assert runnable == COMMANDS.keys()


def test_a_run_draws_what_it_promises(run: Finished) -> None:
    expected = PICTURES[run.name]
    drawn = {path.stem for path in (run.folder / "pictures").iterdir()}
    assert drawn == expected.keys() | {"curves"}
    dataset = run.read("config.json")["dataset"]["name"]
    for name, layout in expected.items():
        with Image.open(run.folder / "pictures" / f"{name}.png") as image:
            assert image.info["Description"].startswith(f"{label_of(run.name)}, {dataset}: ")
            if layout is None:
                continue
            bare = isinstance(layout, tuple)
            width, height = layout if bare else (layout.width, layout.height)
            assert image.mode == "L"
            # A caption does not fit in the width of a digit.
            assert image.size[0] == max(width, 160)
            assert height + 10 < image.size[1] < height + 100
            pixels = np.asarray(image)
            assert (pixels[:height, :width] if bare else cells_of(pixels, layout)).std() > 0
        assert (run.folder / "pictures" / f"{name}.png").stat().st_size < 200_000


def test_a_run_writes_one_line_an_epoch(run: Finished) -> None:
    (line,) = run.metrics()
    assert line["epoch"] == 1
    for name in ("train_loss", "test_loss", "test_mse", "seconds", "images_per_second"):
        assert np.isfinite(line[name])
    assert 0 < line["test_mse"] < 0.5
    assert line["dataset"].endswith("_mini")
    assert run.read("config.json")["corrupted_tests"] == (run.name == "denoise")
    summary = run.read("summary.json")
    assert summary["test_mse"] == line["test_mse"]
    images = 64 if run.name == "latent2d" else 5000
    assert line["seconds"] * line["images_per_second"] == pytest.approx(images)
    assert checkpoint.steps(run.folder / "checkpoints")


def test_without_a_terminal_an_epoch_is_one_plain_line(run: Finished) -> None:
    assert re.findall(r"^epoch 1/1 +train loss \d", run.process.stdout, re.MULTILINE)
    assert "\r" not in run.process.stdout + run.process.stderr
    assert "\x1b" not in run.process.stdout + run.process.stderr
    assert "Traceback" not in run.process.stderr


def test_fashion_draws_the_picture_of_its_source_pixel_by_pixel(
    started: dict[str, Future], place: Path
) -> None:
    run = finished("fashion", started, place)
    images = data.load(run.read("config.json")["dataset"]["name"]).test.images
    picture = run.picture("epoch_001")
    np.testing.assert_array_equal(picture[:280, :140], plots.tile(images[:50], columns=5))
    assert (picture[:280, 140:280] != picture[:280, :140]).any()
    cells = cells_of(run.picture("epoch_001_labeled"), PAIRS)
    for half, columns in ((picture[:280, :140], slice(5)), (picture[:280, 140:280], slice(5, 10))):
        shown = cells[:, columns].reshape(50, 28, 28, 1)
        np.testing.assert_array_equal(plots.tile(shown, columns=5), half)


@pytest.mark.parametrize("name", ["fashion", "latent3d", "conv"])
def test_the_left_half_is_the_test_images(
    name: str, started: dict[str, Future], place: Path
) -> None:
    run = finished(name, started, place)
    images = data.load(run.read("config.json")["dataset"]["name"]).test.images
    labeled = run.picture("epoch_001_labeled" if name == "fashion" else "epoch_001")
    cells = cells_of(labeled, PAIRS)
    np.testing.assert_array_equal(cells[:, :5].reshape(50, 28, 28), images[:50, ..., 0])
    assert (cells[:, 5:] != cells[:, :5]).any()


def test_denoise_draws_noisy_above_clean(started: dict[str, Future], place: Path) -> None:
    run = finished("denoise", started, place)
    noisy, denoised, clean = cells_of(run.picture("epoch_001"), DENOISED)
    expected = data.load("mnist_mini").test.images[:10, ..., 0]
    np.testing.assert_array_equal(clean, expected)
    error = np.mean((noisy / 255.0 - clean / 255.0) ** 2)
    assert 0.08 < error < 0.2  # noise of 0.5, of which about half is clipped away
    assert (denoised != noisy).any()


def test_deep_compares_itself_with_pca(started: dict[str, Future], place: Path) -> None:
    run = finished("deep", started, place)
    originals, reconstructions, pca = cells_of(run.picture("with_pca"), COMPARED)
    alone = plots.lay_out(CELL, 2, (10,), row_labels=("original", "network"))
    drawn = cells_of(run.picture("reconstructions"), alone)[1]
    np.testing.assert_array_equal(drawn, reconstructions)
    error = np.mean((pca / 255.0 - originals / 255.0) ** 2)
    assert error == pytest.approx(run.read("summary.json")["pca_test_mse"], rel=0.5)


def test_the_terms_of_the_negative_elbo_add_up(started: dict[str, Future], place: Path) -> None:
    (line,) = finished("vae", started, place).metrics()
    for split in ("train", "test"):
        terms = line[f"{split}_reconstruction"] + line[f"{split}_kl"]
        assert line[f"{split}_negative_elbo"] == pytest.approx(terms, rel=1e-5)
        assert line[f"{split}_loss"] == pytest.approx(terms, rel=1e-5)
        assert line[f"{split}_kl"] > 0


def test_offline_without_a_dataset_it_announces_the_bundled_subset(
    started: dict[str, Future], place: Path
) -> None:
    if archives.find("fashion_mnist", None) is not None:
        pytest.skip("this machine has Debian's dataset-fashion-mnist: the full set is at hand")
    run = finished("fashion", started, place)
    assert run.process.stderr.startswith("jaxae: NOT THE FULL DATASET")
    assert run.read("config.json")["dataset"]["name"] == "fashion_mnist_mini"
    assert run.read("summary.json")["dataset"] == "fashion_mnist_mini"
    assert run.metrics()[0]["dataset"] == "fashion_mnist_mini"
    assert run.folder.parent == place / "results" / "fashion"
    assert not (place / "no_sets").exists()


def test_a_trained_denoiser_is_loaded_and_drawn(started: dict[str, Future], place: Path) -> None:
    trained = finished("denoise", started, place)
    process = start("denoise", f"--load {trained.folder} --out loaded", place)
    assert process.returncode == 0, process.stderr
    loaded = Finished("denoise", process, place / "loaded")
    np.testing.assert_allclose(
        cells_of(loaded.picture("epoch_001"), DENOISED).astype(int),
        cells_of(trained.picture("epoch_001"), DENOISED).astype(int),
        atol=1,
    )
    expected = trained.read("summary.json")["test_loss"]
    assert loaded.read("summary.json")["test_loss"] == pytest.approx(expected, rel=1e-4)
    assert not (loaded.folder / "metrics.jsonl").exists()


def test_the_page_of_results_has_its_runs_numbers_and_pictures(
    started: dict[str, Future], place: Path
) -> None:
    run = finished("deep", started, place)
    process = start("report", f"{run.folder} --out page", place)
    assert process.returncode == 0, process.stderr
    page = (place / "page" / "README.md").read_text()
    summary = run.read("summary.json")
    for name in ("train_loss", "test_loss", "test_mse"):
        assert f"| {summary[name]:.4g} |" in page
    assert f"pca_test_mse {summary['pca_test_mse']:.4g}" in page
    pictures = re.findall(r"\(pictures/(\S+)\)", page)
    assert len(pictures) == 4  # the last epoch, reconstructions, with PCA, curves
    assert all((place / "page" / "pictures" / name).exists() for name in pictures)


def test_an_unfinished_run_is_not_reported(place: Path) -> None:
    process = start("report", "nothing --out empty", place)
    assert process.returncode == 2
    assert process.stderr.startswith("error: nothing is not a finished run")
    assert not (place / "empty").exists()
