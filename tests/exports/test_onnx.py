"""ONNX models compute what the operations of `jaxae.models` mean, and what the networks compute."""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import onnxruntime
import pytest

from jaxae import data, family, likelihoods, models
from jaxae.errors import UserError
from jaxae.exports import onnx_models
from jaxae.exports.signature import Signature, signature_of
from jaxae.likelihoods import BY_NAME
from jaxae.models import Autoencoder, DenseDecoder, DenseEncoder, Design
from jaxae.network import Network, Trained, init_variables
from jaxae.programs import program_of
from support import operations
from support.explored import CLASSES, SMALL, untrained

SHAPE = (9, 6, 2)  # sides that are not halved exactly crop what is upsampled


def drawn(network: Network, shape: tuple[int, ...], **fields: Any) -> Trained:
    """Returns a network with random variables, which are not initialized, to save time."""
    generator = np.random.default_rng(1)
    shapes = jax.eval_shape(lambda: init_variables(network.model, jax.random.key(0), shape))
    variables = jax.tree.map(
        lambda leaf: (
            generator.normal(size=leaf.shape).astype(np.float32)
            / np.sqrt(max(1, np.prod(leaf.shape[:-1])))
        ),
        shapes,
    )
    return Trained(network, variables, **fields)


def run(folder: Path, name: str, *inputs: np.ndarray) -> np.ndarray:
    """Computes a function of an export with ONNX Runtime."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    path = str(folder / f"{name}.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_inputs()]
    (result,) = session.run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(result)


def assert_computes_the_program(
    folder: Path, trained: Trained, signature: Signature, *, count: int = 3
) -> None:
    """Compares the three functions of a batch with the operations, one example at a time."""
    onnx_models.write(folder, trained, signature)
    generator = np.random.default_rng(0)
    images = generator.random((count, *signature.shape), np.float32)
    if signature.input == "uint8":
        images = (255 * images).astype(np.uint8)
    floats = images / np.float32(255) if signature.input == "uint8" else images
    labels = np.arange(count, dtype=np.int32) % CLASSES
    given = () if signature.classes is None else (labels,)
    program = program_of(trained, signature.shape)
    pairs = list(zip(floats, labels.tolist(), strict=True))
    codes = np.stack([operations.compute(program.encode, each, label) for each, label in pairs])
    np.testing.assert_allclose(run(folder, "encoder", images, *given), codes, atol=1e-5)
    codes = codes.astype(np.float32)
    pairs = list(zip(codes, labels.tolist(), strict=True))
    decoded = np.stack([operations.compute(program.decode, each, label) for each, label in pairs])
    np.testing.assert_allclose(run(folder, "decoder", codes, *given), decoded, atol=1e-5)
    np.testing.assert_allclose(run(folder, "reconstruct", images, *given), decoded, atol=1e-5)
    few = [each[:1] for each in (images, *given)]
    assert run(folder, "reconstruct", *few).shape == (1, *signature.shape)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "conv", "resnet"])
@pytest.mark.parametrize("member", family.FAMILY)
def test_members(member: str, kind: Any, tmp_path: Path) -> None:
    hidden = {"dense": (7,), "conv": (5, 6), "resnet": (4, 8, 8)}[kind]
    likelihood = likelihoods.named("gaussian_learned")
    design = Design(SHAPE, 8, kind, hidden, logits_per_channel=likelihood.logits_per_channel)
    settings = family.choose_settings(member, SMALL.get(member, {}))
    model = family.make_model(member, design, settings, classes=CLASSES)
    trained = drawn(Network(model, likelihood), SHAPE)
    assert_computes_the_program(tmp_path, trained, signature_of(trained, SHAPE))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "conv", "resnet"])
@pytest.mark.parametrize("member", ["conditional", "vq", "fsq", "top-k"])
def test_members_compute_what_jax_computes(member: str, kind: Any, tmp_path: Path) -> None:
    """The members that have operations of their own."""
    trained = untrained(member, SHAPE, kind=kind, hidden=(5, 6) if kind != "dense" else (7,))
    signature = signature_of(trained, SHAPE)
    onnx_models.write(tmp_path, trained, signature)
    images = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), np.uint8)
    labels = np.arange(4, dtype=np.int32) % CLASSES
    given = () if trained.classes is None else (labels,)
    codes = trained.encode(images, labels)
    np.testing.assert_allclose(run(tmp_path, "encoder", images, *given), codes, atol=1e-5)
    decoded = run(tmp_path, "decoder", codes, *given)
    np.testing.assert_allclose(decoded, trained.decode(codes, labels), atol=1e-5)
    whole = run(tmp_path, "reconstruct", images, *given)
    np.testing.assert_allclose(whole, trained.reconstruct(images, labels), atol=1e-5)


PUBLISHED = ["fashion", "denoise", "latent2d", "latent3d", "conv", "deep", "vae"]


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name: str, tmp_path: Path) -> None:
    shape = (28, 28, 1)
    trained = drawn(Network(getattr(models, name)(shape), likelihoods.BERNOULLI), shape)
    assert_computes_the_program(tmp_path, trained, signature_of(trained, shape), count=1)


def dense(likelihood: str, width: int = 4, activation: str = "relu", **fields: Any) -> Trained:
    """Returns an autoencoder of vectors."""
    chosen, function = likelihoods.named(likelihood), models.build({"value": activation})
    encoder = DenseEncoder((6,), 3, activation=function, latent_activation=function)
    decoder = DenseDecoder((5,), (width * chosen.logits_per_channel,), activation=function)
    return drawn(Network(Autoencoder(encoder, decoder), chosen), (width,), **fields)


@pytest.mark.parametrize("name", models.ACTIVATIONS)
def test_activations(name: str, tmp_path: Path) -> None:
    trained = dense("bernoulli", activation=name)
    assert_computes_the_program(tmp_path, trained, signature_of(trained, (4,)))


@pytest.mark.slow
@pytest.mark.parametrize("name", BY_NAME)
def test_likelihoods_compute_what_jax_computes(name: str, tmp_path: Path) -> None:
    trained = dense(name)
    onnx_models.write(tmp_path, trained, signature_of(trained, (4,)))
    codes = np.array([[s * x, -x, x] for x in (0, 1e-4, 0.1, 2, 30, 300) for s in (-1, 1)], "f4")
    expected = trained.decode(codes)
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(run(tmp_path, "decoder", codes), expected, atol=1e-5, rtol=1e-5)


def test_vectors_are_scaled_and_scaled_back(tmp_path: Path) -> None:
    scaling = data.Scaling((1.0, 200.0, -3.0, 0.0), (1.0, 10.0, 5.0, 0.5))
    trained = dense("gaussian_identity", scaling=scaling)
    signature = signature_of(trained, (4,))
    assert signature.input == "float32"
    onnx_models.write(tmp_path, trained, signature)
    vectors = np.array([[1, 210, 7, 0.25], [2, 195, -3, 0]], np.float32)
    expected = trained.reconstruct(vectors)
    np.testing.assert_allclose(run(tmp_path, "reconstruct", vectors), expected, rtol=1e-5)


def test_a_network_of_ones_own_is_refused(tmp_path: Path) -> None:
    trained = dense("bernoulli")
    doubled = DenseEncoder((6,), 3, activation=lambda x: 2 * x)
    model = Autoencoder(doubled, DenseDecoder((5,), (4,)))
    own = Trained(Network(model, trained.network.likelihood), trained.variables)
    with pytest.raises(UserError, match="a part of your own"):
        onnx_models.write(tmp_path, own, signature_of(own, (4,)))
