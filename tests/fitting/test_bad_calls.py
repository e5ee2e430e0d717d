"""Wrong calls of `jaxae.fit` and `jaxae.load` end in one paragraph, and leave nothing behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxae
from jaxae import data, likelihoods, models
from jaxae.errors import UserError
from jaxae.network import Network
from support.small_fit import DIGITS, LABELS, OWN, SCALED, Normalized, squared_error

SET = data.from_arrays(SCALED, LABELS)
NETWORK = Network(Normalized(), likelihoods.GAUSSIAN_SIGMOID)


class NoDecoder(nn.Module):
    """A module that cannot decode."""

    def encode(self, x: Any) -> Any:
        return x

    def __call__(self, x: Any) -> Any:
        return x


class Halved(Normalized):
    """A module whose logits are of half an image."""

    def decode(self, z: Any) -> Any:
        return super().decode(z)[:, :4]


class Broken(Normalized):
    """A module that no image can go through."""

    def encode(self, x: Any, train: bool = False) -> Any:
        return x @ jnp.zeros((3, 3))


def fit(images: Any = SCALED, objective: Any = "vae", **options: Any) -> Any:
    return jaxae.fit(images, objective, **{"out": "run", "batch_size": 32, **options})


def own(images: Any = SCALED, **options: Any) -> Any:
    return fit(images, squared_error, **{**OWN, **options})


BAD: dict[str, tuple[Callable[[], Any], str]] = {
    # The data.
    "numbers to 16": (lambda: fit(DIGITS), 'from 0 to 16: .*scale="minmax", which maps'),
    "no array": (lambda: fit(None), "the images given are object"),
    "a number": (lambda: fit(3), r"int64 of shape \(\)"),
    "ragged lists": (lambda: fit([[1.0], [1.0, 2.0]]), "cannot be made an array"),
    "an unknown name": (lambda: fit("mnits"), "there is no dataset 'mnits'.*did you mean mnist"),
    "a path without data": (lambda: fit("./none"), "the dataset ./none: there is no such file"),
    "few labels": (lambda: fit(labels=LABELS[:3]), "3 labels for 120"),
    "labels with a name": (lambda: fit("mnist_mini", labels=LABELS), "labels was given with the"),
    "tests with a Dataset": (lambda: fit(SET, test=SCALED), "test was given with a Dataset"),
    "a scale with a Dataset": (lambda: fit(SET, scale="minmax"), "scale does not apply to a Data"),
    "an unknown scale": (lambda: fit(DIGITS, scale="unit"), "scale is 'unit'; expected one of min"),
    "a size of arrays": (lambda: fit(size=(8,)), "size does not apply to arrays in memory"),
    "streamed arrays": (lambda: fit(stream=True), "stream is for data that is read from disk"),
    "all images held out": (lambda: fit(validation=120), r"^validation=120: .* give 0 to \d+$"),
    "fewer than no image held out": (lambda: fit(validation=-1), "^validation=-1: give the number"),
    "a divided Dataset": (
        lambda: fit(data.hold_out_validation(SET, 20), validation=10),
        "^validation=10: 20 images of arrays are held out already; give the whole dataset, or v",
    ),
    "no patience": (lambda: fit(patience=0), "^patience=0: give 1 or more"),
    # The objective, its model and its parts.
    "an unknown member": (lambda: fit(objective="vea"), "called 'vea': did you mean vae"),
    "a member that none is like": (lambda: fit(objective="x"), "give one of reconstruction, deno"),
    "a number as objective": (lambda: fit(objective=3), "objective of type int was given"),
    "a model with a member": (lambda: fit(model=Normalized()), "model was given with the member v"),
    "an optimizer with a member": (
        lambda: fit(optimizer=optax.adam(1)),
        "optimizer was given with the member vae, .*give adam or adamw or muon or schedule-free",
    ),
    "an unknown optimizer": (lambda: fit(optimizer="sgd"), "optimizer is 'sgd'; expected one of a"),
    "an average out of range": (lambda: fit(ema=1.0), "^ema=1.0: give 0 or more, and less than 1"),
    "a warm-up of a constant": (
        lambda: fit(warmup=0.1),
        '^warmup=0.1: schedule="constant" has no warm-up',
    ),
    "a schedule of schedule-free": (
        lambda: fit(optimizer="schedule-free", schedule="cosine"),
        '^schedule="cosine": optimizer="schedule-free" averages',
    ),
    "an average of an own optimizer": (lambda: own(ema=0.9), "ema is not .*train.average_params"),
    "a schedule of an own optimizer": (
        lambda: own(schedule="cosine"),
        "schedule is not an option .*optimizer of optax's",
    ),
    "no model": (lambda: own(model=None), "no model was given: give a Flax Linen module"),
    "a class as model": (lambda: own(model=Normalized), "the class Normalized .*Normalized()"),
    "a function as model": (lambda: own(model=squared_error), "model of type function was given"),
    "a model that cannot decode": (
        lambda: own(model=NoDecoder()),
        "NoDecoder has no method decode",
    ),
    "a model of other images": (
        lambda: own(model=Halved()),
        "8x8x1 into 4x8x1, and its likelihood",
    ),
    "a model that breaks": (lambda: own(model=Broken()), "Broken cannot read examples of 8x8x1"),
    "no likelihood": (lambda: own(likelihood=None), "no likelihood .*: give one of bernoulli"),
    "an unknown likelihood": (lambda: own(likelihood="x"), "no likelihood 'x': give one of bern"),
    "two likelihoods": (lambda: own(model=NETWORK), "given with a Network, which has one"),
    "an optimizer's name": (lambda: own(optimizer="adam"), "the optimizer 'adam' was given by"),
    "a test objective with a member": (
        lambda: fit(test_objective=squared_error),
        "test_objective was given with the member vae",
    ),
    "two learning rates": (
        lambda: own(optimizer=optax.adam(1), learning_rate=1e-3),
        "learning_rate is Adam's",
    ),
    "a latent of an own model": (lambda: own(latent=3), "latent is not an option .*members of"),
    "an objective without terms": (
        lambda: fit(SCALED, lambda variables, key, batch: 3, **OWN),
        "the objective returned int",
    ),
    # The options.
    "a misspelled option": (lambda: fit(latnet=3), "no option latnet: did you mean latent?"),
    "an option like no other": (lambda: fit(zzz=3), "no option zzz: give activation, active, "),
    "text as a number": (lambda: fit(latent="3"), "latent is '3'; expected a whole number"),
    "half an epoch": (lambda: fit(epochs=0.5), "epochs is 0.5; expected a whole number"),
    "no epoch": (lambda: fit(epochs=0), "^epochs=0: give 1 or more$"),
    "no dimension": (lambda: fit(latent=0), "^latent=0: give 1 or more$"),
    "a rate that is NaN": (lambda: fit(learning_rate=np.nan), "^learning_rate=nan: give a posit"),
    "a number of widths": (lambda: fit(hidden=16), "hidden is 16; expected a list"),
    "a width of 0": (lambda: fit(hidden=(16, 0)), "give widths of 1 or more"),
    "an unknown precision": (lambda: fit(precision="fp8"), "precision is 'fp8'; expected one of"),
    "a setting of another member": (lambda: fit(beta=4), "^beta=4.0: vae has no such setting"),
    "a setting out of range": (
        lambda: fit(objective="beta-vae", beta=-1),
        r"^beta=-1.0: give numbers from 0 to",
    ),
    "a batch beyond the images": (
        lambda: fit(batch_size=1000),
        "batch_size=1000: .* give batch_size 1 to",
    ),
    "the data as an option": (
        lambda: fit(dataset="mnist"),
        "give the arrays, the name or the path",
    ),
    "a run to load": (lambda: fit(load="run"), "jaxae.load loads a run"),
    "several processes": (lambda: fit(processes=2), "with the command jaxae train"),
    "an unfitting deviation": (
        lambda: fit(standard_deviation=0.3),
        r'standard_deviation=0.3: likelihood="bernoulli" does not take one',
    ),
    "too many devices": (lambda: fit(devices=1000), "1000 devices"),
    # The folder.
    "a number as folder": (lambda: fit(out=3), "out of type int was given"),
    "a run that is not there": (lambda: fit(resume=True), "run is not a run"),
    "a run to resume without folder": (
        lambda: fit(out=None, resume=True),
        "give its folder with o",
    ),
    "a step of a new run": (lambda: fit(initial_epoch=3), "initial_epoch chooses a checkpoint"),
    "a restart of a new run": (lambda: fit(restart=True), "restart trains a run from its start"),
    "load nothing": (lambda: jaxae.load("run"), "run is not a run"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", BAD)
def test_a_wrong_call_ends_in_one_paragraph(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.parent / "cache"))
    call, message = BAD[name]
    with pytest.raises(UserError, match=message) as error:
        call()
    text = str(error.value)
    assert "\n" not in text
    assert not text.endswith(".")
    assert "--" not in text
    assert list(tmp_path.rglob("*")) == []


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of a member, and one of an objective of one's own."""
    folder = tmp_path_factory.mktemp("finished")
    jaxae.fit(SET, latent=3, hidden=(16,), epochs=1, batch_size=32, out=folder / "member")
    jaxae.fit(SET, squared_error, **OWN, epochs=1, batch_size=32, out=folder / "own")
    return folder


