"""Pairs of encoders and decoders: any size comes back, and the default widths."""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import models
from jaxae.errors import UserError
from jaxae.models import Autoencoder, ConvDecoder, Design, Shape, make_pair

SHAPES = [
    (1, 1, 1),
    (1, 7, 2),
    (2, 3, 1),
    (5, 5, 3),
    (8, 8, 1),
    (28, 28, 1),
    (30, 45, 3),
    (33, 64, 1),
    (255, 256, 3),
]
CONVOLUTIONAL: list[Any] = ["conv", "resnet"]
KEY = jax.random.key(0)


@pytest.mark.parametrize("maps", [False, True])
@pytest.mark.parametrize("kind", CONVOLUTIONAL)
@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_any_size_come_back(shape: Shape, kind: Any, maps: bool) -> None:
    for hidden in (None, (3,), (2, 3, 5)):
        design = Design(shape, 4, kind, hidden, logits_per_channel=2)
        model = Autoencoder(*make_pair(design, 4, maps=maps))
        logits, variables = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, *shape)))
        assert logits.shape == (2, *shape[:2], 2 * shape[2])
        code = jax.eval_shape(
            lambda variables, model=model: model.apply(
                variables, jnp.zeros((2, *shape)), method="encode"
            ),
            variables,
        )
        halved = len(design.widths) - (kind == "resnet")
        sides = tuple(-(-side // 2**halved) for side in shape[:2])
        assert code.shape == ((2, *sides, 4) if maps else (2, 4))


@pytest.mark.slow
def test_sides_that_are_halved_exactly_give_the_network_without_sizes() -> None:
    images = jnp.asarray(np.random.default_rng(0).normal(size=(3, 28, 28, 1)), jnp.float32)
    encoder, decoder = make_pair(Design((28, 28, 1), 5, "conv"), 5)
    assert isinstance(decoder, ConvDecoder)
    unsized = tuple(replace(layer, size=None) for layer in decoder.layers)
    plain = Autoencoder(
        encoder,
        ConvDecoder(
            unsized,
            (7, 7, 64),
            activation=decoder.activation,
            initialization=decoder.initialization,
        ),
    )
    sized = Autoencoder(encoder, decoder)
    outputs = [jax.jit(model.init_with_output)(KEY, images) for model in (plain, sized)]
    jax.tree.map(np.testing.assert_array_equal, *outputs)


@pytest.mark.parametrize(
    ("kind", "side", "widths"),
    [
        ("dense", 28, (500,)),
        ("conv", 1, (32, 64)),
        ("conv", 8, (32, 64)),
        ("conv", 28, (32, 64)),
        ("conv", 32, (32, 64)),
        ("conv", 64, (32, 64, 128)),
        ("conv", 256, (32, 64, 128, 256, 256)),
        ("resnet", 1, (16, 32)),
        ("resnet", 8, (16, 32)),
        ("resnet", 32, (16, 32, 64)),
        ("resnet", 64, (8, 16, 32, 64)),
        ("resnet", 128, (8, 16, 32, 64, 64)),
    ],
)
def test_default_widths_suit_the_longer_side(kind: Any, side: int, widths: Any) -> None:
    assert Design((side, max(side // 2, 1), 3), 4, kind).widths == widths


def test_a_vector_is_for_dense_networks() -> None:
    encoder, decoder = make_pair(Design((7,), 3, hidden=(5,), logits_per_channel=2), 3)
    model = Autoencoder(encoder, decoder)
    logits, variables = jax.eval_shape(model.init_with_output, KEY, jnp.zeros((2, 7)))
    assert logits.shape == (2, 14)
    assert models.count_parameters(variables) == (7 * 5 + 5) + (5 * 3 + 3) + (3 * 5 + 5) + 6 * 14
    for kind in CONVOLUTIONAL:
        with pytest.raises(UserError, match=r"vectors of 7 numbers.*choose a dense network"):
            make_pair(Design((7,), 3, kind), 3)
    for make in (models.conv, models.denoise, models.latent2d):
        with pytest.raises(UserError, match="vectors of 7 numbers"):
            make((7,))


@pytest.mark.parametrize("kind", CONVOLUTIONAL)
def test_convolutions_refuse_vectors_at_once(kind: Any) -> None:
    model = Autoencoder(*make_pair(Design((8, 8, 1), 3, kind, (2,)), 3))
    with pytest.raises(UserError, match="vectors of 64 numbers"):
        jax.eval_shape(model.init, KEY, jnp.zeros((2, 64)))


def test_designs_that_make_no_network_are_refused() -> None:
    for design, message in (
        (Design((8, 8), 3), "a shape of"),
        (Design((0,), 3), "a shape of"),
        (Design((8, 0, 1), 3, "conv"), "a shape of"),
        (Design((8, 8, 1), 0), "latent of 0"),
        (Design((8, 8, 1), 3, "conv", (4, 0)), "give 1 or more"),
        (Design((8, 8, 1), 3, "resnet", ()), "no hidden width"),
    ):
        with pytest.raises(UserError, match=message):
            make_pair(design, 3)
