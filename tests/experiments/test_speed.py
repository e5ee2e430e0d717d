"""The speed benchmark: equal training, exact counts, correct tables, and the command itself."""

import re
import subprocess
import sys
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import compare
import report_recipes
import speed_floor
import speed_limits
import speed_load
import speed_machine
import speed_page
import speed_processes
import speed_records
import speed_tables
from experiment_files import configure, default_workload, load_experiment
from jaxae import data, runs, train
from jaxae.errors import UserError
from jaxae.train import Batch, Examples, epoch_order
from speed_processes import Contender, Place, measure_rounds
from speed_records import Record
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


@pytest.mark.parametrize("recipe", compare.STEPS)
def test_pytorch_starts_from_the_same_distribution(recipe):
    torch = pytest.importorskip("torch", reason="needs PyTorch, a peer of the benchmark")
    import pytorch_networks

    workload = default_workload(recipe, steps=1)
    _, state = make(workload)
    torch.manual_seed(0)
    network = pytorch_networks.make_network(pytorch_networks.PEERS[recipe], workload.latent or 0)
    for theirs, ours in zip(network.parameters(), in_pytorch(state.params), strict=True):
        values = theirs.detach().numpy()
        assert values.shape == ours.shape
        assert np.any(values) == np.any(ours)
        if ours.size > 1000:  # the deviations of fewer draws differ by chance
            assert values.std() == pytest.approx(ours.std(), rel=0.1)
            assert np.abs(values).max() == pytest.approx(np.abs(ours).max(), rel=0.05)


@pytest.mark.slow
def test_pytorchs_figures_are_kept_and_not_measured_again(tmp_path, capsys):
    pytest.importorskip("torch", reason="needs PyTorch, a peer of the benchmark")
    import pytorch_trainings

    options = pytorch_trainings.Options(
        recipes=("deep",), seeds=2, epochs=1, dataset="mnist_mini", out=tmp_path / "pytorch.json"
    )
    pytorch_trainings.main(replace(options, seeds=1))
    pytorch_trainings.main(options)
    assert len(re.findall("^deep, seed", capsys.readouterr().out, re.MULTILINE)) == 2
    first, second = report_recipes.read_peers(options.out)["deep"]
    assert first.dataset == "mnist_mini"
    assert first.test_loss != second.test_loss
    assert first.test_loss == first.test_mse  # the loss is the error per pixel
    assert 0.01 < first.test_mse < 0.2
    with pytest.raises(UserError, match="figures of deep after 1 epochs of mnist_mini: give ano"):
        pytorch_trainings.main(replace(options, epochs=2))
    options.out.write_text('{"deep": {"0": {"epochs": 1}}}')
    with pytest.raises(UserError, match=r"pytorch\.json"):
        pytorch_trainings.main(options)
    with pytest.raises(UserError, match="--recipes none: give some of"):
        pytorch_trainings.main(replace(options, recipes=("none",)))


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


def measured(*milliseconds: float, others: float | None = 0.0) -> Measurement:
    """Returns a measurement of chunks with these milliseconds per step."""
    times = Times(list(milliseconds), 2, first_step_seconds=5, others=others)
    return Measurement("JAX", "cpu", times, 400_000_000, limit=Limit(10**9, 1e12))


def test_tables_have_medians_and_the_ratios_of_pairs():
    rounds = [
        {speed_tables.OURS: measured(1, 2, 9), speed_tables.PYTORCH: measured(4)},
        {speed_tables.OURS: measured(4), speed_tables.PYTORCH: measured(4)},
        {speed_tables.OURS: measured(3), speed_tables.PYTORCH: measured(12)},
    ]
    row = speed_tables.Row(WORKLOAD, rounds)
    cells = speed_tables.summary_row(row, speed_tables.PYTORCH)
    assert cells[1:] == ["3", "4", "2 (1 to 4)"]
    (*_, line) = speed_tables.limits_table([row], speed_tables.PYTORCH).splitlines()
    assert line == "| fashion | 170,667 | 128,000 | 400 | 400 | 1 | 3 | - | JAX |"


def test_a_peer_that_is_not_installed_is_reported_as_missing():
    missing = NotMeasured("torch is not installed")
    rounds = [{speed_tables.OURS: measured(1), speed_tables.PYTORCH: missing}]
    row = speed_tables.Row(WORKLOAD, rounds)
    text = speed_page.page_text(Record(["a machine"]).with_row("recipes", row))
    assert "| fashion | 1 | torch is not installed | - |" in text


