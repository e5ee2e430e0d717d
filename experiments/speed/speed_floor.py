"""What bounds the dense recipe: its matrix products and other parts, each timed alone.

compare.py starts it with a number of threads, and reads the rows that it prints. A product is
repeated in one program, so that starting programs does not count.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gpu_trainings as trainings
from experiment_files import default_workload
from gpu_sizes import tiled
from jaxae.losses import cross_entropy
from jaxae.train import gather, pixels
from speed_load import others_share, usage_now
from speed_tables import HALF
from speed_workloads import CHUNKS

BATCH = 512
LAYERS = ((784, 256), (256, 128), (128, 20), (20, 128), (128, 256), (256, 784))
"""The inputs and outputs of the layers of fashion."""

PRODUCTS = ("output", "gradient of the kernel", "gradient of the input")
WHOLE = "the whole step"

_BLOCKS = 7  # timed blocks of each side, which take turns
_SECONDS = 0.03  # length of a block
_CHUNK = 20  # steps in a program, when whole steps are timed

_Side = Callable[[int], Any]
"""Does a piece of work as often as its argument says, and waits for the end."""


def main() -> None:
    """Prints the rows in JSON, with the load by others, for the threads of the command line."""
    threads = int(sys.argv[1])
    if hasattr(os, "sched_setaffinity"):  # JAX will start as many threads as there are cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    before = usage_now()
    jax.config.update("jax_platforms", "cpu")
    rows = list(floor_rows(threads))
    print(json.dumps({"rows": rows, "others": others_share(before, usage_now())}))


def floor_rows(threads: int) -> Iterator[dict[str, Any]]:
    """Yields the milliseconds of each part of a step of fashion in jaxae and in PyTorch."""
    # Otherwise programs that do not depend on each other run at the same time.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    torch = _import_torch(threads)
    for inputs, outputs in LAYERS:
        yield from _products(torch, inputs, outputs)
    parts, rivals = _parts(), _parts_in_torch(torch)
    for name, side in parts.items():
        taken = _milliseconds([side, *rivals.get(name, [])])
        steps = _CHUNK if name == WHOLE else 1
        yield {"what": name} | {who: each / steps for who, each in taken.items()}


def _import_torch(threads: int) -> Any:
    """Returns PyTorch with a number of threads, or None if it is not installed."""
    try:
        import torch  # pyright: ignore[reportMissingImports]
    except ImportError:
        return None
    torch.set_num_threads(threads)
    return torch


def _products(torch: Any, inputs: int, outputs: int) -> Iterator[dict[str, Any]]:
    """Yields the products of a layer, forward and backward; PyTorch keeps kernels transposed."""
    x, kernel, gradient = (BATCH, inputs), (inputs, outputs), (BATCH, outputs)
    factors = [
        (lambda x, w: x @ w, lambda x, w: x @ w.T, x, kernel),
        (lambda x, g: x.T @ g, lambda x, g: g.T @ x, x, gradient),
        (lambda g, w: g @ w.T, lambda g, w: g @ w, gradient, kernel),
    ]
    if inputs == LAYERS[0][0]:
        factors.pop()  # pixels have no gradient
    for name, (ours, theirs, left, right) in zip(PRODUCTS, factors, strict=False):
        row = {"what": f"{name}, {inputs} to {outputs}", "flops": 2 * BATCH * inputs * outputs}
        for dtype, suffix in (("float32", ""), ("bfloat16", HALF)):
            sides = [_in_jax(ours, *(_random(shape, dtype) for shape in (left, right)))]
            if torch is not None:
                turned = right[::-1] if right is kernel else right
                operands = (torch.randn(s).to(getattr(torch, dtype)) for s in (left, turned))
                sides += [_in_torch(partial(theirs, *operands))]
            row |= {side + suffix: taken for side, taken in _milliseconds(sides).items()}
        yield row


def _random(shape: Sequence[int], dtype: str = "float32") -> Any:
    """Returns normal numbers."""
    return jax.random.normal(jax.random.key(0), shape, dtype)


def _parts() -> dict[str, _Side]:
    """Returns what a step does besides its products, and the whole step, in jaxae."""
    training = trainings.of_experiment("fashion", tiled(60_000))
    examples, recipe, state = training.examples, training.recipe, training.state
    indices = jax.random.permutation(jax.random.key(0), len(examples.images))[:BATCH]

    def read(examples, indices):
        return pixels(gather(examples, indices).images)

    targets = read(examples, indices).reshape(BATCH, -1)

    def loss_of(logits):
        return cross_entropy(logits, targets).mean()

    def activate(inputs, biases):
        return [jax.nn.relu(x + b) for x, b in zip(inputs, biases, strict=True)]

    def activate_and_back(inputs, biases):
        outputs, back = jax.vjp(activate, inputs, biases)
        return outputs, back(outputs)

    def update(params, gradients, optimizer_state):
        updates, new = recipe.optimizer.update(gradients, optimizer_state, params)
        return optax.apply_updates(params, updates), new

    hidden = [_random((BATCH, size)) for size in _hidden()]
    biases = [jnp.zeros(size) for size in _hidden()]
    take_steps = trainings.take_steps_of(training, _CHUNK)
    take_steps(1)
    start = jax.jit(lambda x: x + 1)
    number = jnp.zeros(())
    return {
        "gathering and scaling a batch": _in_jax(read, examples, indices),
        "biases and ReLU, both ways": _in_jax(activate_and_back, hidden, biases),
        "the loss, both ways": _in_jax(jax.value_and_grad(loss_of), targets),
        "Adam": _in_jax(update, state.params, state.params, state.optimizer_state),
        "starting a program or an operation": _in_torch(lambda: start(number)),
        WHOLE: lambda count: take_steps(_CHUNK * count),
    }


def _hidden() -> list[int]:
    """Returns the sizes of the layers with ReLU."""
    return [outputs for _, outputs in LAYERS if outputs not in (LAYERS[2][1], LAYERS[-1][1])]


def _parts_in_torch(torch: Any) -> dict[str, list[_Side]]:
    """Returns the same in PyTorch, without compilation and with the fused Adam."""
    if torch is None:
        return {}
    import torch.nn.functional as F  # pyright: ignore[reportMissingImports]

    import pytorch_worker
    from pytorch_networks import PEERS, make_optimizer

    images = tiled(60_000)
    flat = torch.from_numpy(images.reshape(len(images), -1).copy())
    indices = torch.randperm(len(flat))[:BATCH]
    targets = flat[indices].float() / 255
    hidden = [torch.randn(BATCH, size, requires_grad=True) for size in _hidden()]
    biases = [torch.zeros(size, requires_grad=True) for size in _hidden()]
    network = PEERS["fashion"].network(LAYERS[2][1])
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    optimizer = make_optimizer(PEERS["fashion"], network, 1e-3, fused=True)
    workload = default_workload("fashion", CHUNKS * _CHUNK)
    take_steps = pytorch_worker.take_steps_of(
        "fashion", images, pytorch_worker.Way(fused=True), workload
    )
    number = torch.zeros(())
    logits = torch.randn(BATCH, LAYERS[-1][1], requires_grad=True)

    def activate_and_back():
        outputs = [torch.relu(x + b) for x, b in zip(hidden, biases, strict=True)]
        return torch.autograd.grad(outputs, [*hidden, *biases], [x.detach() for x in outputs])

    def loss_and_back():
        loss = F.binary_cross_entropy_with_logits(logits, targets)
        return torch.autograd.grad(loss, logits)

    return {
        "gathering and scaling a batch": [_in_torch(lambda: flat[indices].float() / 255)],
        "biases and ReLU, both ways": [_in_torch(activate_and_back)],
        "the loss, both ways": [_in_torch(loss_and_back)],
        "Adam": [_in_torch(optimizer.step)],
        "starting a program or an operation": [_in_torch(lambda: number + 1)],
        WHOLE: [lambda count: take_steps(_CHUNK * count)],
    }


def _in_jax(function: Callable, *arguments: Any) -> _Side:
    """Returns a program that repeats a function, so that starting programs does not count."""

    def repeat(count, arguments):
        shapes = jax.eval_shape(function, *arguments)
        nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)

        def once(_, carried):
            # The barrier makes each repetition depend on the one before, so none is left out.
            arguments, _ = jax.lax.optimization_barrier(carried)
            return arguments, function(*arguments)

        return jax.lax.fori_loop(0, count, once, (arguments, nothing))[1]

    compiled = jax.jit(repeat)
    return lambda count: jax.block_until_ready(compiled(count, arguments))


def _in_torch(function: Callable[[], Any]) -> _Side:
    """Returns a loop that repeats a function."""

    def repeat(count: int) -> None:
        for _ in range(count):
            function()

    return repeat


def _milliseconds(sides: Sequence[_Side]) -> dict[str, float]:
    """Returns the median milliseconds of jaxae's side, and of PyTorch's if there is one."""
    counts = [max(1, round(_SECONDS / _seconds(side, 1))) for side in sides]
    blocks = [
        [_seconds(side, count) / count for side, count in zip(sides, counts, strict=True)]
        for _ in range(_BLOCKS)
    ]
    medians = [1000 * statistics.median(side) for side in zip(*blocks, strict=True)]
    return dict(zip(("jaxae", "PyTorch"), medians, strict=False))


def _seconds(side: _Side, count: int) -> float:
    """Returns how long a number of repetitions take, after one that warms up."""
    side(1)
    time.sleep(0.01)  # the other side's threads may still be waiting actively
    started = time.perf_counter()
    side(count)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
