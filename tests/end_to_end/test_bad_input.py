"""Wrong input, one line per case: each gives an error of one paragraph, and nothing is written.

More flags are in tests/cli and tests/runs/test_stops.py, damaged and foreign data in tests/data,
pictures in tests/plots, and checkpoints in tests/checkpoint.
"""

import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import jaxae
from jaxae import checkpoint, cli, data, devices, likelihoods, losses, metrics, models, train
from jaxae.errors import UserError
from jaxae.models import Autoencoder, DenseDecoder, DenseEncoder
from jaxae.network import Network, Trained
from jaxae.runs import RunOptions, training
from jaxae.train import Batch, Examples, check_examples
from support.commands import command

SHAPE = (4, 4, 1)
MODEL = Autoencoder(DenseEncoder((8,), 2), DenseDecoder((8,), SHAPE))


def images(*shape: int, dtype: Any = np.uint8, value: float = 200) -> np.ndarray:
    return np.full(shape, value, dtype)


def objective(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    pytest.fail("an objective was called with examples that should have been refused")


def fit(
    images: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    inputs: np.ndarray | None = None,
    batch_size: int = 2,
    epochs: int = 1,
    chunk_steps: int | None = None,
) -> None:
    optimizer = optax.sgd(0.1)
    variables = {"params": {"x": jnp.zeros(())}}
    next(
        train.fit(
            train.init(jax.random.key(0), variables, optimizer),
            Examples(images, labels, inputs),
            objective=objective,
            optimizer=optimizer,
            epochs=epochs,
            batch_size=batch_size,
            chunk_steps=chunk_steps,
        )
    )


def apply(method: str, *shape: int, dtype: Any = np.float32, value: float = 0) -> None:
    give(method, np.full(shape, value, dtype))


def give(method: str, values: Any) -> np.ndarray:
    variables = MODEL.init(jax.random.key(0), jnp.zeros((1, *SHAPE)))
    return getattr(Trained(Network(MODEL, likelihoods.BERNOULLI), variables), method)(values)


def call_model(*shape: int, dtype: Any = np.float32) -> None:
    MODEL.init(jax.random.key(0), jnp.zeros(shape, dtype))


TEN = images(10, *SHAPE)
FLOATS = images(10, *SHAPE, dtype=np.float32, value=0.5)
WITH_NAN = np.where(np.arange(160).reshape(10, *SHAPE) == 77, np.nan, FLOATS)
SHORT = np.zeros(5, np.int32)

CASES: dict[str, tuple[Callable[[], Any], str]] = {
    # Examples.
    "no images": (lambda: fit(images(0, *SHAPE), batch_size=1), "length 0"),
    "images without pixels": (lambda: fit(images(10, 0, 4, 1)), "length 0"),
    "images without channels": (lambda: fit(images(10, 4, 4)), "add a last axis"),
    "one image alone": (lambda: fit(images(*SHAPE)), r"\[N, H, W, C\]"),
    "integers beyond a byte": (lambda: fit(TEN + np.int64(56)), "int64 from 256 to 256 .* 0..255"),
    "negative integers": (lambda: fit(-FLOATS.astype(np.int8) - 1), "int8 from -1 to -1 .* 0..255"),
    "images of booleans": (lambda: fit(TEN > 0), "dtype bool"),
    "images of complex numbers": (lambda: fit(TEN.astype(np.complex64)), "dtype complex64"),
    "0..255 as floats": (lambda: fit(TEN.astype(np.float32)), "floats from 200 to 200"),
    "scaled uint8": (lambda: fit(images(10, *SHAPE, value=1)), "integers from 0 to 1 .* scaled"),
    "scaled int64": (
        lambda: fit(images(10, *SHAPE, dtype=np.int64, value=1)),
        "images of integers from 0 to 1 were given, as if already scaled",
    ),
    "images of durations": (lambda: fit(TEN.astype("m8[s]")), r"dtype timedelta64\[s\]"),
    "images of dates": (lambda: fit(TEN.astype("M8[s]")), r"dtype datetime64\[s\]"),
    "ragged images": (
        lambda: fit([[[[0], [0]], [[0]]]]),  # pyright: ignore[reportArgumentType]
        "^images of unequal shapes were given: give one array$",
    ),
    "arrays of unequal images": (
        lambda: fit([TEN[0], TEN[0, :2]]),  # pyright: ignore[reportArgumentType]
        "images of unequal shapes",
    ),
    "NaN pixels": (lambda: fit(WITH_NAN), "NaN or infinite pixels"),
    "pixels beyond float32": (
        lambda: fit(np.float64(1e300) * FLOATS),
        r"images with 5e\+299 were given, which float32 cannot hold: give uint8",
    ),
    "an epoch of pixels beyond float32": (
        lambda: train.make_epoch(objective, optax.sgd(0.1), 2)(
            train.init(jax.random.key(0), {"params": {"x": jnp.zeros(())}}, optax.sgd(0.1)),
            Examples(np.float64(1e300) * FLOATS),
        ),
        "float32 cannot hold",
    ),
    "pixels of long doubles beyond float32": (
        lambda: fit(np.longdouble(-1e300) * FLOATS),
        "float32 cannot hold",
    ),
    "infinite pixels": (lambda: fit(np.where(FLOATS == 0.5, np.inf, 0)), "NaN or infinite"),
    "NaN inputs": (lambda: fit(FLOATS, inputs=WITH_NAN), "inputs with NaN"),
    "inputs as floats in 0..255": (lambda: fit(FLOATS, inputs=200 * FLOATS), "inputs of floats"),
    "fewer inputs": (lambda: fit(FLOATS, inputs=FLOATS[:5]), "5 inputs were given for 10"),
    "fewer labels": (lambda: fit(TEN, labels=SHORT), "5 labels were given for 10 images"),
    "labels of text": (lambda: fit(TEN, labels=np.full(10, "a")), "labels of dtype <U1"),
    "labels beyond int32": (
        lambda: fit(TEN, labels=np.full(10, 2**31)),
        "labels of int64 from 2147483648 .* give int32",
    ),
    "labels beyond float32": (
        lambda: fit(TEN, labels=np.array([math.nan, math.inf, -1e300, *range(7)])),
        r"labels with -1e\+300 were given, which float32 cannot hold: give numbers from -3.4",
    ),
    "labels of durations": (lambda: fit(TEN, labels=np.zeros(10, "m8")), "dtype timedelta64"),
    "labels of dates": (lambda: fit(TEN, labels=np.zeros(10, "M8")), "dtype datetime64"),
    "ragged labels": (
        lambda: fit(TEN, labels=[[0], [0, 1]]),  # pyright: ignore[reportArgumentType]
        "labels of unequal shapes",
    ),
    "no epochs": (lambda: fit(TEN, epochs=0), "0 epochs"),
    "negative epochs": (lambda: fit(TEN, epochs=-1), "-1 epochs"),
    "chunks of no steps": (lambda: fit(TEN, chunk_steps=0), "chunks of 0 steps"),
    "one label": (lambda: fit(TEN, labels=np.array(3)), "one number was given as labels"),
    "evaluation of no images": (
        lambda: train.make_evaluation(objective, 5)({}, jax.random.key(0), Examples(TEN[:0])),
        "length 0",
    ),
    "evaluation in batches of none": (
        lambda: train.make_evaluation(objective, 0),
        "batch size of 0",
    ),
    "batch size 0": (lambda: fit(TEN, batch_size=0), "batch size of 0 .* from 1 to 10"),
    "batch size -1": (lambda: fit(TEN, batch_size=-1), "batch size of -1"),
    "a batch of more than all": (lambda: fit(TEN, batch_size=11), "batch size of 11"),
    "variables without params": (
        lambda: train.init(jax.random.key(0), {"kernel": jnp.zeros(3)}, optax.sgd(0.1)),
        'variables without "params"',
    ),
    # Models.
    "latent 0": (lambda: models.fashion(SHAPE, 0), "latent of 0"),
    "latent -1": (lambda: models.vae(SHAPE, -1), "latent of -1"),
    "a shape of two numbers": (lambda: models.fashion((28, 28)), "shape of .* was given"),  # pyright: ignore
    "a shape without height": (lambda: models.conv((0, 28, 1)), "shape of .* was given"),
    "no channels": (lambda: models.denoise((28, 28, 0)), "shape of .* was given"),
    "a network on rank 3": (lambda: call_model(1, 4, 4), "floats .*B, H, W, C"),
    "a network on bytes": (lambda: call_model(1, *SHAPE, dtype=np.uint8), "uint8 of shape"),
    "a network on nothing": (lambda: call_model(0, *SHAPE), "at least one of each"),
    "a network on other images": (lambda: call_model(1, 5, 4, 1), "5x4x1 into 4x4x1"),
    "encode another size": (lambda: apply("encode", 3, 5, 5, 1), r"shape \(3, 5, 5, 1\)"),
    "encode rank 3": (lambda: apply("encode", 3, 4, 4), "B, H, W, C"),
    "encode integers beyond a byte": (
        lambda: apply("encode", 3, *SHAPE, dtype=np.int32, value=256),
        "int32 from 256 to 256 .* 0..255",
    ),
    "reconstruct another size": (lambda: apply("reconstruct", 3, 5, 5, 1), "shape"),
    "encode 0..255 as floats": (
        lambda: apply("encode", 3, *SHAPE, value=255.0),
        "floats from 255 to 255",
    ),
    "encode ragged images": (
        lambda: give("encode", [[[[0], [0]], [[0]]]]),
        "^images of unequal shapes were given: give one array$",
    ),
    "encode objects": (lambda: give("encode", TEN.astype(object)), "images of dtype object"),
    "encode text": (lambda: give("encode", TEN.astype(str)), "images of dtype <U"),
    "encode records": (lambda: give("encode", np.zeros(3, "u1,f4")), "images of dtype"),
    "encode dates": (lambda: give("encode", np.zeros((3, *SHAPE), "M8[s]")), "dtype datetime64"),
    "encode booleans": (lambda: give("encode", TEN > 0), "dtype bool"),
    "decode ragged codes": (lambda: give("decode", [[0.0], [0.0, 1.0]]), "codes of unequal shapes"),
    "decode complex codes": (
        lambda: give("decode", np.zeros((3, 2), complex)),
        "^codes of dtype complex128 were given: give floats$",
    ),
    "decode text": (lambda: give("decode", [["a", "b"]]), "codes of dtype <U1"),
    "labels as records": (lambda: fit(TEN, labels=np.zeros(10, "u1,f4")), "labels of dtype"),
    "labels as objects": (lambda: fit(TEN, labels=np.arange(10).astype(object)), "dtype object"),
    "ragged inputs": (
        lambda: fit(TEN, inputs=[[0], [0, 1]]),  # pyright: ignore[reportArgumentType]
        "inputs of unequal shapes",
    ),
    "reconstruct NaN": (lambda: apply("reconstruct", 3, *SHAPE, value=np.nan), "NaN"),
    "decode a number": (lambda: apply("decode"), r"shape \(\)"),
    "decode codes of three numbers": (lambda: apply("decode", 3, 3), r"shape \(3, 3\)"),
    "describe a function": (lambda: models.describe(print), "not one of the parts"),
    "build from a number's name": (lambda: models.build({"value": "os"}), "'os'"),
    # Losses and metrics.
    "bernoulli of two shapes": (
        lambda: losses.bernoulli(jnp.zeros((2, 3)), jnp.zeros((2, 1))),
        r"shapes \(2, 3\) and \(2, 1\)",
    ),
    "squared error of scalars": (
        lambda: losses.squared_error(jnp.zeros(()), jnp.zeros(())),
        "one shape",
    ),
    "KL of two shapes": (
        lambda: losses.kl_to_standard_normal(jnp.zeros((2, 3)), jnp.zeros(3)),
        "one shape",
    ),
    "PSNR of bytes": (lambda: metrics.psnr(TEN, TEN), "metrics take floats"),
    "SSIM of small images": (lambda: metrics.ssim(FLOATS, FLOATS), "11x11 or more"),
    "PCA with too many components": (lambda: metrics.fit_pca(TEN, 17), "ask for 1 to 10"),
    "PCA of NaN": (lambda: metrics.fit_pca(WITH_NAN, 2), "NaN"),
    # Places and names.
    "an unknown dataset": (lambda: data.load("mnits"), "did you mean"),
    "a path as a dataset": (lambda: data.load("../mnist"), "no such file or folder"),
    "an empty name": (lambda: data.load(""), "there is no dataset"),
    "a folder that is no run": (lambda: jaxae.load("nowhere"), "nowhere is not a run"),
    "a folder without checkpoints": (
        lambda: checkpoint.restore(Path("nowhere"), {}),
        "no checkpoint was found in nowhere",
    ),
    "a folder without variables": (
        lambda: checkpoint.load_variables(Path("nowhere"), "best"),
        "no checkpoint was found",
    ),
    "no device": (lambda: devices.data_mesh(0), "0 devices were asked for"),
    "more devices than available": (lambda: devices.data_mesh(1000), "1000 devices"),
}


@pytest.mark.slow
@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("name", CASES)
def test_wrong_input_is_refused_in_one_paragraph(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    do, message = CASES[name]
    with pytest.raises(UserError, match=message) as error:
        do()
    assert "\n" not in str(error.value)
    assert list(tmp_path.rglob("*")) == []


FLAGS = {
    "--epochs 0": "--epochs 0",
    "--epochs -3": "--epochs -3",
    "--epochs 1.5": "1.5",
    "--batch-size 0": "--batch-size 0",
    "--batch-size 5001": "give --batch-size 1 to 5000",
    "--learning-rate 0": "--learning-rate 0",
    "--learning-rate nan": "--learning-rate nan",
    "--learning-rate inf": "--learning-rate inf",
    "--seed -1": "--seed -1",
    "--seed 2147483647": "--seed 2147483647",
    "--replicas 0": "--replicas 0",
    "--dataset mnist_mini --replicas 2147483647": "give at most",
    "--precision fp8": "fp8",
    "--latent 0": "latent of 0",
    "--latent three": "three",
    "--dataset mnits": "did you mean mnist",
    "--dataset cifar10": "cifar10 is not prepared",
    "--dataset mnist --data-dir FILE": "is a file",
    "--dataset mnist --data-dir s3://bucket": "remote",
    "--dataset mnist --sources nowhere": "does not exist",
    "--out FILE": "cannot be made",
    "--out FOLDER": "holds files already",
    "--resume nowhere": "nowhere is not a run",
    "--load nowhere": "nowhere is not a run",
    "--resume": "--resume",
    "--resume FOLDER --load FOLDER": "FOLDER is not a run",
    "--initial-epoch 3": "--resume or --load",
    "--restart": "give the run with --resume",
    "--devices 0": "--devices 0",
    "--devices 1000": "1000 devices",
    "--coordinator 127.0.0.1:1": "give --processes, the number of processes",
    "--coordinator 127.0.0.1:1 --processes 2 --process 2": "the number of this one, from 0",
    "--processes 2": "belong to --coordinator HOST:PORT",
    "--coordinator auto": "give each the same --out",
    "--unknown 1": "--unknown",
    "--tensorboard yes": "yes",
    "--continue": "give --out",
    "--track comet": "comet",
    "--compilation-cache no": "no",
    "--debug yes": "yes",
    "--stream yes": "yes",
    "--workers -1 --stream": "--workers -1",
    "--workers 2": "--stream",
    "--drop-remainder yes": "yes",
    "--evaluate-every 0": "--evaluate-every 0",
    "--validation -1": "--validation -1",
    "--validation 5000": "give 0 to 4999",
    "--patience 0": "--patience 0",
    "--dataset ./nowhere": "there is no such file or folder",
    "--dataset FOLDER/": "notes (",
    "--dataset ./FILE": "this kind of file cannot be read",
    "--dataset FOLDER/ --size 0": "--size 0",
    "--dataset FOLDER/ --fit crop": "without a size",
    "--size 8": "--size does not apply to mnist_mini",
    "--fit diagonal": "diagonal",
    "--channels 2": "2",
    "--background red": "red",
    "--skip-unreadable yes": "yes",
    "--scale log": "log",
    "--channels-first yes": "yes",
    "--label class": "label",
}


@pytest.mark.parametrize("line", FLAGS)
def test_a_flag_is_refused_in_one_paragraph(
    line: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import runpy

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))
    (tmp_path / "FILE").write_text("mine")
    (tmp_path / "FOLDER").mkdir()
    (tmp_path / "FOLDER" / "notes").write_text("mine")
    before = [path for path in tmp_path.rglob("*") if path.is_file()]
    full = line if "--dataset" in line or "--re" in line else f"--dataset mnist_mini {line}"
    monkeypatch.setattr(sys, "argv", command("fashion", full)[1:])
    monkeypatch.setattr(training.train, "fit", lambda *args, **named: pytest.fail("trains"))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name="__main__")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert FLAGS[line] in said
    assert "\n\n" not in said.strip()
    assert "Traceback" not in said
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == before


