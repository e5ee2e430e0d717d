"""The evaluation of data without labels, of one class, in color or in any range, and of vectors."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxae
from jaxae import data, evaluate, likelihoods, metrics, models, pages, plots, runs
from jaxae.commands import latents
from jaxae.data import Dataset, Split
from jaxae.errors import UserError
from jaxae.evaluate import classifier, contrastive, extractors, figures, images, judge, pictures
from jaxae.evaluate.extractors import NetworkSettings
from jaxae.evaluate.generation import describe_real
from jaxae.evaluate.images import Images
from jaxae.evaluate.judge import choose_judge
from jaxae.evaluate.progress import stage
from jaxae.evaluate.reconstruction import left_out, reconstruction_figures
from jaxae.evaluate.references import reference_figures
from jaxae.network import Network, Trained
from support.small_run import compiled_once  # noqa: F401

GENERATOR = np.random.default_rng(0)
NAMES = ("one", "two", "three")


def make_dataset(
    train: np.ndarray, test: np.ndarray, labels: Any = None, *, own: bool = False
) -> Dataset:
    """A dataset of arrays; `labels` gives each example its label, from its index."""
    first, second = (
        Split(array, None if labels is None else np.array(labels(np.arange(len(array))), np.int32))
        for array in (train, test)
    )
    dataset = data.assemble("mine", first, second, () if labels is None else NAMES)
    return replace(dataset, own=own)


def images_of(
    train: np.ndarray, test: np.ndarray, labels: Any = None, *, own: bool = False
) -> Images:
    return evaluate.make_images(make_dataset(train, test, labels, own=own), "none")


def colors(count: int, side: int = 12, dtype: Any = np.uint8) -> np.ndarray:
    """Smooth colored images, uint8, or floats from -1 to 3."""
    coarse = GENERATOR.integers(0, 256, (count, side // 4, side // 4, 3), np.uint8)
    pixels = coarse.repeat(4, axis=1).repeat(4, axis=2)
    return pixels if dtype == np.uint8 else (pixels / 63.75 - 1).astype(dtype)


def vectors(count: int) -> np.ndarray:
    """Vectors of two latent numbers, six of them in different scales, and one constant."""
    latent = GENERATOR.normal(size=(count, 2))
    mixed = latent @ np.random.default_rng(1).normal(size=(2, 6)) * 2.0 ** np.arange(6)
    noisy = mixed + 0.1 * GENERATOR.normal(size=mixed.shape)
    return np.pad(noisy, ((0, 0), (0, 1)), constant_values=7).astype(np.float32)


def network(shape: tuple[int, ...], likelihood: Any, **more: Any) -> Trained:
    """A variational autoencoder with its initial parameters."""
    encoder = models.DenseEncoder((16,), 4)
    decoder = models.DenseDecoder((16,), shape)
    model = models.VariationalAutoencoder(encoder, decoder, **more)
    labels = (jnp.zeros(1, jnp.int32),) if more else ()
    variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *shape)), *labels)
    return Trained(Network(model, likelihood), variables)


@pytest.fixture
def small_networks(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Features come from small networks that are trained for a moment."""
    settings = NetworkSettings(channels=(4,), features=8, epochs=1, batch_size=32)
    for task in (classifier, contrastive):
        make = task.make_task
        monkeypatch.setattr(task, "make_task", lambda images, make=make: make(images, settings))
    monkeypatch.setattr(contrastive, "_SEEN", 64)
    load_or_train = extractors.load_or_train
    monkeypatch.setattr(extractors, "load_or_train", lambda task: load_or_train(task, tmp_path))


def evaluate_all(
    trained: Trained, some: Images, **changes: Any
) -> tuple[figures.NetworkEvaluation, dict[str, float], judge.Judge]:
    """Evaluates a network as the command does."""
    chosen = {"samples": 3, "weighed": None, "generated": None, "seed": 0, **changes}
    settings = figures.choose_settings(trained, some, None, **chosen)
    judged = choose_judge(some)
    real = describe_real(judged, some, settings.generated)
    evaluation = figures.evaluate_network(trained, some, settings, judged, real)
    references, _ = reference_figures(trained, some, settings, judged, real)
    return evaluation, references, judged


