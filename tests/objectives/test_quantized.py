"""The vector-quantized objective: its terms, and the codebooks that it trains."""

from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import Array

from jaxae import likelihoods, losses, objectives, train
from jaxae.errors import UserError
from jaxae.metrics import perplexity
from jaxae.models import (
    Autoencoder,
    Codebook,
    ConvDecoder,
    ConvEncoder,
    ConvLayer,
    DenseDecoder,
    DenseEncoder,
    FiniteScalarQuantizer,
    TopK,
    VectorQuantizer,
    in_groups,
    update_codebook,
)
from jaxae.network import Network, apply
from jaxae.objectives import vector_quantized
from jaxae.train import Batch, Examples, pixels

pytestmark = pytest.mark.slow

SHAPE = (4, 4, 1)
SIZE, DIMENSION = 6, 2
KEY, INIT_KEY = jax.random.split(jax.random.key(0, impl="rbg"))
ENCODER, DECODER = DenseEncoder((8,), 2 * DIMENSION), DenseDecoder((8,), SHAPE)
DENSE = Autoencoder(ENCODER, DECODER, VectorQuantizer(SIZE, DIMENSION))
CONV = Autoencoder(
    ConvEncoder((ConvLayer(2 * DIMENSION, stride=2),), latent_activation=jnp.tanh),
    ConvDecoder((ConvLayer(1, stride=2, transpose=True),)),
    VectorQuantizer(SIZE, DIMENSION),
)
BERNOULLI = likelihoods.BERNOULLI


def clustered(size: int, seed: int = 0) -> np.ndarray:
    """Returns images near four patterns, uint8 [size, *SHAPE]."""
    patterns = np.random.default_rng(1).integers(0, 2, (4, *SHAPE)) * 200
    noise = np.random.default_rng(seed).integers(0, 56, (size, *SHAPE))
    return (np.resize(patterns, (size, *SHAPE)) + noise).astype(np.uint8)


IMAGES = jnp.asarray(clustered(5))
BATCH = Batch(IMAGES, None, None, jnp.array([1.0, 1, 1, 1, 0]))


def objective_of(model: Autoencoder, **settings: Any) -> train.Objective:
    return partial(vector_quantized, network=Network(model, BERNOULLI), **settings)


def variables_of(model: Autoencoder) -> Any:
    return jax.jit(model.init)(INIT_KEY, jnp.zeros((1, *SHAPE)))


def features_of(model: Autoencoder, variables: Any) -> Array:
    return jax.jit(partial(apply, model, method="features"))(variables, pixels(IMAGES))


def indices_of(model: Autoencoder, variables: Any) -> np.ndarray:
    def indices(model: Any, x: Array) -> Array:
        return model.bottleneck.indices(model.features(x))

    return np.asarray(jax.jit(partial(model.apply, method=indices))(variables, pixels(IMAGES)))


@pytest.mark.parametrize("model", [DENSE, CONV])
def test_terms_are_those_of_the_code_and_add_up(model: Autoencoder) -> None:
    variables = variables_of(model)
    terms = jax.jit(objective_of(model, commitment=0.7))(variables, KEY, BATCH)
    metrics = terms.metrics
    weighted = metrics["reconstruction"] + 0.7 * metrics["commitment_error"]
    np.testing.assert_allclose(terms.loss, weighted, rtol=1e-6)
    reconstruction = partial(objectives.reconstruction, network=Network(model, BERNOULLI))
    plain = jax.jit(reconstruction)(variables, KEY, BATCH)
    np.testing.assert_allclose(metrics["reconstruction"], plain.loss, rtol=1e-5)
    features = features_of(model, variables)
    codes = Network(model, BERNOULLI).encode(variables, IMAGES)
    assert (jnp.abs(features - codes) > 0.01).any()
    distances = losses.squared_error(features, codes)
    np.testing.assert_allclose(metrics["commitment_error"], distances, rtol=1e-5)
    indices = indices_of(model, variables)[:4]  # without the padding
    np.testing.assert_allclose(metrics["perplexity"], perplexity(indices, SIZE), rtol=1e-5)


@pytest.mark.parametrize("model", [DENSE, CONV])
def test_the_codebook_returned_is_the_one_updated(model: Autoencoder) -> None:
    variables = variables_of(model)
    terms = jax.jit(objective_of(model, decay=0.8, threshold=0.2))(variables, KEY, BATCH)
    assert jax.tree.structure(terms.collections) == jax.tree.structure(
        {"codebook": variables["codebook"]}
    )
    expected = jax.jit(update_codebook)(
        Codebook(**variables["codebook"]["bottleneck"]),
        in_groups(features_of(model, variables), DIMENSION),
        jnp.asarray(indices_of(model, variables)),
        BATCH.weights,
        KEY,
        decay=0.8,
        threshold=0.2,
    )
    updated = Codebook(**terms.collections["codebook"]["bottleneck"])
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), vars(updated), vars(expected))
    assert (updated.vectors != variables["codebook"]["bottleneck"]["vectors"]).any()


