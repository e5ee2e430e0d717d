"""The evaluation of a run: its figures, its page, and the errors of wrong input."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import data, evaluate, likelihoods, models, objectives, pages, plots, runs
from jaxae.errors import UserError
from jaxae.evaluate import (
    classifier,
    codes,
    command,
    contrastive,
    extractors,
    output,
    pictures,
    references,
)
from jaxae.evaluate import figures as evaluate_figures
from jaxae.evaluate.extractors import NetworkSettings
from jaxae.evaluate.generation import describe_real
from jaxae.evaluate.images import Images, take
from jaxae.evaluate.judge import choose_judge
from jaxae.evaluate.log_likelihood import why_no_likelihood
from jaxae.evaluate.tables import make_tables
from jaxae.network import Network, Trained, label_arguments
from jaxae.runs import Binarization, RunOptions, with_binarization
from support.commands import SECONDS, environment
from support.damage import expect_other_numbers
from support.small_run import compiled_once  # noqa: F401

pytestmark = pytest.mark.slow

CHANGING = ("evaluation_seconds", "environment")  # the latter changes with this checkout's files
RUN = RunOptions(epochs=2, batch_size=50, learning_rate=1e-2, dataset="mnist")
LIKELIHOOD = likelihoods.BERNOULLI
ENCODER, DECODER = models.DenseEncoder((16,), 4), models.DenseDecoder((16,), (12, 12, 1))
AUTOENCODER = models.Autoencoder(ENCODER, DECODER)
QUANTIZED = models.Autoencoder(ENCODER, DECODER, models.FiniteScalarQuantizer((4, 3)))
VARIATIONAL = models.VariationalAutoencoder(ENCODER, DECODER)  # of a code of two numbers
CONDITIONAL = models.VariationalAutoencoder(ENCODER, DECODER, classes=10)


@dataclass(frozen=True)
class Options:
    """An experiment's options."""

    binarization: Binarization
    run: RunOptions


def train(
    folder: Path, model: Any, binarization: Binarization = "none", **shared: Any
) -> dict[str, Any]:
    """Trains a network into a folder; returns the run's last record."""
    variational = isinstance(model, models.VariationalAutoencoder)
    objective = objectives.negative_elbo if variational else objectives.reconstruction
    objective = partial(objective, network=Network(model, LIKELIHOOD))
    options = Options(binarization, replace(RUN, out=folder, **shared))
    record = {}
    with runs.start("small", options, dataset="mnist") as run:
        recipe = runs.Recipe(Network(model, LIKELIHOOD), objective, optax.adam(1e-2))
        for epoch in runs.train_epochs(run, with_binarization(recipe, run.dataset, binarization)):
            picture = plots.tile(run.dataset.test.images[:10], 5)
            runs.save_picture(run, f"epoch_{epoch.number:03d}", picture, "ten images")
            record = epoch.record
    return record


@dataclass(frozen=True)
class Evaluated:
    """A run after its evaluation."""

    folder: Path
    record: dict[str, Any]  # the last one of its training

    @property
    def results(self) -> dict[str, Any]:
        return json.loads((self.folder / "evaluation.json").read_text())

    @property
    def figures(self) -> dict[str, Any]:
        return self.results["figures"]

    @property
    def page(self) -> str:
        return (self.folder / "report.html").read_text(encoding="utf-8")


