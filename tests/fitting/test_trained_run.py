"""What `jaxae.fit` returns is what `jaxae.load` returns, and what the commands work on."""

import base64
import html
import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

import jaxae
from jaxae import data, evaluate, latents, pages, priors, runs
from jaxae.errors import UserError
from support import small_run
from support.small_fit import DIGITS, LABELS, OPTIONS, OWN, Normalized, squared_error

compiled_once = small_run.compiled_once
pytestmark = pytest.mark.slow

IMAGES = DIGITS[..., None]  # as the network reads them
SET = data.from_arrays(DIGITS, LABELS, scale="minmax", name="digits")


@pytest.fixture(scope="module")
def member(tmp_path_factory: pytest.TempPathFactory) -> jaxae.TrainedRun:
    return jaxae.fit(SET, out=tmp_path_factory.mktemp("member"), **OPTIONS)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> jaxae.TrainedRun:
    """A run of a module with batch statistics and dropout."""
    folder = tmp_path_factory.mktemp("own")
    return jaxae.fit(SET, squared_error, **OWN, epochs=2, batch_size=32, out=folder)


@pytest.mark.parametrize("kind", ["member", "own"])
def test_a_loaded_run_is_the_one_that_fit_returned(
    kind: str, request: pytest.FixtureRequest
) -> None:
    run: jaxae.TrainedRun = request.getfixturevalue(kind)
    module = {} if kind == "member" else {"model": Normalized(), "likelihood": "gaussian_sigmoid"}
    loaded = jaxae.load(run.folder, **module)
    assert repr(loaded) == repr(run)
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, run.variables)
    codes = run.encode(IMAGES)
    np.testing.assert_array_equal(loaded.encode(IMAGES), codes)
    np.testing.assert_array_equal(loaded.decode(codes), run.trained.decode(codes))
    np.testing.assert_array_equal(loaded.reconstruct(IMAGES), run.decode(codes))
    for name, values in run.history.items():
        np.testing.assert_array_equal(loaded.history[name], values)
    best = jaxae.load(run.folder, "best", **module)
    best_epoch = 1 + int(np.argmin(run.history["test_loss"]))
    assert best.step == best_epoch * run.config.steps_per_epoch


def test_a_loaded_network_of_batch_statistics_uses_the_running_ones(own: jaxae.TrainedRun) -> None:
    assert set(own.variables) == {"params", "batch_stats"}
    alone = np.concatenate([own.encode(IMAGES[i : i + 1]) for i in range(3)])
    np.testing.assert_allclose(alone, own.encode(IMAGES)[:3], rtol=1e-5, atol=1e-6)


def test_the_history_is_that_of_metrics_jsonl(member: jaxae.TrainedRun) -> None:
    text = (member.folder / "metrics.jsonl").read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    history = member.history
    assert "dataset" not in history
    np.testing.assert_array_equal(history["epoch"], [1, 2])
    for name in ("train_loss", "test_mse", "seconds"):
        np.testing.assert_array_equal(history[name], [line[name] for line in lines])


def test_samples_are_decoded_codes_of_the_prior(
    member: jaxae.TrainedRun, own: jaxae.TrainedRun
) -> None:
    images = member.sample(4)
    assert images.shape == (4, 8, 8, 1)
    np.testing.assert_array_equal(images, member.sample(4))
    assert np.abs(images - member.sample(4, seed=1)).max() > 0
    key = jax.random.fold_in(runs.fixed_keys().pictures, 0)
    expected = member.decode(priors.normal((3,))(key, 4))
    np.testing.assert_array_equal(images, expected)
    # A network without a posterior has a mixture, which is fitted to the dataset's codes.
    mixture = priors.fit(own.trained, own.encode(16 * SET.train.images), "mixture")
    np.testing.assert_array_equal(own.sample(4), own.decode(mixture(key, 4)))
    again = jaxae.load(own.folder, **OWN)
    np.testing.assert_array_equal(again.sample(4, dataset=SET), own.sample(4))


def test_a_conditional_run_samples_its_classes_in_turn(tmp_path: Path) -> None:
    run = jaxae.fit(SET, "conditional", out=tmp_path / "run", **{**OPTIONS, "epochs": 1})
    assert run.classes == 10
    images = run.sample(12)
    np.testing.assert_array_equal(images[[3]], run.sample(12, np.full(12, 3))[[3]])