def test_the_table_has_every_shared_flag() -> None:
    flags = " ".join(FLAGS)
    fields = {**RunOptions.__dataclass_fields__, **data.Reading.__dataclass_fields__}
    for name in fields.keys() - {"reading"}:
        assert f"--{cli.flag_of(name)}" in flags


@pytest.mark.slow
@settings(max_examples=200, deadline=None)
@given(
    hnp.arrays(
        dtype=st.sampled_from([np.uint8, np.int32, np.float16, np.float32, np.float64, np.bool_]),
        shape=hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3),
    ),
    st.integers(-1, 4),
)
def test_any_array_is_accepted_or_refused_with_a_user_error(
    pixels: np.ndarray, batch_size: int
) -> None:
    try:
        checked = check_examples(Examples(pixels), batch_size).images
    except UserError:
        return  # and no other error
    assert pixels.ndim in (2, 4)
    assert pixels.size > 0
    assert 1 <= batch_size <= len(pixels)
    assert np.isfinite(pixels).all()
    np.testing.assert_array_equal(checked, pixels.astype(checked.dtype))
    whole = pixels.ndim == 4 and pixels.dtype.kind in "iu"  # numbers in vectors are no pixels
    assert checked.dtype == (np.uint8 if whole else np.float32)


@pytest.mark.parametrize("dtype", [">f4", ">f8", np.float16, np.int64, ">i2", "list"])
def test_codes_of_any_dtype_are_decoded_as_floats(dtype: Any) -> None:
    codes = np.arange(6).reshape(3, 2)
    expected = give("decode", codes.astype(np.float32))
    given = codes.tolist() if dtype == "list" else codes.astype(dtype)
    np.testing.assert_array_equal(give("decode", given), expected)


REFUSED = {"conv": [(1, 1, 1), (1, 7, 3), (28, 20, 1), (20, 28, 3), (32, 32, 3)]}


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 7, 3), (28, 20, 1), (20, 28, 3), (32, 32, 3)])
@pytest.mark.parametrize(
    "name", ["fashion", "denoise", "latent2d", "latent3d", "conv", "deep", "vae"]
)
def test_images_of_any_shape_come_back_or_are_refused(
    name: str, shape: tuple[int, int, int]
) -> None:
    model = getattr(models, name)(shape)
    batch = jax.ShapeDtypeStruct((2, *shape), jnp.float32)
    call = partial(jax.eval_shape, partial(model.init_with_output, jax.random.key(0)), batch)
    if shape in REFUSED.get(name, ()):
        with pytest.raises(UserError, match="choose a dataset"):
            call()
    else:
        assert call()[0].shape == (2, *shape)
