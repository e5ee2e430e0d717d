"""Exports of trained runs, which load in other processes and compute what the runs compute."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import jax
import numpy as np
import pytest

import jaxae
from jaxae import checkpoint, cli, comparison, data, evaluate, explore, exports, runs
from jaxae.commands import latents, train
from jaxae.errors import UserError
from support import small_run
from support.commands import run_program
from support.missing import hide
from support.small_fit import DIGITS, LABELS, OPTIONS, OWN, squared_error

compiled_once = small_run.compiled_once
pytestmark = pytest.mark.slow

PIXELS = np.rint(DIGITS * 255 / 16).astype(np.uint8)[..., None]
SET = data.from_arrays(PIXELS, LABELS, name="digits")
FEW = PIXELS[:5]
FEW_LABELS = LABELS[:5].astype(np.int32)


@pytest.fixture(scope="module", params=["vae", "conditional", "vq"])
def run(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> jaxae.TrainedRun:
    options = {**OPTIONS, "latent": 4, "epochs": 1}
    more = {"codebook": 6, "dimension": 2} if request.param == "vq" else {}
    out = tmp_path_factory.mktemp(request.param) / "run"
    return jaxae.fit(SET, request.param, out=out, **{**options, **more})


@pytest.fixture(scope="module")
def vae(tmp_path_factory: pytest.TempPathFactory) -> jaxae.TrainedRun:
    return jaxae.fit(SET, "vae", out=tmp_path_factory.mktemp("plain") / "run", **OPTIONS)


def assert_same(loaded: jaxae.TrainedRun, run: jaxae.TrainedRun) -> None:
    """Compares everything that a loaded network can do without its dataset."""
    jax.tree.map(np.testing.assert_array_equal, loaded.variables, run.variables)
    codes = run.encode(FEW, FEW_LABELS)
    np.testing.assert_array_equal(loaded.encode(FEW, FEW_LABELS), codes)
    np.testing.assert_array_equal(loaded.decode(codes, FEW_LABELS), run.decode(codes, FEW_LABELS))
    again = loaded.reconstruct(FEW, FEW_LABELS)
    np.testing.assert_array_equal(again, run.reconstruct(FEW, FEW_LABELS))
    assert loaded.step == run.step


@pytest.mark.parametrize("name", ["safetensors", "npz"])
def test_arrays_load_like_the_run(
    name: exports.Format, run: jaxae.TrainedRun, tmp_path: Path
) -> None:
    folder = run.export(name, out=tmp_path / "export")
    loaded = jaxae.load(folder)
    assert_same(loaded, run)
    if name == "npz":
        with np.load(folder / "variables.npz", allow_pickle=False) as arrays:
            assert arrays.files == list(checkpoint.named_leaves(run.variables))
    known = SET if run.config.options.objective == "vq" else None
    np.testing.assert_array_equal(loaded.sample(3, dataset=known), run.sample(3, dataset=known))
    assert str(run.folder) not in (folder / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["stablehlo", "onnx"])
def test_programs_compute_the_network_in_another_process(
    name: exports.Format, run: jaxae.TrainedRun, tmp_path: Path
) -> None:
    folder = run.export(name, out=tmp_path / "export")
    codes = run.encode(FEW, FEW_LABELS)
    images = run.decode(codes, FEW_LABELS)
    for function, given, expected in (
        ("encoder", FEW, codes),
        ("decoder", codes, images),
        ("reconstruct", FEW, images),
    ):
        labels = {} if run.classes is None else {"b": FEW_LABELS}
        np.savez(tmp_path / "in.npz", a=given, **labels)
        paths = [str(folder / f"{function}.{name}"), "in.npz", "out.npy"]
        process = run_program(f"run_{name}", *paths, folder=tmp_path)
        assert process.returncode == 0, process.stderr
        imported = {module.partition(".")[0] for module in process.stdout.split()}
        assert not imported & ({"jaxae"} if name == "stablehlo" else {"jaxae", "jax", "flax"})
        np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)
        content = (folder / f"{function}.{name}").read_bytes()
        assert str(Path(jaxae.__file__).parent).encode() not in content


def test_npz_is_enough_for_numpy(vae: jaxae.TrainedRun, tmp_path: Path) -> None:
    folder = vae.export("npz", out=tmp_path / "export")
    np.savez(tmp_path / "in.npz", images=FEW)
    paths = [str(folder / "variables.npz"), "in.npz", "out.npy"]
    process = run_program("run_npz", *paths, folder=tmp_path)
    assert process.returncode == 0, process.stderr
    assert not {"jaxae", "jax"} & {name.partition(".")[0] for name in process.stdout.split()}
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), vae.encode(FEW), atol=1e-5)


@pytest.mark.parametrize("name", get_args(exports.Format))
def test_the_example_of_the_card_runs(
    name: exports.Format, run: jaxae.TrainedRun, tmp_path: Path
) -> None:
    folder = run.export(name, out=tmp_path / "export", pictures=False)
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    found: dict[str, np.ndarray] = {}
    exec(code.replace("FOLDER", folder.as_posix()), found)
    assert np.shape(found["again"]) == (2, 8, 8, 1)
    package = {"onnx": "pip install onnxruntime", "stablehlo": "pip install jax flatbuffers"}
    assert package.get(name, "In a clone of jaxae, run `pip install -e") in card


def test_the_card_has_the_recorded_figures_and_pictures(
    vae: jaxae.TrainedRun, tmp_path: Path
) -> None:
    from huggingface_hub import ModelCard

    folder = vae.export("npz", out=tmp_path / "export")
    text = (folder / "README.md").read_text(encoding="utf-8")
    card: Any = ModelCard(text)
    assert card.data.library_name == "jaxae"
    assert {"autoencoder", "npz", "vae"} <= set(card.data.tags or [])
    assert card.data.license is None
    loss, unit = vae.history["test_loss"], vae.config.loss_unit
    assert f"| test loss, {unit} | {loss[-1]:.4g} | training |" in text
    assert "metrics.jsonl" not in text
    assert "cpu cpu" not in text
    assert vae.config.dataset.fingerprint in text
    pictures = re.findall(r"!\[[^\]]+\]\((.*?)\)", text)
    assert "pictures/epoch_002.png" in pictures
    assert all((folder / path).stat().st_size > 0 for path in pictures)
    bare = vae.export("npz", out=tmp_path / "bare", pictures=False)
    assert not (bare / "pictures").exists()
    first = exports.export_run(exports.Options(vae.folder, epoch=1, out=tmp_path / "first"))
    text = (first / "README.md").read_text(encoding="utf-8")
    assert f"| test loss, {unit} | {loss[0]:.4g} | training |" in text
    assert "pictures/epoch_001.png" in text
    assert "pictures/epoch_002.png" not in text
    assert "after 1 of 2 epochs" in text


def test_scaled_data_and_replicas(tmp_path: Path) -> None:
    scaled = data.from_arrays(DIGITS.reshape(len(DIGITS), -1), scale="minmax", name="digits")
    options = {**OPTIONS, "likelihood": "gaussian_identity"}
    trained = jaxae.fit(scaled, out=tmp_path / "run", replicas=2, **options)
    second = jaxae.load(trained.folder, replica=1)
    vectors = DIGITS.reshape(len(DIGITS), -1)[:4].astype(np.float32)
    loaded = jaxae.load(second.export(out=tmp_path / "arrays"))
    expected = second.reconstruct(vectors)
    assert np.abs(expected - trained.reconstruct(vectors)).max() > 1e-3
    np.testing.assert_array_equal(loaded.reconstruct(vectors), expected)
    card = (tmp_path / "arrays" / "README.md").read_text(encoding="utf-8")
    assert "replica 1 of 2, counted from 0" in card
    table = card.partition("## Figures")[2].partition("## Training")[0]
    assert "Of replica 1 of 2, counted from 0" in table
    assert "±" not in table
    losses = trained.history["test_loss_replicas"][-1]
    assert f"| {losses[1]:.4g} |" in table
    assert f"| {losses[0]:.4g} |" not in table
    assert [path.name for path in (tmp_path / "arrays" / "pictures").iterdir()] == ["curves.png"]
    with pytest.raises(UserError, match="other numbers than pixels"):
        second.export("onnx", input="uint8", out=tmp_path / "pixels")


def test_a_module_of_ones_own_is_exported_and_loaded(tmp_path: Path) -> None:
    own = jaxae.fit(SET, squared_error, **OWN, epochs=1, batch_size=32, out=tmp_path / "run")
    folder = own.export(out=tmp_path / "arrays")
    with pytest.raises(UserError, match=r"give the module that was trained, as in jaxae\.load"):
        jaxae.load(folder)
    assert_same(jaxae.load(folder, **OWN), own)
    own.export("stablehlo", out=tmp_path / "program")
    with pytest.raises(UserError, match="a part of your own"):
        own.export("onnx", out=tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "model.safetensors").unlink(), "incomplete export, without model"),
        (
            lambda f: (f / "model.safetensors").write_bytes(b"x"),
            "is not the file that was exported",
        ),
        (lambda f: (f / "config.json").write_text("{}"), "is not the file that was exported"),
        (lambda f: (f / "export.json").write_text("[]"), r"export\.json holds no JSON object"),
        (lambda f: (f / "export.json").write_text("{}"), "format is missing"),
    ],
)
def test_a_damaged_export_is_an_error(
    damage: Callable[[Path], None], message: str, vae: jaxae.TrainedRun, tmp_path: Path
) -> None:
    folder = vae.export(out=tmp_path / "export", pictures=False)
    damage(folder)
    with pytest.raises(UserError, match=message):
        jaxae.load(folder)


def test_what_an_export_does_not_have_is_refused(vae: jaxae.TrainedRun, tmp_path: Path) -> None:
    folder = vae.export(out=tmp_path / "export", pictures=False)
    with pytest.raises(UserError, match=r"step='best' was given, and .* is an export of one"):
        jaxae.load(folder, "best")
    with pytest.raises(UserError, match="replica=1 was given"):
        jaxae.load(folder, replica=1)
    vae.export("onnx", out=tmp_path / "program", pictures=False)
    with pytest.raises(UserError, match="is an export as onnx, a program that jaxae does not load"):
        jaxae.load(tmp_path / "program")
    with pytest.raises(UserError, match="is no export, and is not replaced"):
        vae.export(out=vae.folder)


@pytest.mark.parametrize("line", ["--resume export", "--load export", "--continue --out export"])
def test_an_export_is_no_run_to_go_on_with(
    line: str, vae: jaxae.TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = sorted(vae.export(out=Path("export")).iterdir())
    with pytest.raises(UserError, match="export is an export: give the run that it was made from"):
        train.main(cli.parse(train.Options, [*line.split(), "--epochs", "9"]))
    with (
        pytest.raises(UserError, match="export is an export"),
        checkpoint.open_checkpoints(Path("export/checkpoints")),
    ):
        pass
    assert sorted(Path("export").iterdir()) == before


def test_a_loaded_export_writes_nothing_into_its_folder(
    vae: jaxae.TrainedRun, tmp_path: Path
) -> None:
    folder = vae.export(out=tmp_path / "export")
    loaded = jaxae.load(folder)
    for write in (loaded.explore, loaded.draw_latents, loaded.export):
        with pytest.raises(
            UserError, match="is an export, to which nothing is added: say with out"
        ):
            write()
    for read in (loaded.evaluate, lambda: loaded.history, lambda: comparison.find_runs([folder])):
        with pytest.raises(UserError, match="export is an export: give the run that it was made"):
            read()
    assert loaded._repr_html_()
    again = loaded.export("npz", out=tmp_path / "again")
    assert_same(jaxae.load(again), vae)
    assert loaded.explore(dataset=SET, images=20, out=tmp_path / "page.html").path.exists()
    vae.export(out=folder)  # which is as it was exported
    (folder / "explore.html").write_text("x", encoding="utf-8")
    with pytest.raises(UserError, match=r"has explore\.html, which the export did not write"):
        vae.export(out=folder)


@pytest.mark.parametrize("command", [latents, evaluate, explore, exports])
def test_a_command_says_that_it_was_given_an_export(
    command: Any, vae: jaxae.TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = vae.export("npz", out=tmp_path / "export", pictures=False)
    with pytest.raises(SystemExit):
        command.start([str(folder)], program="jaxae")
    assert re.search(r"export\s+is\s+an\s+export:\s+give\s+the\s+run", capsys.readouterr().err)


def test_the_other_pictures_show_replica_0_once_each(vae: jaxae.TrainedRun, tmp_path: Path) -> None:
    drawn = vae.folder / "pictures"
    run = tmp_path / "run"
    shutil.copytree(vae.folder, run)
    for name in ("samples_normal", "samples_flow", "traversal", "interpolations", "codes"):
        shutil.copyfile(drawn / "samples.png", run / "pictures" / f"{name}.png")
    folder = jaxae.load(run).export("npz", out=tmp_path / "export")
    shown = re.findall(r"\(pictures/(.*?)\)", (folder / "README.md").read_text(encoding="utf-8"))
    names = ["epoch_002", "samples", "traversal", "curves", "interpolations"]
    assert shown == [f"{name}.png" for name in names]


def test_folders_that_are_no_run(vae: jaxae.TrainedRun) -> None:
    above = vae.folder.parent
    with pytest.raises(UserError, match=r"is not a run, but holds runs, such as .*run: give one"):
        runs.read_config(above)
    with pytest.raises(UserError, match=r"for a repository on the Hub give hf:me/name$"):
        jaxae.load("me/name")


def test_a_missing_package_is_named(
    vae: jaxae.TrainedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "safetensors"]:
        monkeypatch.delitem(sys.modules, name)
    hide(["safetensors"])
    with pytest.raises(UserError, match=r"needs the package safetensors.*\.\[export\]"):
        vae.export(out=tmp_path / "export")
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_it_wrote(
    vae: jaxae.TrainedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(vae.folder.parent)
    exports.start(["run", "--no-pictures", "--epoch", "best"], program="jaxae export")
    assert capsys.readouterr().out.startswith("done: run/export-safetensors, 0.")
    best = 1 + int(np.argmin(vae.history["test_loss"]))
    assert (
        jaxae.load("run/export-safetensors").step
        == best * runs.read_config(vae.folder).steps_per_epoch
    )
    for line, message in (
        ("nowhere", "nowhere is not a run"),
        (
            "run --epoch 9",
            "--epoch 9: run keeps the checkpoints after epochs 1, 2; choose one of these",
        ),
        ("run --replica 3", "replica 3 of run: give one from 0 to 0"),
        ("run --format pickle", "pickle"),
        ("run --out .", ". is no export, and is not replaced"),
    ):
        with pytest.raises(SystemExit) as end:
            exports.start(line.split(), program="jaxae export")
        assert end.value.code == 2
        assert message in capsys.readouterr().err
