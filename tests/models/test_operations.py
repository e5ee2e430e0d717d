"""Networks as lists of operations: computed as their docstring says, they are the networks."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import family, models
from jaxae.errors import UserError
from jaxae.models import Autoencoder, DenseDecoder, DenseEncoder, Design
from support import operations

GENERATOR = np.random.default_rng(0)
PUBLISHED = {
    "fashion": models.fashion,
    "denoise": models.denoise,
    "latent2d": models.latent2d,
    "latent3d": models.latent3d,
    "conv": models.conv,
    "deep": models.deep,
    "vae": models.vae,
}


def assert_same(model: nn.Module, shape: tuple[int, ...], *, label: int | None = None) -> None:
    """Compares codes, and the logits of the model's own codes."""
    labels = () if label is None else (jnp.array([label]),)
    variables = model.init(jax.random.key(0), jnp.zeros((1, *shape)), *labels)
    variables = jax.tree.map(lambda leaf: leaf + 0.05 * noise(leaf.shape), variables)
    image = jnp.asarray(GENERATOR.random(shape, np.float32))
    code: Any = model.apply(variables, image[None], *labels, method="encode")
    logits: Any = model.apply(variables, code, *labels, method="decode")
    encode = models.encoder_operations(model, variables, shape)
    ours = operations.compute(encode, np.asarray(image), label or 0)
    np.testing.assert_allclose(ours, code[0], atol=1e-4, rtol=1e-4)
    decode = models.decoder_operations(model, variables, code.shape[1:])
    ours = operations.compute(decode, np.asarray(code[0]), label or 0)
    np.testing.assert_allclose(ours, logits[0], atol=1e-4, rtol=1e-4)


def noise(shape: tuple[int, ...]) -> jax.Array:
    return jnp.asarray(GENERATOR.normal(size=shape), jnp.float32)


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks(name: str) -> None:
    assert_same(PUBLISHED[name]((28, 28, 1)), (28, 28, 1))


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(20, 19, 3), (7, 30, 1)])
@pytest.mark.parametrize("name", ["denoise", "latent2d"])
def test_published_networks_of_other_sizes(name: str, shape: tuple[int, ...]) -> None:
    assert_same(PUBLISHED[name](shape), shape)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dense", "conv", "resnet"])
@pytest.mark.parametrize("member", family.FAMILY)
def test_members(member: str, kind: Any) -> None:
    """Sides that are not halved exactly crop what is upsampled."""
    shape = (9, 6, 2)
    hidden = {"dense": (7,), "conv": (5, 6), "resnet": (4, 8, 8)}[kind]
    design = Design(shape, 8, kind, hidden, logits_per_channel=2)
    settings = family.choose_settings(member, small_settings(member))
    model = family.make_model(member, design, settings, classes=3)
    assert_same(model, shape, label=2 if member == "conditional" else None)


def small_settings(member: str) -> dict[str, Any]:
    return {"top-k": {"active": 3}, "vq": {"codebook": 5, "dimension": 4}}.get(member, {})


@pytest.mark.parametrize("name", models.ACTIVATIONS)
def test_activations(name: str) -> None:
    activation = models.build({"value": name})
    encoder = DenseEncoder((6,), 3, activation=activation, latent_activation=activation)
    model = Autoencoder(encoder, DenseDecoder((5,), (4,), activation=activation))
    assert_same(model, (4,))


def test_a_part_of_ones_own_is_an_error() -> None:
    class Own(nn.Module):
        @nn.compact
        def __call__(self, x: jax.Array) -> jax.Array:
            return nn.Dense(2)(x)

    model = Autoencoder(Own(), DenseDecoder((5,), (4,)))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    with pytest.raises(UserError, match="a part of your own, Own: only networks made of"):
        models.encoder_operations(model, variables, (4,))
    doubled = DenseEncoder((6,), 3, activation=lambda x: 2 * x)
    model = Autoencoder(doubled, DenseDecoder((5,), (4,)))
    variables = model.init(jax.random.key(0), jnp.zeros((1, 4)))
    with pytest.raises(UserError, match="a part of your own"):
        models.encoder_operations(model, variables, (4,))
