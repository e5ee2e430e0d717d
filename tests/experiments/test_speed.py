"""The speed benchmark: equal training, exact counts, correct tables, and the command itself."""

import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import compare
import speed_limits
import speed_page
import speed_tables
from experiment_files import configure, default_workload, load_experiment
from jaxae import data, runs, train
from jaxae.train import Batch, Examples, epoch_order
from speed_processes import Contender, Place, measure_rounds
from speed_workloads import Limit, Measurement, NotMeasured, Times, Workload
from support.commands import REPOSITORY, SECONDS, environment

SHAPE = (28, 28, 1)
WORKLOAD = Workload("fashion", 512, 1e-3, 20, 6000, 10)


def make(workload: Workload, **changes: Any) -> tuple[runs.Recipe, train.State]:
    """Returns a recipe of an experiment, and the state before training."""
    experiment = load_experiment(workload.recipe)
    options = replace(configure(experiment.Options(), workload), **changes)
    recipe = experiment.make_recipe(options, SHAPE)
    return recipe, runs.initial_state(options.run, recipe.network.model, recipe.optimizer, SHAPE)


def in_pytorch(params: dict) -> list[np.ndarray]:
    """Returns weights and biases in PyTorch's layout, in the order of the layers."""
    # Dense layers of latent2d connect a code with feature maps, which are H, W, C in jaxae.
    channels_first = np.arange(7 * 7 * 64).reshape(7, 7, 64).transpose(2, 0, 1).ravel()
    arrays = []
    for part in ("encoder", "decoder"):
        # Convolutions come before dense layers in an encoder, and after them in a decoder.
        names = sorted(
            params[part], key=lambda name: (name.startswith("Dense") == (part == "encoder"), name)
        )
        for name in names:
            kernel, bias = (np.asarray(params[part][name][leaf]) for leaf in ("kernel", "bias"))
            if name.startswith("ConvTranspose"):
                kernel = kernel[::-1, ::-1].transpose(2, 3, 0, 1)
            elif name.startswith("Conv"):
                kernel = kernel.transpose(3, 2, 0, 1)
            else:
                if kernel.shape[0] == len(channels_first):
                    kernel = kernel[channels_first]
                if kernel.shape[1] == len(channels_first):
                    kernel, bias = kernel[:, channels_first], bias[channels_first]
                kernel = kernel.T
            arrays += [np.ascontiguousarray(kernel), bias]
    return arrays


@pytest.mark.parametrize("recipe", compare.STEPS)
def test_pytorch_trains_the_same_function(recipe):
    torch = pytest.importorskip("torch", reason="needs PyTorch, a peer of the benchmark")
    import pytorch_networks

    changes = {"denoise": {"noise": 0.0}, "conv": {"weight_decay": 0.1}}.get(recipe, {})
    workload = replace(default_workload(recipe, steps=5), batch_size=16)
    ours, state = make(workload, **changes)
    peer = replace(pytorch_networks.PEERS[recipe], **changes)
    network = peer.network(workload.latent or 0)
    with torch.no_grad():
        for parameter, array in zip(network.parameters(), in_pytorch(state.params), strict=True):
            parameter.copy_(torch.from_numpy(np.array(array)))
    optimizer = pytorch_networks.make_optimizer(peer, network, workload.learning_rate, fused=False)
    step = train.make_step(ours.objective, ours.optimizer)
    images = data.load("mnist_mini").train.images[:16]
    batch = Batch(jnp.asarray(images), None, None, jnp.ones(16))
    theirs = torch.from_numpy(images.transpose(0, 3, 1, 2).copy())
    theirs = theirs if peer.convolutional else theirs.flatten(1)
    losses = []
    for _ in range(3):
        state, metrics = step(state, batch)
        optimizer.zero_grad()
        loss = pytorch_networks.training_loss(peer, network, theirs)
        loss.backward()
        optimizer.step()
        losses.append((float(metrics["loss"]), loss.item()))
    np.testing.assert_allclose(*np.transpose(losses), rtol=1e-4)
    assert losses[2][0] < losses[0][0]


@pytest.mark.slow
def test_flops_of_a_dense_step_have_a_closed_form():
    recipe, state = make(WORKLOAD)
    examples = Examples(jnp.zeros((600, *SHAPE), jnp.uint8))
    context = (examples, epoch_order(state.key, 0, 600, 512))
    step = train.make_training_step(recipe.objective, recipe.optimizer, replicas=False)
    counted = speed_limits.gemm_flops(jax.make_jaxpr(step)(0, state, context).jaxpr)
    layers = [(784, 256), (256, 128), (128, 20), (20, 128), (128, 256), (256, 784)]
    forward = sum(2 * 512 * rows * columns for rows, columns in layers)
    assert counted == 3 * forward - 2 * 512 * 784 * 256  # no gradient of the images