def test_replicas_are_compared_with_one_after_the_other():
    rounds = [{speed_tables.OURS: measured(20), speed_tables.ONE_BY_ONE: measured(10)}]
    row = speed_tables.Row(replace(WORKLOAD, replicas=4), rounds)
    cells = speed_tables.summary_row(row, speed_tables.ONE_BY_ONE)
    assert cells[1:] == ["20", "40", "2 (2 to 2)"]
    text = speed_page.page_text(Record(["a machine"]).with_row("replicas", row))
    assert "| 102,400 | 51,200 |" in text


@pytest.mark.parametrize("quick", [False, True])
def test_replicas_grow_to_64_in_chunks_of_several_steps(quick):
    rows = compare._sizes("replicas", default_workload("conv", 200), quick=quick)
    assert (rows[0].replicas, rows[-1].replicas) == (2, 64)
    assert min(row.chunk for row in rows) >= 10


# Load by other processes.


def test_rounds_with_load_by_others_do_not_count():
    busy = {speed_tables.OURS: measured(9, others=0.2), speed_tables.PYTORCH: measured(9)}
    quiet = {speed_tables.OURS: measured(2), speed_tables.PYTORCH: measured(3, others=None)}
    row = speed_tables.Row(WORKLOAD, [busy, quiet])
    assert row.ratios(speed_tables.PYTORCH) == [1.5]
    assert speed_tables.BUSY not in row.label
    text = speed_page.page_text(Record(["a machine"]).with_row("recipes", row))
    assert "Of 2 rounds, 1 did not count." in text
    assert "faster in 1 of 1 recipes" in text.partition("## ")[0]


def test_a_row_without_a_quiet_round_is_marked():
    busy = {speed_tables.OURS: measured(9, others=0.2), speed_tables.PYTORCH: measured(18)}
    row = speed_tables.Row(WORKLOAD, [busy])
    assert row.ratios(speed_tables.PYTORCH) == [2]
    table = speed_tables.summary_table([row], speed_tables.PYTORCH)
    assert f"| fashion {speed_tables.BUSY} |" in table


def test_a_round_with_load_by_others_is_repeated_a_limited_number_of_times(tmp_path, monkeypatch):
    loads = [0.3, 0.0, 0.3, 0.3, 0.3]
    monkeypatch.setattr(
        speed_processes, "_measure", lambda *_: measured(1, others=loads.pop(0) if loads else 0.0)
    )
    contender = Contender(speed_tables.OURS, "jaxae_worker.py")
    place = Place(tmp_path, tmp_path)
    rounds = measure_rounds(place, WORKLOAD, [contender], 2, spare=1)
    assert list(map(speed_processes.is_quiet, rounds)) == [False, True, False]
    assert len(loads) == 2
    late = replace(place, repeats_until=0.0)
    (busy,) = measure_rounds(late, WORKLOAD, [contender], 1, spare=5)
    assert not speed_processes.is_quiet(busy)


def test_the_load_by_others_is_what_this_process_did_not_use():
    before, cores = speed_load.busy_seconds("cpu 100 0 50 900 7 1 2 10 0 0\ncpu0 1\ncpu1 1\n", 100)
    assert (before, cores) == (1.63, 2)  # without idle and waiting time, with stolen time
    first = speed_load.Usage(10.0, before, 1.0, cores)
    last = speed_load.Usage(20.0, before + 15.0, 6.0, cores)
    assert speed_load.others_share(first, last) == 0.5
    assert speed_load.others_share(None, last) is None


def test_without_proc_stat_the_page_says_that_load_was_not_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(speed_load, "_STATISTICS", tmp_path / "nothing")
    assert speed_load.usage_now() is None
    row = speed_tables.Row(WORKLOAD, [{speed_tables.OURS: measured(1, others=None)}])
    text = speed_page.page_text(Record(["a machine"]).with_row("recipes", row))
    assert "this system has no /proc/stat" in text


# The machine and its record.


@pytest.mark.parametrize(
    ("processor", "name"),
    [
        ("Intel(R) Xeon(R) Processor @ 2.30GHz", "intel-xeon"),
        ("AMD EPYC", "amd-epyc"),
        ("NVIDIA H200", "nvidia-h200"),
        ("cpu", "cpu"),
    ],
)
def test_a_machine_is_named_after_its_processor(processor, name):
    assert speed_machine.slug(processor) == name