@pytest.fixture(scope="module", autouse=True)
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Every dataset is the centers of 100 training and 30 test images; the classifier is small."""
    mini = data.load("mnist_mini")
    middle = np.s_[:, 8:20, 8:20]
    train, test = (
        data.Split(split.images[:count][middle].copy(), np.array(split.labels)[:count])
        for split, count in ((mini.train, 100), (mini.test, 30))
    )
    small = data.assemble("mnist", train, test, mini.class_names)
    settings = NetworkSettings(channels=(4,), features=8, epochs=1)
    cache = tmp_path_factory.mktemp("networks")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "load", lambda name, **places: small)
        for task in (classifier, contrastive):
            patch.setattr(task, "make_task", partial(task.make_task, settings=settings))
        patch.setattr(classifier, "is_good", lambda trained: True)
        patch.setattr(contrastive, "_SEEN", 100)
        patch.setattr(extractors, "load_or_train", partial(extractors.load_or_train, folder=cache))
        yield


def judged_once(
    tmp_path_factory: pytest.TempPathFactory, model: Any, binarization: Binarization, replicas: int
) -> Evaluated:
    folder = tmp_path_factory.mktemp("runs") / "run"
    record = train(folder, model, binarization, replicas=replicas)
    command.main(command.Options(folder, samples=20))
    return Evaluated(folder, record)


@pytest.fixture(scope="module")
def variational(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """Two replicas of a variational autoencoder on binarized images."""
    return judged_once(tmp_path_factory, VARIATIONAL, "dynamic", 2)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """An autoencoder on gray images."""
    return judged_once(tmp_path_factory, AUTOENCODER, "none", 1)


def untrained(model: Any) -> Trained:
    """A network with its initial parameters."""
    labels = label_arguments(model, jnp.zeros(1, jnp.int32))
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 12, 12, 1)), *labels)
    return Trained(Network(model, LIKELIHOOD), variables)


def assert_in_range(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if name.endswith(("accuracy", "precision", "recall")):
            assert 0 <= value <= 1, name
        elif name.endswith(("mse", "fid", "std", "psnr", "likelihood")):
            assert value >= 0, name
        elif name.endswith("inception_score"):
            assert 1 <= value <= 10, name
        assert np.isfinite(value).all(), name


def test_the_page_of_a_run_opens_in_a_browser(variational: Evaluated, browser: Any) -> None:
    browser.get((variational.folder / "report.html").absolute().as_uri())
    loaded = browser.execute_script(
        "return [...document.images].every(i => i.complete && i.naturalWidth > 0)"
    )
    assert loaded
    assert browser.find_elements("css selector", ".plot circle:not(.ring)")
    assert "Negative log-likelihood" in browser.find_element("css selector", "body").text
    assert browser.get_log("browser") == []


def test_figures_are_finite_and_in_range(variational: Evaluated, plain: Evaluated) -> None:
    for run in (variational, plain):
        assert_in_range(run.figures)
        assert_in_range(run.results["references"])


def test_errors_equal_those_that_the_run_recorded(variational: Evaluated, plain: Evaluated) -> None:
    for run in (variational, plain):
        for name in ("test_mse", "test_psnr"):
            np.testing.assert_allclose(run.figures[name], run.record[name], rtol=1e-5)
    assert plain.results["step"] == 4
    assert plain.results["epoch"] == 2
    np.testing.assert_allclose(
        variational.figures["test_mse_replicas"],
        variational.record["test_mse_replicas"],
        rtol=1e-5,
    )


def test_replicas_give_a_mean_and_a_standard_deviation(
    variational: Evaluated, plain: Evaluated
) -> None:
    figures = variational.figures
    for name in ("test_mse", "fid", "negative_log_likelihood", "linear_probe_accuracy"):
        each = figures[f"{name}_replicas"]
        assert len(each) == 2
        np.testing.assert_allclose(figures[name], np.mean(each))
        np.testing.assert_allclose(figures[f"{name}_std"], np.std(each, ddof=1))
    assert not [name for name in plain.figures if name.endswith(("_std", "_replicas"))]


def test_a_posterior_has_a_likelihood_above_its_bound_and_active_units(
    variational: Evaluated,
) -> None:
    bounds = variational.record["test_negative_elbo_replicas"]
    for weighed, bound in zip(
        variational.figures["negative_log_likelihood_replicas"], bounds, strict=True
    ):
        assert 0 < weighed < bound
    assert 0 <= variational.figures["active_units"] <= 2
    assert variational.results["settings"]["prior"] == "normal"


def test_a_plain_autoencoder_has_neither(plain: Evaluated) -> None:
    assert not {"negative_log_likelihood", "active_units"} & plain.figures.keys()
    assert plain.results["settings"]["prior"] == "mixture"


def test_a_quantized_code_has_a_perplexity() -> None:
    trained = untrained(QUANTIZED)
    drawn = trained.network.model.bottleneck.code_of(jnp.array([[0, 1], [2, 2], [1, 1], [2, 0]]))
    figures = codes.code_use_figures(trained, np.asarray(drawn))
    assert figures.keys() == {"codebook_size", "codes_used", "codebook_perplexity"}
    assert figures["codebook_size"] == 12
    assert figures["codes_used"] == 3
    np.testing.assert_allclose(figures["codebook_perplexity"], 4**0.25 * (8 / 3) ** 0.75)


def test_gray_images_have_no_likelihood_under_bernoulli_pixels() -> None:
    trained = Trained(Network(VARIATIONAL, LIKELIHOOD), {})
    density = replace(
        trained, network=Network(VARIATIONAL, likelihoods.BY_NAME["continuous_bernoulli"])
    )
    gray = np.full((1, 2, 2, 1), 7, np.uint8)
    for dtype in (np.uint8, np.float32):
        images = images_of(gray.astype(dtype) / dtype(1 if dtype == np.uint8 else 255))
        binary = images_of((255 if dtype == np.uint8 else 1) * (gray > 0).astype(dtype))
        assert "gray pixels" in (why_no_likelihood(trained, images) or "")
        assert why_no_likelihood(trained, binary) is None
        assert why_no_likelihood(density, images) is None


def images_of(array: np.ndarray) -> Images:
    """A dataset whose test and training images are these."""
    split = data.Split(array.astype(array.dtype), None)
    return evaluate.make_images(data.assemble("few", split, split, ()), "none")


def test_several_runs_are_evaluated_one_after_the_other(
    variational: Evaluated, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        shutil.copytree(variational.folder, folder)
        (folder / "evaluation.json").unlink()
    options = command.Options(folders[0], (folders[1],), samples=2, images=3, generated=10)
    with pytest.raises(UserError, match="nowhere is not a run"):
        command.main(replace(options, more=(folders[1], tmp_path / "nowhere")))
    assert not (folders[0] / "evaluation.json").exists()  # a mistake is found before any work
    command.main(options)
    said = capsys.readouterr().out
    assert said.index(f"{folders[0]}:") < said.index(f"{folders[1]}:")
    assert all((folder / "evaluation.json").exists() for folder in folders)
    command.main(replace(options, out=tmp_path / "out"))
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"first", "second"}
    twice = replace(options, more=(folders[1], folders[1]), out=tmp_path / "out")
    with pytest.raises(UserError, match="several runs are called second"):
        command.main(twice)


def test_a_second_evaluation_gives_the_same_numbers_and_page(
    variational: Evaluated, tmp_path: Path
) -> None:
    out = tmp_path / "new" / "folder"
    command.main(command.Options(variational.folder, samples=20, out=out))
    again = Evaluated(out, {})
    first, second = (
        {name: value for name, value in run.results.items() if name not in CHANGING}
        for run in (variational, again)
    )
    assert second == first
    assert again.page == variational.page
    assert sorted(path.name for path in out.iterdir()) == ["evaluation.json", "report.html"]


def test_options_choose_the_checkpoint_and_how_many_images(
    plain: Evaluated, tmp_path: Path
) -> None:
    command.main(command.Options(plain.folder, step=2, images=5, generated=12, out=tmp_path))
    results = Evaluated(tmp_path, {}).results
    assert (results["step"], results["epoch"]) == (2, 1)
    settings = {"prior": "mixture", "samples": 200, "weighed": 5, "generated": 12, "seed": 0}
    settings |= {"encoded": 100, "baseline": 100, "learned": 100}
    assert results["settings"] == settings
    assert results["figures"]["test_mse"] > plain.figures["test_mse"]
    assert results["figures"]["fid"] != plain.figures["fid"]


@pytest.mark.parametrize("epoch", ["1", "2", "best"])
def test_an_epoch_chooses_its_checkpoint(epoch: str, plain: Evaluated, tmp_path: Path) -> None:
    evaluate.start([str(plain.folder), "--epoch", epoch, "--images", "5", "--out", str(tmp_path)])
    records = {line["epoch"]: line for line in runs.read_records(plain.folder)}
    best = min(records, key=lambda number: records[number]["test_loss"])
    chosen = best if epoch == "best" else int(epoch)
    results = Evaluated(tmp_path, {}).results
    assert (results["step"], results["epoch"]) == (2 * chosen, chosen)
    np.testing.assert_allclose(
        results["figures"]["test_mse"], records[chosen]["test_mse"], rtol=1e-5
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epoch 3", "--epoch 3: {run} keeps the checkpoints after epochs 1, 2; choose one"),
        ("--epoch 0", "--epoch 0: {run} keeps the checkpoints after epochs 1, 2; choose one"),
        ("--epoch 1 --step 2", "--epoch and --step both choose a checkpoint: give one of them"),
        ("--epoch best --step best", "--epoch and --step both choose a checkpoint"),
    ],
)
def test_a_checkpoint_that_is_not_there_or_is_chosen_twice_is_one_error(
    line: str, message: str, plain: Evaluated, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        evaluate.start([str(plain.folder), *line.split()])
    assert end.value.code == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("error: " + message.format(run=plain.folder))
    assert told.err.count("\n") == 1


def test_the_page_describes_what_was_evaluated(variational: Evaluated, plain: Evaluated) -> None:
    page = variational.page
    assert "<title>small on mnist</title>" in page
    assert "2 epochs, mean ± standard deviation of 2 replicas" in page
    assert "On 30 test images, binarized once; training images anew at each step" in page
    assert "20 importance samples" in page
    assert page.index("Pictures show the first replica.") < page.index("<img")
    assert "Pictures show" not in plain.page
    assert "The code&#39;s first number" in page or "the code&#39;s first number" in page
    assert variational.results["features"]["note"][:40] in page
    for title in ("Reconstructions by epoch", "Samples", "Interpolations", "Codes", "Training"):
        assert title in page
    assert page.count("<circle") == plain.page.count("<circle") == 30
    assert "On 30 test images, as they are in the dataset" in plain.page
    assert "importance samples" not in plain.page
    assert "first principal component" in plain.page
    assert "a linear classifier that learned from all 100 training images" in plain.page
    assert "PCA is fitted to all 100 training images." in plain.page
    assert "±" not in re.sub("(?s)<style>.*?</style>|<script>.*?</script>", "", plain.page)


def test_tables_say_how_many_images_the_probes_and_pca_learned_from(plain: Evaluated) -> None:
    settings = {**plain.results["settings"], "learned": 20_000}
    results = {**plain.results, "training_examples": 60_000, "settings": settings}
    text = pages.as_text(make_tables(results))
    learned = "20,000 of the 60,000 training images, drawn at random"
    assert f"learned from {learned}" in text
    assert make_tables(results)[0].note == f"PCA is fitted to {learned}."


def settings_of(prior: Any, **counts: int) -> evaluate_figures.EvaluationSettings:
    """Returns settings with counts of samples, weighed and generated images, and 100 of others."""
    others = {"encoded": 100, "baseline": 100, "learned": 100, "seed": 0}
    return evaluate_figures.EvaluationSettings(prior, **counts, **others)


def judge_network(
    trained: Trained, images: Images, settings: evaluate_figures.EvaluationSettings
) -> evaluate_figures.NetworkEvaluation:
    """Evaluates a network that no run has trained."""
    judge = choose_judge(images)
    real = describe_real(judge, images, settings.generated)
    return evaluate_figures.evaluate_network(trained, images, settings, judge, real)


def test_a_conditional_network_is_given_the_labels(tmp_path: Path) -> None:
    trained, images = (
        untrained(CONDITIONAL),
        evaluate.make_images(data.load("mnist"), "static"),
    )
    settings = settings_of("normal", samples=2, weighed=30, generated=40)
    judged = judge_network(trained, images, settings)
    assert_in_range(judged.figures)
    codes = jax.random.normal(jax.random.split(jax.random.key(0))[1], (40, 2))
    assert images.test.labels is not None
    labels = np.concatenate([images.test.labels, images.test.labels[:10]])
    np.testing.assert_array_equal(judged.generated["normal"], trained.decode(codes, labels))
    galleries = pictures.make_galleries(tmp_path, trained, images, judged.generated)
    assert [gallery.title for gallery in galleries] == [
        "Reconstructions",
        "Samples",
        "Interpolations",
    ]
    assert "with the labels of the test images" in galleries[1].text


def test_collapsed_codes_are_evaluated_without_samples(tmp_path: Path) -> None:
    trained, images = (
        untrained(AUTOENCODER),
        evaluate.make_images(data.load("mnist"), "none"),
    )
    trained = replace(trained, variables=jax.tree.map(jnp.zeros_like, trained.variables))
    settings = settings_of("mixture", samples=1, weighed=1, generated=30)
    judged = judge_network(trained, images, settings)
    assert "all the same" in judged.left_out["Codes of the prior mixture"]
    assert {"test_mse", "linear_probe_accuracy", "reconstruction_fid"} <= judged.figures.keys()
    assert "fid" not in judged.figures
    assert judged.generated == {}
    galleries = pictures.make_galleries(tmp_path, trained, images, judged.generated)
    assert "Samples" not in [gallery.title for gallery in galleries]
    collapsed, other = judged.figures, {**judged.figures, "fid": 1.0}
    assert "fid" not in command.over_replicas([other, collapsed])


def test_each_picture_of_a_page_is_drawn_by_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, images = (
        untrained(AUTOENCODER),
        evaluate.make_images(data.load("mnist"), "none"),
    )
    one = replace(images, test=take(images.test, slice(1)))
    scatter = pictures.make_scatter(trained, one)
    assert scatter is not None
    assert scatter.points.shape == (1, 2)
    assert capsys.readouterr().err == ""
    diverged = replace(
        trained, variables=jax.tree.map(lambda leaf: leaf * jnp.nan, trained.variables)
    )
    generated: Any = {"mixture": images.test.images}
    galleries = pictures.make_galleries(tmp_path, diverged, images, generated)
    assert [gallery.title for gallery in galleries] == ["Samples"]
    assert pictures.make_scatter(diverged, images) is None
    left_out = re.findall("(?m)^jaxae: no picture (.*?): ", capsys.readouterr().err)
    assert left_out == ["of reconstructions", "of interpolations", "of codes"]


def test_a_member_of_the_family_has_its_own_prior() -> None:
    trained = Trained(Network(AUTOENCODER, LIKELIHOOD), {})
    assert evaluate_figures.choose_prior(trained, "wae") == "normal"
    assert evaluate_figures.choose_prior(trained, "rae-l2") == "mixture"
    assert (
        evaluate_figures.choose_prior(
            replace(trained, network=Network(VARIATIONAL, LIKELIHOOD)), None
        )
        == "normal"
    )
    assert (
        evaluate_figures.choose_prior(
            replace(trained, network=Network(QUANTIZED, LIKELIHOOD)), None
        )
        == "resample"
    )


@pytest.fixture
def copy(plain: Evaluated, tmp_path: Path) -> Path:
    """A run that a test may change."""
    return shutil.copytree(plain.folder, tmp_path / "copy")


def change_config(change: Callable[[dict[str, Any]], Any], folder: Path) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text())
    change(config)
    path.write_text(json.dumps(config))


change_fingerprint = partial(
    change_config, lambda config: config["dataset"].update(fingerprint="0" * 64)
)


def test_a_damaged_checkpoint_is_skipped_with_a_warning(
    copy: Path, plain: Evaluated, capsys: pytest.CaptureFixture[str]
) -> None:
    expect_other_numbers(copy / "checkpoints" / "4")
    change_config(lambda config: config.update(corrupted_tests=True), copy)
    command.main(command.Options(copy, images=5))
    assert f"{copy / 'checkpoints' / '4'} is damaged" in capsys.readouterr().err
    judged = Evaluated(copy, {})
    assert judged.results["step"] == 2
    # The page also says if the run tested on corrupted inputs.
    assert "Inputs are clean" in judged.page
    assert "Inputs are clean" not in plain.page


def test_images_too_large_for_pca_are_evaluated_without_it(
    copy: Path, plain: Evaluated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(references, "_LARGEST_PCA", 143)
    command.main(command.Options(copy, images=5))
    judged = Evaluated(copy, {})
    without = {n: v for n, v in plain.results["references"].items() if not n.startswith("pca_")}
    assert judged.results["references"] == without != plain.results["references"]
    assert "PCA of the same size" in plain.page
    assert "PCA of the same size" not in judged.page
    assert "PCA: left out, because the images have 144 numbers each" in judged.page


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        (change_fingerprint, {}, "other content"),
        (lambda folder: shutil.rmtree(folder / "checkpoints"), {}, "no checkpoint"),
        (lambda folder: (folder / "config.json").unlink(), {}, "is not a run"),
        (lambda folder: None, {"step": 3}, "step 3 was asked for"),
        (lambda folder: None, {"samples": 0}, "--samples 0"),
        (lambda folder: None, {"images": 0}, "--images 0"),
        (lambda folder: None, {"generated": 9}, "--generated 9"),
        (lambda folder: None, {"seed": -1}, "--seed -1"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_and_nothing_is_written(
    copy: Path, spoil: Callable[[Path], Any], options: dict[str, Any], message: str
) -> None:
    for name in ("evaluation.json", "report.html"):
        (copy / name).unlink()
    spoil(copy)
    with pytest.raises(UserError, match=message):
        command.main(command.Options(copy, **options))
    assert not [*copy.glob("*.html"), *copy.glob("evaluation*"), *copy.glob(".*part")]


def test_a_page_that_cannot_be_written_is_an_error(copy: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        output.write(copy / "config.json", {"figures": {}}, "")


def test_a_folder_that_is_no_run_ends_the_command_with_one_paragraph(tmp_path: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-m", "jaxae.evaluate", str(tmp_path)],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.returncode == 2
    assert process.stdout == ""
    assert process.stderr.startswith(f"error: {tmp_path} is not a run")
    assert process.stderr.count("\n") == 1
