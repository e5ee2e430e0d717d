"""The optimizers of `jaxae train`: schedules, clipping and weight decay, alone and together."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import train
from jaxae.commands.optimizers import make_optimizer
from jaxae.errors import UserError

PARAMS = {
    "dense": {"kernel": jnp.array([[0.5, -1.0], [2.0, 0.3], [0.1, 0.7]]), "bias": jnp.ones(2)},
    "conv": {"kernel": jnp.arange(1.0, 25.0).reshape(2, 2, 2, 3) / 20, "bias": jnp.ones(3)},
}
ONES = jax.tree.map(jnp.ones_like, PARAMS)
NOTHING = jax.tree.map(jnp.zeros_like, PARAMS)
RATE, STEPS = 0.01, 40
OPTIMIZERS: Any = ("adam", "adamw", "muon", "schedule-free")

close = partial(jax.tree.map, partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-8))


def updates_of(optimizer: optax.GradientTransformation, gradients: list[Any]) -> list[Any]:
    """Returns the updates of the same parameters for some gradients in turn."""
    state, found = optimizer.init(PARAMS), []
    update = jax.jit(optimizer.update)
    with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
        for gradient in gradients:
            updates, state = update(gradient, state, PARAMS)
            found.append(updates)
    return found


def rates(**options: Any) -> np.ndarray:
    """Returns the learning rate at each step: Adam's update of a constant gradient of 1."""
    updates = updates_of(make_optimizer(RATE, STEPS, **options), [ONES] * STEPS)
    return np.array([-update["dense"]["bias"][0] for update in updates])


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine", "warmup-cosine", "plateau"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_learning_rate_can_be_an_argument_of_an_update(name: Any, schedule: Any) -> None:
    if name == "schedule-free" and schedule != "constant":
        pytest.skip("this optimizer has no schedule")
    options: Any = {"optimizer": name, "schedule": schedule, "clip": 0.5}
    options |= {} if name == "schedule-free" else {"ema": 0.9}

    def updates(made: float, given: float | None) -> Any:
        optimizer = make_optimizer(made, STEPS, **options)
        extra = {} if given is None else {"learning_rate": jnp.asarray(given)}
        state, found = optimizer.init(PARAMS), []
        with jax.numpy_dtype_promotion("standard"):  # optax promotes dtypes
            for _ in range(3):
                each, state = optimizer.update(ONES, state, PARAMS, **extra)
                found.append(each)
        return found

    close(updates(RATE, 0.03), updates(0.03, None))


@pytest.mark.slow
def test_schedules_have_the_rates_of_their_formulas() -> None:
    close = partial(np.testing.assert_allclose, rtol=1e-3, atol=1e-7)
    steps = np.arange(STEPS)
    close(rates(), np.full(STEPS, RATE))
    close(rates(schedule="cosine"), RATE * (1 + np.cos(np.pi * steps / STEPS)) / 2)
    warm = rates(schedule="warmup-cosine", warmup=0.25)
    close(warm[:11], RATE * np.arange(11) / 10)
    close(warm[10:], RATE * (1 + np.cos(np.pi * (steps[10:] - 10) / 30)) / 2)
    # By default 0.05 of 40 steps.
    close(rates(schedule="warmup-cosine")[:3], [0, RATE / 2, RATE])
    close(rates(schedule="warmup-cosine", warmup=0.0), rates(schedule="cosine"))
    # No step is left over for the rise, or almost none for the fall.
    close(rates(schedule="warmup-cosine", warmup=0.01), rates(schedule="cosine"))
    assert rates(schedule="warmup-cosine", warmup=0.9999)[-1] == pytest.approx(RATE, rel=1e-3)
    close(rates(schedule="plateau"), np.full(STEPS, RATE))


@pytest.mark.slow
def test_a_gradient_is_clipped_before_it_is_used() -> None:
    large = jax.tree.map(lambda leaf: 5 * leaf, ONES)
    gradients = [large, ONES, large]
    clipped = [
        jax.tree.map(lambda leaf, norm=optax.tree.norm(each): leaf * min(1, 0.3 / norm), each)
        for each in gradients
    ]
    ours = updates_of(make_optimizer(RATE, STEPS, clip=0.3), gradients)
    close(ours, updates_of(optax.adam(RATE), clipped))
    # A gradient below the norm is left as it is.
    close(
        updates_of(make_optimizer(RATE, STEPS, clip=1e6), gradients),
        updates_of(optax.adam(RATE), gradients),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_applies_only_to_kernels(name: Any) -> None:
    warmup = 0.0 if name == "schedule-free" else None
    optimizer = make_optimizer(0.1, STEPS, optimizer=name, weight_decay=0.5, warmup=warmup)
    (updates,) = updates_of(optimizer, [NOTHING])
    for layer in ("dense", "conv"):
        expected = {"kernel": -0.05 * PARAMS[layer]["kernel"], "bias": NOTHING[layer]["bias"]}
        close(updates[layer], expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "decay"), [("adam", 0.0), ("adamw", 0.01), ("muon", 0.01), ("schedule-free", 0.0)]
)
def test_weight_decay_suits_the_optimizer_by_default(name: Any, decay: float) -> None:
    ours, expected = (
        updates_of(make_optimizer(RATE, STEPS, optimizer=name, weight_decay=given), [ONES] * 3)
        for given in (None, decay)
    )
    close(ours, expected)