OF_RUNS: dict[str, tuple[Callable[[], Any], str]] = {
    "a folder that holds a run": (lambda: fit(SET, out="own"), "continue with resume=True"),
    "other arrays": (
        lambda: fit(SCALED[:100], labels=LABELS[:100], out="member", resume=True),
        "other content than is found now .training images were 104 and are",
    ),
    "another member": (
        lambda: fit(SET, "rae-l2", out="member", resume=True),
        '^objective="rae-l2": the run to resume was started with vae',
    ),
    "another width": (
        lambda: fit(SET, latent=4, out="member", resume=True),
        "^latent=4: the run to resume was started with 3",
    ),
    "fewer epochs": (
        lambda: jaxae.fit(SET, epochs=0, out="member", resume=True),
        "^epochs=0: give 1 or more",
    ),
    "a member's run with an own objective": (
        lambda: own(images=SET, out="member", resume=True),
        "member is a run of family, and these arguments make one of fit",
    ),
    "an own run without its module": (
        lambda: jaxae.load("own"),
        "give the module that was trained",
    ),
    "an own run with another width": (
        lambda: jaxae.load("own", model=Normalized(4), likelihood="gaussian_sigmoid"),
        r"params/code/bias of shape \(4,\), and the checkpoint has the shape \(3,\)",
    ),
    "an own run with a described network": (
        lambda: jaxae.load("own", model=models.fashion((8, 8, 1)), likelihood="bernoulli"),
        "the model that was given has .*no such array",
    ),
    "an own run without its likelihood": (
        lambda: jaxae.load("own", model=Normalized()),
        "no likelihood was given with the model",
    ),
    "an own run that is elsewhere": (
        lambda: jaxae.load("member").evaluate(),
        "data of your own, arrays, which is not found here: give dataset=jaxae.data.from_arrays",
    ),
    "an evaluation on other data": (
        lambda: jaxae.load("member").evaluate(dataset=data.from_arrays(SCALED)),
        "classes were 10 and are 0",
    ),
    "an evaluation on arrays": (
        lambda: jaxae.load("member").evaluate(dataset=SCALED),  # pyright: ignore[reportArgumentType]
        "dataset of type ndarray was given: give the Dataset",
    ),
    "no sample": (lambda: jaxae.load("member").sample(0), "0 samples were asked for"),
    "an unknown prior": (
        lambda: jaxae.load("member").sample(2, prior="x"),  # pyright: ignore[reportArgumentType]
        "the prior x: give one of normal",
    ),
    "a prior for quantized codes": (
        lambda: jaxae.load("member").sample(2, prior="resample", dataset=SET),
        "does not quantize its codes",
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", OF_RUNS)
def test_a_wrong_call_for_a_run_leaves_it_as_it_was(
    name: str, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    call, message = OF_RUNS[name]
    with pytest.raises(UserError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    assert after == before
