"""The training loop against plain loops: exact weights, and all randomness from the key."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import likelihoods, metrics, models, objectives, train
from jaxae.errors import UserError
from jaxae.models import Autoencoder, DenseDecoder, DenseEncoder
from jaxae.network import Network
from jaxae.train import Batch, Examples, canonicalize, epoch_order, gather

pytestmark = pytest.mark.slow

SHAPE = (4, 4, 1)
SIZE = 23
BATCH = 5  # leaves a last batch of 3


@pytest.fixture(scope="module")
def examples() -> Examples:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (SIZE, *SHAPE), dtype=np.uint8)
    return Examples(images, generator.integers(0, 10, SIZE))


@pytest.fixture(scope="module")
def model() -> Autoencoder:
    return Autoencoder(DenseEncoder((8,), 2), DenseDecoder((8,), SHAPE))


@pytest.fixture(scope="module")
def optimizer() -> optax.GradientTransformation:
    return optax.adam(1e-2)


@pytest.fixture(scope="module")
def noisy_objective(model) -> train.Objective:
    """An objective that uses its key, so that a wrong key shows."""
    reconstruction = partial(
        objectives.reconstruction, network=Network(model, likelihoods.BERNOULLI)
    )
    return partial(
        objectives.denoising,
        objective=reconstruction,
        corrupt=partial(objectives.add_gaussian_noise, noise=0.3),
    )


def new_state(seed: int, model: nn.Module, optimizer: optax.GradientTransformation) -> train.State:
    init_key, run_key = jax.random.split(jax.random.key(seed))
    return train.init(run_key, model.init(init_key, jnp.zeros((1, *SHAPE))), optimizer)


def last(fit) -> train.Progress:
    *_, progress = fit
    return progress


def assert_trees_equal(left, right) -> None:
    jax.tree.map(np.testing.assert_array_equal, key_data(left), key_data(right))


def assert_trees_close(left, right, rtol: float = 1e-5) -> None:
    close = partial(np.testing.assert_allclose, rtol=rtol, atol=1e-6)
    jax.tree.map(close, key_data(left), key_data(right))


def key_data(tree):
    """Returns the tree with typed keys as integers, which NumPy can compare."""

    def plain(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        return jax.random.key_data(leaf) if is_key else leaf

    return jax.tree.map(plain, tree)


def test_epoch_equals_a_loop_over_unpadded_batches(examples, model, optimizer, noisy_objective):
    state = new_state(0, model, optimizer)
    epoch = train.make_epoch(noisy_objective, optimizer, BATCH)
    trained, measured = epoch(state, examples)

    expected, total = state, 0.0
    for indices in np.asarray(epoch_order(state.key, 0, SIZE, BATCH)):
        indices = indices[indices >= 0]
        padded = np.pad(indices, (0, BATCH - len(indices)), constant_values=-1)
        noise_key = jax.random.fold_in(jax.random.split(state.key)[1], expected.step)
        noisy = gather(jax.tree.map(jnp.asarray, examples), jnp.asarray(padded))

        def mean_loss(params, rows=slice(0, len(indices)), key=noise_key, batch=noisy):
            terms = noisy_objective({"params": params}, key, batch)
            return terms.loss[rows].mean()

        loss, gradient = jax.value_and_grad(mean_loss)(expected.params)
        with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
            updates, optimizer_state = optimizer.update(gradient, expected.optimizer_state)
        expected = train.State(
            optax.apply_updates(expected.params, updates),
            {},
            optimizer_state,
            expected.step + 1,
            expected.key,
            expected.skipped,
        )
        total += float(loss) * len(indices)

    assert_trees_close(trained, expected)
    np.testing.assert_allclose(measured["loss"], total / SIZE, rtol=1e-5)


def test_padding_has_no_weight_in_the_gradient(examples, model, optimizer):
    objective = partial(objectives.reconstruction, network=Network(model, likelihoods.BERNOULLI))
    step = train.make_step(objective, optimizer)
    state = new_state(0, model, optimizer)
    whole = step(state, gather(examples, jnp.array([4, 9, 2])))
    padded = step(state, gather(examples, jnp.array([4, 9, 2, -1, -1])))
    assert_trees_close(whole, padded)


@pytest.mark.parametrize("chunk_steps", [1, 2, 3, 100])
def test_chunks_do_not_change_a_fit(examples, model, optimizer, noisy_objective, chunk_steps):
    fit = partial(
        train.fit,
        new_state(0, model, optimizer),
        examples,
        objective=noisy_objective,
        optimizer=optimizer,
        epochs=2,
        batch_size=BATCH,
    )
    whole = list(fit())
    chunks = list(fit(chunk_steps=chunk_steps))
    assert [progress.epoch for progress in whole] == [1, 2]
    assert all(p.finished_epoch or p.state.step % chunk_steps == 0 for p in chunks)
    assert_trees_close(chunks[-1].state, whole[-1].state)
    assert_trees_close(chunks[-1].metrics, whole[-1].metrics)


def test_resumed_within_an_epoch_equals_uninterrupted(examples, model, optimizer, noisy_objective):
    fit = partial(
        train.fit,
        objective=noisy_objective,
        optimizer=optimizer,
        epochs=3,
        batch_size=BATCH,
        chunk_steps=1,
    )
    whole = list(fit(new_state(0, model, optimizer), examples))
    stopped = whole[6]  # in the second epoch, of five steps
    assert not stopped.finished_epoch
    resumed = list(fit(stopped.state, examples, totals=stopped.totals))
    assert len(resumed) == len(whole) - 7
    for left, right in zip(resumed, whole[7:], strict=True):
        assert_trees_equal(left.state, right.state)
        assert_trees_equal(left.metrics, right.metrics)


def test_replicas_equal_separate_runs(examples, model, optimizer, noisy_objective):
    states = [new_state(seed, model, optimizer) for seed in range(3)]
    fit = partial(
        train.fit,
        examples=examples,
        objective=noisy_objective,
        optimizer=optimizer,
        epochs=2,
        batch_size=BATCH,
    )
    together = last(fit(jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)))
    for replica, state in enumerate(states):
        alone = last(fit(state))
        pick = partial(jax.tree.map, lambda leaf, index=replica: leaf[index])
        assert_trees_equal(pick(together.state), alone.state)
        assert_trees_equal(pick(together.metrics), alone.metrics)


def test_compiles_once_for_all_epochs_and_chunks(examples, model, optimizer):
    traced = []

    def objective(variables, key, batch):
        traced.append(batch.images.shape)
        network = Network(model, likelihoods.BERNOULLI)
        return objectives.reconstruction(variables, key, batch, network=network)

    fit = train.fit(
        new_state(0, model, optimizer),
        examples,
        objective=objective,
        optimizer=optimizer,
        epochs=3,
        batch_size=BATCH,
        chunk_steps=2,
    )
    next(fit)
    after_first_chunk = len(traced)
    assert len(list(fit)) == 8  # to steps 4, 5, 6, 8, 10, 12, 14 and 15
    assert len(traced) == after_first_chunk
    assert set(traced) == {(BATCH, *SHAPE)}  # padded batches


@pytest.mark.parametrize("batch_size", [1, 4, SIZE, 100])
def test_evaluation_is_exact_whatever_the_batch_size(examples, model, optimizer, batch_size):
    variables = train.variables_of(new_state(0, model, optimizer))
    objective = partial(objectives.reconstruction, network=Network(model, likelihoods.BERNOULLI))
    evaluate = train.make_evaluation(objective, batch_size)
    measured = evaluate(variables, jax.random.key(0), examples)
    everything = gather(jax.tree.map(jnp.asarray, examples), jnp.arange(SIZE))
    expected = objective(variables, jax.random.key(0), everything).loss.mean()
    np.testing.assert_allclose(measured["loss"], expected, rtol=1e-6)


def test_variables_without_gradient_follow_the_objective(examples):
    def objective(variables, key, batch: Batch) -> train.Terms:
        mean = batch.images.mean() / 255
        count = variables["statistics"]["count"] + 1
        loss = jnp.square(variables["params"]["guess"] - mean)  # a scalar, not one per example
        return train.Terms(loss, {"mean": mean}, {"statistics": {"count": count}})

    variables = {"params": {"guess": jnp.zeros(())}, "statistics": {"count": jnp.zeros(())}}
    optimizer = optax.sgd(0.1)
    state = train.init(jax.random.key(0), variables, optimizer)
    progress = last(
        train.fit(
            state, examples, objective=objective, optimizer=optimizer, epochs=2, batch_size=BATCH
        )
    )
    assert progress.state.collections["statistics"]["count"] == 10
    assert progress.state.params["guess"] > 0.1


def test_noise_is_new_each_step_and_the_same_each_time(examples, model, optimizer):
    def objective(variables, key, batch):
        return train.Terms(jnp.zeros(()), {"noise": jax.random.normal(key)})

    def noise() -> list[float]:
        fit = train.fit(
            new_state(0, model, optimizer),
            examples,
            objective=objective,
            optimizer=optimizer,
            epochs=2,
            batch_size=SIZE,
        )
        return [float(progress.metrics["noise"]) for progress in fit]

    assert noise() == noise()
    assert len(set(noise())) == 2


def test_linear_autoencoder_reaches_the_pca_optimum():
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(200, 3)) * (3.0, 2.0, 0.5)
    images = (factors @ generator.normal(size=(3, 16))).reshape(-1, *SHAPE).astype(np.float32)
    pca = metrics.fit_pca(images, 2)
    optimum = np.square(pca.reconstruct(images) - images).sum(axis=(1, 2, 3)).mean()

    model = Autoencoder(DenseEncoder((), 2), DenseDecoder((), SHAPE))
    linear = likelihoods.Likelihood(lambda x: x, lambda x: x, likelihoods.losses.squared_error)
    optimizer = optax.adam(optax.cosine_decay_schedule(0.1, 600))
    progress = last(
        train.fit(
            new_state(0, model, optimizer),
            Examples(images),
            objective=partial(objectives.reconstruction, network=Network(model, linear)),
            optimizer=optimizer,
            epochs=600,
            batch_size=200,
        )
    )
    assert optimum <= progress.metrics["loss"] * (1 + 1e-5)
    np.testing.assert_allclose(progress.metrics["loss"], optimum, rtol=1e-3)


def test_golden_first_step_of_fashion():
    """Update the numbers only when initialization, order or noise are changed on purpose."""
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, 28, 28, 1), dtype=np.uint8)
    model = models.fashion((28, 28, 1))
    optimizer = optax.adam(1e-3, eps=1e-7)
    variables = model.init(jax.random.key(1), jnp.zeros((1, 28, 28, 1)))
    objective = partial(
        objectives.reconstruction,
        network=Network(model, likelihoods.BERNOULLI),
        per_pixel=True,
    )
    epoch = train.make_epoch(objective, optimizer, 32)
    state, measured = epoch(train.init(jax.random.key(2), variables, optimizer), Examples(images))
    bias = state.params["decoder"]["Dense_2"]["bias"]
    np.testing.assert_allclose(measured["loss"], 0.693577, rtol=1e-5)
    np.testing.assert_allclose(jnp.abs(bias).max(), 0.002, rtol=1e-2)  # two steps of Adam at 1e-3


def never_called(variables: train.Variables, key: jax.Array, batch: Batch) -> train.Terms:
    raise AssertionError("an objective was called with examples that should have been refused")


@pytest.mark.parametrize(
    ("images", "batch_size", "message"),
    [
        (np.zeros((10, 4, 4), np.uint8), 2, "add a last axis"),
        (np.zeros((0, 4, 4, 1), np.uint8), 1, "no axis of length 0"),
        (np.zeros((10, 4, 4, 1), np.uint8), 0, "from 1 to 10"),
        (np.zeros((10, 4, 4, 1), np.uint8), 11, "from 1 to 10"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(model, optimizer, images, batch_size, message):
    fit = train.fit(
        new_state(0, model, optimizer),
        Examples(images),
        objective=never_called,
        optimizer=optimizer,
        epochs=1,
        batch_size=batch_size,
    )
    with pytest.raises(UserError, match=message):
        next(fit)


def test_images_that_are_no_examples_are_refused(model, optimizer, examples):
    fit = train.fit(
        new_state(0, model, optimizer),
        examples.images,
        objective=never_called,
        optimizer=optimizer,
        epochs=1,
        batch_size=5,
    )
    with pytest.raises(UserError, match=r"ndarray.* give train\.Examples\(images\)"):
        next(fit)


def test_an_epoch_can_be_part_of_a_program(examples, model, optimizer, noisy_objective):
    epoch = train.make_epoch(noisy_objective, optimizer, BATCH)
    evaluate = train.make_evaluation(noisy_objective, BATCH)
    state, key = new_state(0, model, optimizer), jax.random.key(1)

    def train_and_evaluate(state, examples):
        state, measured = epoch(state, examples)
        return measured, evaluate(train.variables_of(state), key, examples)

    whole = jax.jit(train_and_evaluate)(state, canonicalize(examples))
    assert_trees_close(whole, train_and_evaluate(state, examples))


def test_labels_must_match_the_images(model, optimizer, examples):
    fit = train.fit(
        new_state(0, model, optimizer),
        Examples(examples.images, examples.labels[:5]),
        objective=never_called,
        optimizer=optimizer,
        epochs=1,
        batch_size=5,
    )
    with pytest.raises(UserError, match="5 labels were given for 23 images"):
        next(fit)


@pytest.mark.parametrize("name", ["fashion", "vae"])
def test_half_precision_keeps_float32_where_it_counts(name):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, 28, 28, 1), dtype=np.uint8)
    optimizer = optax.adam(1e-3)
    losses = []
    for dtype in (None, jnp.bfloat16):
        model = getattr(models, name)((28, 28, 1), dtype=dtype)
        objective = partial(
            objectives.negative_elbo if name == "vae" else objectives.reconstruction,
            network=Network(model, likelihoods.BERNOULLI),
        )
        variables = model.init(jax.random.key(1), jnp.zeros((1, 28, 28, 1)))
        state, measured = train.make_epoch(objective, optimizer, 16)(
            train.init(jax.random.key(2), variables, optimizer), Examples(images)
        )
        floats = [x for x in jax.tree.leaves(state) if jnp.issubdtype(x.dtype, jnp.floating)]
        assert {leaf.dtype for leaf in floats} == {jnp.dtype(jnp.float32)}
        assert measured["loss"].dtype == jnp.float32
        losses.append(measured["loss"])
        if dtype is not None:
            logits = model.apply({"params": state.params}, jnp.zeros((1, 28, 28, 1)))
            assert logits.dtype == dtype
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-2)
    assert losses[1] != losses[0]