# What is computed, and what is left out.


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_images_without_labels_have_all_but_probes_and_the_inception_score() -> None:
    some = images_of(colors(60), colors(20))
    evaluation, references, judged = evaluate_all(network((12, 12, 3), likelihoods.GAUSSIAN), some)
    generation = {"fid", "kid", "precision", "recall"}
    assert generation | {"test_mse", "test_psnr", "test_ssim"} <= evaluation.figures.keys()
    assert {"negative_log_likelihood", "active_units"} <= evaluation.figures.keys()
    assert {f"training_{name}" for name in generation} <= references.keys()
    everything = [*evaluation.figures, *references]
    assert not [name for name in everything if name.endswith(("accuracy", "inception_score"))]
    assert evaluation.left_out["Probes of codes"] == "the data has no labels"
    assert judged.left_out == {"Inception Score": "the data has no labels"}
    assert judged.describe_classifier() is None
    described = judged.describe()
    assert described is not None
    assert described["kind"] == "contrastive"
    assert len(described["digest"]) == 64
    assert np.isfinite(list(evaluation.figures.values())).all()


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_features_come_from_a_good_classifier_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    some = images_of(colors(60), colors(20), lambda index: index % 2)  # nothing can be learned
    judged = choose_judge(some)
    assert judged.extractor is not None
    assert judged.extractor.kind == "contrastive"
    assert "the largest class alone would give 0.500" in judged.left_out["Inception Score"]
    described = judged.describe()
    assert described is not None
    assert "classifier of its labels are not used: the classifier has" in described["note"]
    recorded = judged.describe_classifier()
    assert recorded is not None
    assert recorded["chance"] == 0.5
    monkeypatch.setattr(classifier, "is_good", lambda trained: True)
    good = choose_judge(some)
    assert good.extractor is good.classifier
    assert good.scores_classes
    assert good.left_out == {}


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (None, "the data has no labels"),
        (lambda index: index * 0 + 1, "all training examples with a label are of one class"),
        (lambda index: index * 0 - 1, "no training example has a label"),
        (lambda index: np.where(len(index) == 20, -1, index % 2), "no test example has a label"),
        (lambda index: index % 3 - 1, None),
    ],
)
def test_without_two_classes_the_reason_is_given(labels: Any, reason: str | None) -> None:
    assert images_of(colors(60), colors(20), labels).why_no_classes == reason


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_examples_of_unknown_class_take_no_part_in_probes() -> None:
    trained = network((12, 12, 3), likelihoods.GAUSSIAN)
    train, test = colors(60), colors(20)
    partly, _, _ = evaluate_all(trained, images_of(train, test, lambda index: index % 3 - 1))
    codes = [trained.encode(array[(np.arange(len(array)) % 3 - 1) >= 0]) for array in (train, test)]
    known = [(np.arange(n) % 3 - 1)[(np.arange(n) % 3 - 1) >= 0] for n in (60, 20)]
    expected = metrics.linear_probe_accuracy(codes[0], known[0], codes[1], known[1])
    assert partly.figures["linear_probe_accuracy"] == expected