@pytest.mark.parametrize("kind", ["member", "own"])
def test_a_run_is_evaluated_and_explored(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: jaxae.TrainedRun = request.getfixturevalue(kind)
    figures = run.evaluate(samples=2, images=4, generated=10, out=tmp_path)
    written = runs.read_evaluation(tmp_path).figures
    assert figures.keys() == written.keys()
    assert figures["test_mse"] == written["test_mse"]
    assert (tmp_path / "report.html").exists()
    drawn = run.draw_latents(priors=("normal",), images=(0, 1), out=tmp_path / "pictures")
    assert sorted(drawn) == sorted((tmp_path / "pictures").glob("*.png"))
    assert {"samples_normal.png", "morph.png"} <= {path.name for path in drawn}


def test_a_notebook_shows_the_explorer_in_a_frame(member: jaxae.TrainedRun, tmp_path: Path) -> None:
    made = member.explore(images=5, out=tmp_path / "page.html")
    assert made.path == tmp_path / "page.html"
    shown = made._repr_html_()
    frame = re.fullmatch(r'<iframe srcdoc="([^"]*)" title="page.html" .*></iframe>', shown)
    assert frame is not None
    assert html.unescape(frame[1]) == made.path.read_text(encoding="utf-8")
    assert "5 test images" in shown


def test_a_replica_is_explored(tmp_path: Path) -> None:
    jaxae.fit(SET, out=tmp_path / "run", replicas=2, **OPTIONS)
    run = jaxae.load(tmp_path / "run", replica=1)
    page = run.explore(images=5, dataset=SET).path.read_text(encoding="utf-8")
    assert "one of 2 replicas" in page
    found = re.search(r'id="content">(.*?)</script>', page)
    assert found is not None
    content = json.loads(found[1])
    codes = np.frombuffer(base64.b64decode(content["codes"]), "<f2").reshape(5, -1)
    expected = run.trained.encode(16 * SET.test.images[content["numbers"]])
    np.testing.assert_allclose(codes, expected, atol=2e-2)


def test_a_network_of_ones_own_cannot_be_explored(own: jaxae.TrainedRun, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a part of your own, Normalized"):
        own.explore(out=tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []


def test_the_command_evaluates_a_run_on_a_file_of_the_same_arrays(
    tmp_path: Path,
) -> None:
    run = jaxae.fit(DIGITS, labels=LABELS, scale="minmax", out=tmp_path / "run", **OPTIONS)
    np.savez(tmp_path / "digits.npz", images=DIGITS, labels=LABELS)
    path, folder = str(tmp_path / "digits.npz"), run.folder.as_posix()
    evaluate.start([folder, "--dataset", path, "--samples", "2", "--out", str(tmp_path / "a")])
    expected = run.evaluate(samples=2, out=tmp_path / "b")
    assert runs.read_evaluation(tmp_path / "a").figures == expected


def test_functions_take_its_codes(member: jaxae.TrainedRun) -> None:
    first, second = member.encode(IMAGES[:2])
    between = member.decode(latents.interpolate_linearly(first, second, 5))
    assert between.shape == (5, 8, 8, 1)


def test_a_notebook_shows_reconstructions_the_loss_and_the_figures(
    member: jaxae.TrainedRun,
) -> None:
    for run in (member, jaxae.load(member.folder)):
        page = run._repr_html_()
        assert len(re.findall(r'<img src="data:image/png;base64,[A-Za-z0-9+/=]+"', page)) == 2
        assert "vae on digits" in page
        shown = f"{run.history['test_loss'][-1]:.4g}"
        assert re.search(rf"<th[^>]*>test loss</th><td>{shown}</td>", page)
        assert "http" not in page
        assert len(page) < 100_000


def test_a_summary_escapes_names() -> None:
    picture = pages.Picture(np.zeros((2, 3), np.uint8), '<a> & "b"')
    page = pages.render_summary("<script>", [("<x>", "1")], [picture])
    assert "<script>" not in page
    assert 'alt="&lt;a&gt; &amp; &quot;b&quot;" width="12" height="8"' in page
    assert "&lt;x&gt;</th><td>1</td>" in page
    assert "<table>" not in pages.render_summary("a", [], [])


def test_the_figures_of_an_evaluation_are_shown(member: jaxae.TrainedRun) -> None:
    path = member.folder / "evaluation.json"
    member.evaluate(samples=2)
    assert "linear probe accuracy" in member._repr_html_()
    path.unlink()
    (member.folder / "report.html").unlink()