def test_caches_and_vector_units(tmp_path):
    for index, (level, kind, size) in enumerate([("1", "Data", "48K"), ("2", "Unified", "2048K")]):
        (tmp_path / f"index{index}").mkdir()
        for file, text in (("level", level), ("type", kind), ("size", size)):
            (tmp_path / f"index{index}" / file).write_text(f"{text}\n")
    assert speed_machine.caches_of(tmp_path) == ["L1 48 KiB", "L2 2 MiB"]
    assert speed_machine.vector_units("flags\t\t: fpu avx2 avx512f amx_bf16\n") == [
        *("avx2", "avx512f", "amx_bf16"),
    ]
    assert speed_machine.vector_units("Features\t: fp asimd\n") == ["NEON"]
    assert speed_machine.vector_units("") == []


def test_a_record_is_read_as_it_was_written_and_keeps_other_rows(tmp_path):
    rounds = [{speed_tables.OURS: measured(1), speed_tables.PYTORCH: NotMeasured("x")}]
    rows = [
        speed_tables.Row(workload, rounds, NotMeasured("x"), "abc")
        for workload in (replace(WORKLOAD, batch_size=8192), WORKLOAD)
    ]
    record = Record(["a machine"])
    for row in rows:
        record = record.with_row("batch", row)
    record = replace(record, floor=speed_records.Floor("abc", {"1": [{"what": "all"}]}))
    assert record.rows("batch") == rows[::-1]
    file = tmp_path / "machine.json"
    file.write_text(speed_records.record_text(record))
    assert speed_records.read_record(file, ["a machine"]) == record
    again = replace(rows[0], commit="def")
    assert record.with_row("batch", again).rows("batch") == [rows[1], again]


def test_a_damaged_record_is_not_overwritten(tmp_path):
    file = tmp_path / "machine.json"
    file.write_text('{"parts": []}')
    with pytest.raises(compare.UserError, match=r"machine\.json is not a record of compare\.py"):
        speed_records.read_record(file, [])


# The floor.


def test_the_floor_has_fashions_layers():
    _, state = make(WORKLOAD)
    kernels = [leaf.shape for leaf in jax.tree.leaves(state.params) if leaf.ndim == 2]
    assert sorted(kernels) == sorted(speed_floor.LAYERS)
    assert default_workload("fashion", 5).batch_size == speed_floor.BATCH


def test_the_floor_adds_up_products_and_parts():
    rows = [
        {"what": "output, 4 to 4", "flops": 10**9, "jaxae": 2.0, "PyTorch": 4.0},
        {
            **{"what": "output, 4 to 8", "flops": 10**9, "jaxae": 1.0, "PyTorch": 1.0},
            **{"jaxae, bfloat16": 0.5, "PyTorch, bfloat16": 0.25},
        },
        {"what": "Adam", "jaxae": 1.0, "PyTorch": 1.0},
        {"what": speed_floor.WHOLE, "jaxae": 4.0, "PyTorch": 6.0},
    ]
    record = Record(["a machine"], floor=speed_records.Floor(None, {"1": rows}))
    text = speed_page.page_text(record)
    assert "| all of these | 4 | 6 |" in text
    assert "| whole step / products | 1.33 | 1.2 |" in text
    assert "| output, 4 to 4 | 2 | 4 | 500 | 250 | - | - |" in text
    assert "| output, 4 to 8 | 1 | 1 | 1,000 | 1,000 | 2,000 | 4,000 |" in text


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
    arguments = "--recipes fashion --peers --parts recipes --pairs 1 --steps 5 --machine here"
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
    text = (tmp_path / "results/speed/here.md").read_text()
    assert "| fashion" in text.partition("## ")[0]
    assert text in done.stdout


def test_a_bad_option_is_one_line():
    with pytest.raises(compare.UserError, match="--steps 2: give 5 or more"):
        compare.main(compare.Options(steps=2))
    with pytest.raises(compare.UserError, match="--machine A B: give lower-case letters"):
        compare.main(compare.Options(machine="A B"))


def test_quick_leaves_out_the_sources_and_all_parts_but_the_recipes():
    quick = compare.settled(compare.Options(quick=True))
    assert (quick.parts, quick.peers, quick.pairs) == (("recipes",), ("pytorch",), 3)
    whole = compare.settled(compare.Options())
    assert whole.parts[-1] == "floor"
    assert whole.pairs == 5