def test_a_conditional_network_reads_the_examples_whose_class_is_known() -> None:
    some = images_of(colors(6), colors(6), lambda index: index % 3 - 1)
    known = images.with_labels_only(some)
    for split, whole in ((known.train, some.train), (known.test, some.test)):
        np.testing.assert_array_equal(split.labels, [0, 1, 0, 1])
        np.testing.assert_array_equal(split.images, whole.images[[1, 2, 4, 5]])
    with pytest.raises(UserError, match="has no labels, and the network is conditional"):
        images.with_labels_only(images_of(colors(6), colors(6)))


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_images_beyond_one_have_r_squared_and_are_mapped_to_it_for_features() -> None:
    some = images_of(colors(60, dtype=np.float32), colors(20, dtype=np.float32))
    assert some.range.low < 0
    assert some.range.high > 2
    gaussian = likelihoods.BY_NAME["gaussian_identity"]
    evaluation, _, judged = evaluate_all(network((12, 12, 3), gaussian), some)
    assert {"test_mse", "test_r_squared", "fid"} <= evaluation.figures.keys()
    assert not {"test_psnr", "test_ssim"} & evaluation.figures.keys()
    assert "from -1 to 3" in left_out(some)["PSNR and SSIM"]
    assert isinstance(judged.extractor, extractors.TrainedExtractor)
    examples = judged.extractor.task.examples.images
    assert 0 <= examples.min() <= examples.max() <= 1


@pytest.mark.slow
def test_vectors_have_figures_in_the_units_of_their_numbers() -> None:
    train, test = vectors(200), vectors(50)
    some = images_of(train, test, lambda index: index % 2)
    gaussian = likelihoods.BY_NAME["gaussian_identity"]
    trained = network((7,), gaussian)
    evaluation, references, judged = evaluate_all(trained, some)
    reconstructions = trained.reconstruct(test)
    expected = np.square(reconstructions - test).mean()
    np.testing.assert_allclose(evaluation.figures["test_mse"], expected, rtol=1e-5)
    expected = metrics.r_squared(reconstructions, test)
    np.testing.assert_allclose(evaluation.figures["test_r_squared"], expected)
    assert references["pca_test_r_squared"] > 0.95, "two latent numbers say nearly all"
    assert {"negative_log_likelihood", "active_units", "fid"} <= evaluation.figures.keys()
    assert {"linear_probe_accuracy", "neighbour_accuracy"} <= evaluation.figures.keys()
    assert not {"test_psnr", "test_ssim", "inception_score"} & evaluation.figures.keys()
    assert judged.describe() == {"kind": "vectors", "note": judge.VECTORS_NOTE}
    assert evaluation.generated["normal"].shape == (50, 7)


def test_vectors_are_compared_standardized_unless_they_are_long() -> None:
    some = images_of(vectors(200), vectors(50))
    extractor = choose_judge(some).extractor
    assert extractor is not None
    features = extractor.features(some.train.images)
    np.testing.assert_allclose(features[:, :6].std(axis=0), 1, rtol=1e-5)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(features[:, 6], 0)
    long = choose_judge(images_of(np.ones((20, 600), np.float32), np.ones((20, 600), np.float32)))
    assert long.extractor is None
    assert "more than 512 numbers" in long.left_out["FID, KID, precision and recall"]
    few = choose_judge(images_of(vectors(200), vectors(9)))
    assert few.extractor is None
    assert few.describe() is None


# Features without labels.