@pytest.mark.slow
def test_adam_has_the_same_state_as_ever() -> None:
    """Else older runs could not be resumed."""
    for decay in (0.0, None):
        ours = make_optimizer(RATE, STEPS, weight_decay=decay).init(PARAMS)
        assert jax.tree.structure(ours) == jax.tree.structure(optax.adam(RATE).init(PARAMS))
    decayed = make_optimizer(RATE, STEPS, weight_decay=0.1)
    adamw = optax.adamw(RATE, weight_decay=0.1, mask=partial(jax.tree.map, lambda leaf: True))
    assert jax.tree.structure(decayed.init(PARAMS)) == jax.tree.structure(adamw.init(PARAMS))


@pytest.mark.slow
def test_the_state_of_schedule_free_has_one_structure_for_any_number_of_steps() -> None:
    params = {"kernel": jnp.ones((2, 2))}
    structures = {
        jax.tree.structure(make_optimizer(0.1, steps, optimizer="schedule-free").init(params))
        for steps in (9, 1000)
    }
    assert len(structures) == 1


def test_schedule_free_without_weight_decay_is_that_of_optax() -> None:
    gradients = [ONES, jax.tree.map(lambda leaf: -2 * leaf, PARAMS), ONES, PARAMS, ONES]
    ours = make_optimizer(RATE, STEPS, optimizer="schedule-free", warmup=0.1)
    close(
        updates_of(ours, gradients),
        updates_of(optax.contrib.schedule_free_adamw(RATE, warmup_steps=4), gradients),
    )


@pytest.mark.slow
def test_muon_orthogonalizes_a_convolution_as_a_matrix_and_leaves_biases_to_adam() -> None:
    gradient = jax.tree.map(
        lambda leaf: jax.random.normal(jax.random.key(leaf.size), leaf.shape), PARAMS
    )
    (updates,) = updates_of(
        make_optimizer(RATE, STEPS, optimizer="muon", weight_decay=0.0), [gradient]
    )
    (adam,) = updates_of(optax.nadam(RATE), [gradient])
    for layer, shape in (("dense", (3, 2)), ("conv", (8, 3))):
        close(updates[layer]["bias"], adam[layer]["bias"])
        update = np.asarray(updates[layer]["kernel"]).reshape(shape)
        left, _, right = np.linalg.svd(
            np.asarray(gradient[layer]["kernel"]).reshape(shape), full_matrices=False
        )
        # The nearest orthogonal matrix; Newton and Schulz's singular values are 0.7 to 1.2.
        singular = np.diag(left.T @ -update @ right.T)
        assert singular.min() / singular.max() > 0.5
        root_mean_square = np.sqrt(np.square(update).mean())
        assert 0.7 * RATE < root_mean_square < 1.3 * RATE


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"clip": 0.0}, "--clip 0.0: give a positive number"),
        ({"clip": float("inf")}, "--clip inf"),
        ({"clip": float("nan")}, "--clip nan"),
        ({"ema": 1.0}, "--ema 1.0: give 0 or more, and less than 1"),
        ({"ema": -0.5}, "--ema -0.5"),
        ({"ema": float("nan")}, "--ema nan"),
        ({"warmup": 1.0, "schedule": "warmup-cosine"}, "--warmup 1.0"),
        ({"warmup": -0.1, "schedule": "warmup-cosine"}, "--warmup -0.1"),
        ({"warmup": 0.1}, "--warmup 0.1: --schedule constant has no warm-up"),
        ({"warmup": 0.1, "schedule": "cosine"}, "--schedule cosine has no warm-up"),
        ({"weight_decay": -1.0}, "--weight-decay -1.0: give 0 or more"),
        ({"optimizer": "schedule-free", "schedule": "cosine"}, "leave out --schedule"),
        ({"optimizer": "schedule-free", "schedule": "plateau"}, "leave out --schedule"),
        ({"optimizer": "schedule-free", "ema": 0.9}, "leave out --ema"),
    ],
)
def test_options_out_of_range_or_without_meaning_are_refused(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make_optimizer(RATE, STEPS, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimizer_lowers_a_loss_and_each_replica_by_itself(name: Any) -> None:
    """Also with clipping, a plateau and an average around it."""
    more: Any = {} if name == "schedule-free" else {"schedule": "plateau", "ema": 0.5}
    optimizer = make_optimizer(0.05, 60, optimizer=name, clip=1.0, **more)

    def objective(variables: train.Variables, key: jax.Array, batch: train.Batch) -> train.Terms:
        norm = jnp.square(optax.tree.norm(variables["params"]))
        return train.Terms(jnp.broadcast_to(norm, batch.weights.shape))

    examples = train.Examples(np.zeros((4, 2, 2, 1), np.uint8))
    fit = partial(
        train.fit, examples=examples, objective=objective, optimizer=optimizer, batch_size=2
    )
    starts = [
        train.init(jax.random.key(0), {"params": params}, optimizer)
        for params in (PARAMS, jax.tree.map(lambda leaf: leaf / 2, PARAMS))
    ]
    (*_, together) = fit(jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts), epochs=30)
    for index, start in enumerate(starts):
        (*_, alone) = fit(start, epochs=30)
        averaged = train.evaluation_variables(alone.state)
        of_one = jax.tree.map(
            lambda leaf, i=index: leaf[i], train.evaluation_variables(together.state)
        )
        close(of_one, averaged)
        before, after = (optax.tree.norm(tree) for tree in (start.params, averaged["params"]))
        assert after < 0.8 * before