@pytest.mark.parametrize(
    ("strides", "padding", "lhs_dilation", "rhs_dilation"),
    [
        ((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ((2, 3), ((0, 1), (2, 0)), (1, 1), (1, 1)),
        ((1, 1), ((2, 1), (2, 1)), (2, 2), (1, 1)),
        ((1, 1), ((0, -1), (0, 0)), (1, 1), (2, 3)),
    ],
)
def test_flops_of_a_convolution_leave_the_padding_out(strides, padding, lhs_dilation, rhs_dilation):
    def convolve(x, kernel):
        return jax.lax.conv_general_dilated(x, kernel, strides, padding, lhs_dilation, rhs_dilation)

    x, kernel = jnp.ones((2, 3, 9, 8)), jnp.ones((5, 3, 3, 2))
    products = int(convolve(x, kernel).sum())  # each product is 1
    assert speed_limits.gemm_flops(jax.make_jaxpr(convolve)(x, kernel).jaxpr) == 2 * products


def test_flops_count_the_default_branch_and_one_iteration_of_a_loop():
    x = jnp.ones((4, 4))

    def powers(x):
        x = jax.lax.platform_dependent(x, cpu=lambda x: x @ x, default=lambda x: x @ x @ x @ x)
        return jax.lax.fori_loop(0, 10, lambda _, x: x @ x, x)

    assert speed_limits.gemm_flops(jax.make_jaxpr(powers)(x).jaxpr) == 4 * 2 * 4**3


def test_the_limit_is_the_larger_time():
    assert Limit(2_000, 1e6).milliseconds == 2
    assert Limit(2_000, 1e6, moved_bytes=3_000, peak_bytes=1e6).milliseconds == 3


def test_kernels_are_counted_in_the_entry():
    step = jax.jit(lambda x: jnp.sin(x @ x).sum()).lower(jnp.ones((8, 8))).compile()
    assert 1 <= speed_limits.kernels(step.as_text() or "") <= 4


def measured(*milliseconds: float) -> Measurement:
    """Returns a measurement of chunks with these milliseconds per step."""
    times = Times(list(milliseconds), compilation_seconds=2, first_step_seconds=5)
    return Measurement("JAX", "cpu", times, 400_000_000, limit=Limit(10**9, 1e12))


def test_tables_have_medians_and_the_ratios_of_pairs():
    rounds = [
        {speed_tables.OURS: measured(1, 2, 9), speed_tables.PYTORCH: measured(4)},
        {speed_tables.OURS: measured(4), speed_tables.PYTORCH: measured(4)},
        {speed_tables.OURS: measured(3), speed_tables.PYTORCH: measured(12)},
    ]
    cells = speed_tables.steps_row(speed_tables.Row(WORKLOAD, rounds), speed_tables.PYTORCH)
    assert cells[1:4] == ["3", "4", "2 (1 to 4)"]
    assert cells[4:6] == ["170,667", "128,000"]
    assert cells[6:] == ["400", "400", "1", "3", "JAX"]


def test_a_peer_that_is_not_installed_is_reported_as_missing():
    rounds = [
        {
            speed_tables.OURS: measured(1),
            speed_tables.PYTORCH: NotMeasured("torch is not installed"),
        }
    ]
    text = speed_page.page_text(
        speed_page.Page(["a machine"], [speed_tables.Row(WORKLOAD, rounds)])
    )
    assert "| 1 | torch is not installed | - |" in text
    assert "GPU: not measured yet" in text


def test_replicas_are_compared_with_one_after_the_other():
    rows = [
        speed_tables.Row(
            replace(WORKLOAD, replicas=replicas), [{speed_tables.OURS: measured(milliseconds)}]
        )
        for replicas, milliseconds in ((1, 10), (4, 20))
    ]
    last = speed_tables.growth_table(rows).splitlines()[-1]
    assert "| 20 | 40 | 2 | 102,400 |" in last


def test_markdown():
    assert speed_tables.markdown(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"


def test_a_framework_that_is_missing_is_named(tmp_path):
    python = tmp_path / "python"
    error = "ModuleNotFoundError: No module named 'keras'"
    python.write_text(f'#!/bin/sh\necho "{error}" >&2\nexit 1\n')
    python.chmod(0o755)
    contender = Contender(speed_tables.SOURCES, "keras_worker.py")
    (outcomes,) = measure_rounds(Place(tmp_path, python), WORKLOAD, [contender], 1)
    assert outcomes == {speed_tables.SOURCES: NotMeasured("keras is not installed")}


@pytest.mark.slow
def test_the_command_measures_and_writes_its_page(tmp_path):
    arguments = "--recipes fashion --peers --scaling --pairs 1 --steps 5 --out results/speed.md"
    done = subprocess.run(
        [sys.executable, str(REPOSITORY / "experiments/speed/compare.py"), *arguments.split()],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "results/speed.md").read_text()
    assert "| fashion (batch 512, 60,000 images, code 20) |" in text
    assert text in done.stdout


def test_a_bad_option_is_one_line():
    with pytest.raises(compare.UserError, match="--steps 2: give 5 or more"):
        compare.main(compare.Options(steps=2))