def naive_contrast(outputs: np.ndarray) -> np.ndarray:
    """NT-Xent as Chen et al. 2020 write it, of views whose other view is half of all further on."""
    count = len(outputs)
    losses = []
    for i in range(count):
        cosines = outputs @ outputs[i] / np.linalg.norm(outputs, axis=1)
        weights = np.exp(cosines / np.linalg.norm(outputs[i]) / 0.2)
        losses.append(-np.log(weights[(i + count // 2) % count] / (weights.sum() - weights[i])))
    return np.array(losses)


def test_contrast_is_the_published_loss_and_padding_takes_no_part() -> None:
    outputs = GENERATOR.normal(size=(8, 3)).astype(np.float32)
    losses, found = contrastive.contrast(jnp.asarray(outputs), jnp.ones(8, bool))
    np.testing.assert_allclose(losses, naive_contrast(outputs), rtol=1e-5)
    same = jnp.tile(jnp.asarray(outputs[:4]), (2, 1))
    np.testing.assert_array_equal(contrastive.contrast(same, jnp.ones(8, bool))[1], np.ones(8))
    assert found.shape == (8,)
    padded = np.insert(outputs, [4, 8], 9 * outputs[:2], axis=0)
    real = np.ones(10, bool)
    real[[4, 9]] = False
    with_padding, _ = contrastive.contrast(jnp.asarray(padded), jnp.asarray(real))
    np.testing.assert_allclose(with_padding[real], losses, rtol=1e-5)


def test_views_and_copies_keep_the_shape_and_change_each_image() -> None:
    pictures = jnp.asarray(colors(30) / np.float32(255))
    for function in (contrastive.change, contrastive.distort):
        changed = function(jax.random.key(0), pictures)
        assert changed.shape == pictures.shape
        assert (np.abs(changed - pictures).reshape(30, -1).max(axis=1) > 0).all()
        again = function(jax.random.key(0), pictures)
        np.testing.assert_array_equal(changed, again)


@pytest.mark.slow
def test_features_without_labels_find_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gray, noisy and blurred images and missing classes are further away than training images."""
    mini = data.load("fashion_mnist_mini")
    middle = np.s_[:, 4:24, 4:24]
    train, test = (split.images[middle].copy() for split in (mini.train, mini.test))
    some = images_of(train, test)
    monkeypatch.setattr(contrastive, "_SEEN", 8000)
    settings = NetworkSettings(channels=(16, 32), features=32, batch_size=64)
    extractor = extractors.train(contrastive.make_task(some, settings))
    real = some.test.images[:500]
    other, third = some.test.images[500:], some.train.images[:500]
    floats = other.astype(np.float32) / 255
    blurred = np.asarray(contrastive._blur(contrastive._blur(jnp.asarray(floats))))
    assert mini.test.labels is not None
    faults = {
        "gray": np.full_like(floats, 0.5),
        "noise": GENERATOR.random(floats.shape).astype(np.float32),
        "blurred": blurred,
        "noisy": floats + 0.2 * GENERATOR.normal(size=floats.shape).astype(np.float32),
        "few": np.resize(some.test.images[mini.test.labels < 2], real.shape),
    }
    features = extractor.features(real)
    reference = metrics.frechet_distance(extractor.features(third), features)
    for name, wrong in faults.items():
        distance = metrics.frechet_distance(extractor.features(wrong), features)
        assert distance > 4 * reference, name


# Order, memory and progress.


def test_arrays_are_not_copied() -> None:
    dataset = make_dataset(colors(60), colors(20), lambda index: index % 2)
    some = evaluate.make_images(dataset, "none")
    for split, whole in ((some.train, dataset.train), (some.test, dataset.test)):
        assert np.shares_memory(split.images, whole.images)
        assert np.shares_memory(split.labels, whole.labels)


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads Linux's own figures")
def test_examples_on_disk_do_not_stay_in_memory(tmp_path: Path) -> None:
    written = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.uint8, (5000, 8, 8, 3))
    written[:] = GENERATOR.integers(0, 256, written.shape, np.uint8)
    written.flush()
    del written
    array = np.asarray(np.load(tmp_path / "a.npy", mmap_mode="r"))
    split = images_of(array, array).test

    def resident() -> int:
        """The KiB of the file in memory."""
        blocks = Path("/proc/self/smaps").read_text().split(str(tmp_path / "a.npy"))[1:]
        return sum(int(block.split("Rss:")[1].split()[0]) for block in blocks)

    sums = [int(part.images.sum()) for part in images.parts(split)]
    assert resident() == 0
    assert int(images.spread(split, 900).images.sum()) > 0
    assert resident() == 0
    assert sum(sums) == array.sum()
    assert resident() > 900, "the sum has just read it"


def test_a_users_own_data_is_thinned_evenly_and_that_of_tfds_from_the_start() -> None:
    array = np.arange(40, dtype=np.float32)[:, None]
    for own, expected in ((False, [0, 1, 2, 3]), (True, [0, 13, 26, 39])):
        some = images_of(array, array, own=own)
        np.testing.assert_array_equal(some.some(some.test, 4).images[:, 0], expected)
        assert some.some(some.test, 40) is some.test


def test_reconstructions_are_compared_in_parts_and_each_is_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = images_of(colors(30), colors(23))
    seen: list[int] = []

    def reconstruct(part: Split) -> np.ndarray:
        seen.append(len(part.images))
        return images.as_floats(part.images) * np.float32(0.9)

    whole = reconstruction_figures(reconstruct, some)
    assert seen == [23]
    monkeypatch.setattr(images, "_NUMBERS_AT_ONCE", 5 * 12 * 12 * 3)
    parts = reconstruction_figures(reconstruct, some)
    assert seen == [23, 5, 5, 5, 5, 3]
    assert whole.keys() == parts.keys() == {"test_mse", "test_psnr", "test_ssim"}
    for name, value in whole.items():
        np.testing.assert_allclose(parts[name], value, rtol=1e-6)


@pytest.mark.slow
def test_a_large_split_is_neither_encoded_nor_probed_as_a_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = network((7,), likelihoods.BY_NAME["gaussian_identity"])
    some = images_of(vectors(200), vectors(50), lambda index: index % 2, own=True)
    monkeypatch.setattr(figures, "MOST_NUMBERS", 80)
    settings = figures.choose_settings(
        trained, some, None, samples=1, weighed=None, generated=None, seed=0
    )
    assert (settings.encoded, settings.baseline, settings.learned) == (40, 11, 11)


def test_probes_learn_from_a_seeded_random_subset() -> None:
    some = images_of(vectors(200), vectors(50), lambda index: index % 2, own=True)
    drawn, again, other = (some.drawn(some.train, 20, seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(drawn.images, again.images)
    assert not np.array_equal(drawn.images, other.images)
    places = [int(np.flatnonzero((some.train.images == v).all(axis=1))[0]) for v in drawn.images]
    assert len(set(places)) == 20
    assert places == sorted(places)  # so that a set on disk is read in its order
    assert some.train.labels is not None
    np.testing.assert_array_equal(drawn.labels, some.train.labels[places])
    assert some.drawn(some.train, 200, 3) is some.train


def test_a_stage_says_how_long_it_took(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with stage("codes", 10) as advance:
        advance(10)
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("codes: ")
    assert told.err.endswith(" s\n")
    assert told.err.count("\n") == 1
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with stage("codes", 10) as advance:
        advance(5)
    assert "codes:   0%" in capsys.readouterr().err
    with pytest.raises(UserError), stage("codes"):
        raise UserError("no")
    assert " s\n" not in capsys.readouterr().err


# The page.


@pytest.mark.slow
def test_a_page_without_labels_has_all_pictures_and_one_color(tmp_path: Any) -> None:
    trained = network((12, 12, 3), likelihoods.GAUSSIAN)
    some = images_of(colors(60), colors(20), own=True)
    galleries = pictures.make_galleries(tmp_path, trained, some, {"normal": colors(20)})
    assert [gallery.title for gallery in galleries] == [
        "Reconstructions",
        "Samples",
        "Interpolations",
    ]
    scatter = pictures.make_scatter(trained, some)
    assert scatter is not None
    assert scatter.labels is None
    assert "class" not in scatter.text


@pytest.mark.slow
def test_vectors_are_shown_as_codes_alone(tmp_path: Any) -> None:
    trained = network((7,), likelihoods.BY_NAME["gaussian_identity"])
    some = images_of(vectors(200), vectors(50), lambda index: index % 3 - 1)
    assert pictures.make_galleries(tmp_path, trained, some, {"normal": vectors(5)}) == ()
    scatter = pictures.make_scatter(trained, some)
    assert scatter is not None
    assert scatter.thumbnails is None
    assert scatter.class_names == (*NAMES, "unknown")
    assert scatter.labels is not None
    assert sorted(set(scatter.labels)) == [0, 1, 3]
    assert "see its class and number" in scatter.text


@pytest.mark.slow
def test_large_color_images_are_reduced_on_the_page(tmp_path: Any) -> None:
    trained = network((200, 120, 3), likelihoods.GAUSSIAN)
    large = GENERATOR.integers(0, 256, (30, 200, 120, 3), np.uint8)
    some = images_of(large, large)
    (pairs, samples, _) = pictures.make_galleries(tmp_path, trained, some, {"normal": large})
    for gallery in (pairs, samples):
        (picture,) = gallery.pictures
        columns = (2, 2) if gallery is pairs else (5,)
        headings = ("original", "reconstruction") if gallery is pairs else ()
        layout = plots.lay_out((96, 58), 1, columns, headings=headings, most=600)
        assert picture.pixels.shape[1] == layout.width
        assert picture.pixels.shape[0] > 4 * 96
    scatter = pictures.make_scatter(trained, some)
    assert scatter is not None
    page = pages.Page("a", "b", (), (), (), (), scatter, (), "")
    assert len(pages.render(page)) < 200_000


def test_one_test_image_has_no_path_to_another() -> None:
    split = Split(np.zeros((1, 8, 8, 1), np.uint8), None)
    some = evaluate.make_images(data.assemble("one", split, split, ()), "none")
    with pytest.raises(UserError, match="no second test image"):
        pictures._pairs(some, conditional=False)


# From the command to the files.


@pytest.mark.slow
@pytest.mark.usefixtures("small_networks")
def test_a_run_on_images_without_labels_is_evaluated_and_drawn(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(colors(60), colors(20), own=True)
    folder = tmp_path / "run"
    options = {"epochs": 1, "batch_size": 30, "latent": 2, "hidden": (8,), "replicas": 2}
    jaxae.fit(dataset, "vae", likelihood="gaussian", out=folder, **options)
    capsys.readouterr()
    evaluate.evaluate_run(evaluate.Options(folder, samples=3), dataset=dataset)
    told = capsys.readouterr()
    stages = [line.rpartition(": ")[0] for line in told.err.splitlines()]
    assert stages[0] == "features that compare images"
    assert "log-likelihood, replica 2 of 2" in stages
    assert stages[-1] == "report"
    lines = told.out.splitlines()
    (error,) = (line for line in lines if line.strip().startswith("MSE"))
    assert "±" in error
    assert "lower is better" in error
    assert "Inception Score: left out, because the data has no labels" in lines
    assert lines[-1] == f"done: evaluation.json and report.html in {folder}"
    results = json.loads((folder / "evaluation.json").read_text())
    assert results["features"]["kind"] == "contrastive"
    assert results["classifier"] is None
    assert results["left_out"]["Probes of codes"] == "the data has no labels"
    assert runs.read_evaluation(folder).classifier is None
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "vae on mine" in page
    assert "Probes of codes: left out, because the data has no labels." in page
    drawn = latents.draw(latents.Options(folder, priors=("normal",)), dataset=dataset)
    names = {"samples_normal", "interpolations", "morph", "traversal", "neighbors"}
    assert {path.stem for path in drawn} == names
    assert "no picture arithmetic: the data has no labels" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_on_vectors_is_evaluated_and_drawn(
    tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = make_dataset(vectors(60), vectors(20), lambda index: index % 3, own=True)
    folder = tmp_path / "run"
    options = {"epochs": 1, "batch_size": 30, "latent": 3, "hidden": (8,)}
    jaxae.fit(dataset, "vae", likelihood="gaussian_identity", out=folder, **options)
    evaluate.evaluate_run(evaluate.Options(folder, samples=3), dataset=dataset)
    printed = capsys.readouterr().out
    assert "R²" in printed
    assert "Fréchet distance" in printed
    assert "FID" not in printed
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert "On 20 test vectors" in page
    assert page.count("<circle") == 20
    drawn = latents.draw(latents.Options(folder), dataset=dataset)
    assert [path.stem for path in drawn] == ["codes"]
    assert "the data are vectors" in capsys.readouterr().err