def test_gradients_skip_the_codebook_and_reach_the_encoder() -> None:
    variables = variables_of(DENSE)

    def loss(variables: Any, commitment: float) -> Array:
        return objective_of(DENSE, commitment=commitment)(variables, KEY, BATCH).loss.sum()

    gradient_of = jax.jit(jax.grad(loss), static_argnums=1)
    gradient = gradient_of(variables, 0.0)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(gradient["codebook"]))
    # Without commitment, the features get the decoder's gradient at the codes.
    codes = Network(DENSE, BERNOULLI).encode(variables, IMAGES)

    def decoded(z: Array) -> Array:
        logits = apply(DENSE, variables, z, method="decode")
        return losses.bernoulli(logits, pixels(IMAGES)).sum()

    def encoded(params: Any) -> Array:
        return features_of(DENSE, {**variables, "params": params})

    (expected,) = jax.vjp(encoded, variables["params"])[1](jax.grad(decoded)(codes))
    close = partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    jax.tree.map(close, gradient["params"]["encoder"], expected["encoder"])
    committed = gradient_of(variables, 0.5)["params"]
    jax.tree.map(close, committed["decoder"], gradient["params"]["decoder"])
    pull = jax.grad(lambda params: 0.5 * jnp.square(encoded(params) - codes).sum())
    both = jax.tree.map(jnp.add, expected["encoder"], pull(variables["params"])["encoder"])
    jax.tree.map(close, committed["encoder"], both)


def test_padding_changes_nothing() -> None:
    variables = variables_of(CONV)
    objective = jax.jit(objective_of(CONV))
    terms = objective(variables, KEY, BATCH)
    other = replace(BATCH, images=IMAGES.at[4].set(255 - IMAGES[4]))
    changed = objective(variables, KEY, other)
    assert changed.loss[4] != terms.loss[4]
    jax.tree.map(np.testing.assert_array_equal, changed.collections, terms.collections)
    np.testing.assert_array_equal(changed.metrics["perplexity"], terms.metrics["perplexity"])


OPTIMIZER = optax.adam(1e-2)


def new_state(seed: Array | int, model: Autoencoder) -> train.State:
    init_key, run_key = jax.random.split(jax.random.key(seed))  # not rbg, which differs under vmap
    return train.init(run_key, model.init(init_key, jnp.zeros((1, *SHAPE))), OPTIMIZER)


def test_training_lowers_the_loss_and_uses_several_codes() -> None:
    objective, examples = objective_of(DENSE), Examples(clustered(50))
    state = new_state(0, DENSE)
    epoch = train.make_epoch(objective, OPTIMIZER, 8)
    history = []
    for _ in range(20):
        state, metrics = epoch(state, examples)
        history.append(metrics)
    first, last = history[0], history[-1]
    assert last["reconstruction"] < 0.7 * first["reconstruction"]
    assert last["loss"] < 0.7 * first["loss"]
    assert last["perplexity"] > 2
    assert last["skipped_steps"] == 0
    measured = train.make_evaluation(objective, 8)(train.variables_of(state), KEY, examples)
    assert measured["loss"] < 0.7 * first["loss"]


def test_replicas_are_separate_runs() -> None:
    of = {"objective": objective_of(DENSE), "optimizer": OPTIMIZER}
    # With this many images, no two codes become the same output, a tie that rounding would break.
    images = jnp.asarray(clustered(32))
    step = partial(train.take_step, batch=Batch(images, None, None, jnp.ones(32)), **of)
    states = [new_state(seed, DENSE) for seed in range(2)]
    together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
    step_alone, step_together = jax.jit(step), jax.jit(jax.vmap(step))
    for _ in range(3):
        together, metrics = step_together(together)
        for replica in range(2):
            states[replica], alone = step_alone(states[replica])
            ours = jax.tree.map(itemgetter(replica), (train.variables_of(together), metrics))
            theirs = (train.variables_of(states[replica]), alone)
            jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5), ours, theirs)


@pytest.mark.parametrize("bottleneck", [TopK(2), FiniteScalarQuantizer((5, 3))])
def test_other_bottlenecks_need_only_reconstruction(bottleneck: Any) -> None:
    model = Autoencoder(ENCODER, DECODER, bottleneck)
    variables = variables_of(model)
    assert variables.keys() == {"params"}
    with pytest.raises(UserError, match=r"has no codebook to train.*objectives.reconstruction"):
        objective_of(model)(variables, KEY, BATCH)

    def loss(params: Any) -> Array:
        network = Network(model, BERNOULLI)
        return objectives.reconstruction(
            {"params": params}, KEY, BATCH, network=network
        ).loss.mean()

    params, before = variables["params"], loss(variables["params"])
    descend = jax.jit(lambda p: jax.tree.map(lambda x, g: x - 0.1 * g, p, jax.grad(loss)(p)))
    for _ in range(30):
        params = descend(params)
    assert loss(params) < 0.9 * before
