"""Trains a recipe in PyTorch, and prints how long it took. compare.py starts it.

The variant "pilot" tries all ways to train and reports the time of each, and "quick pilot" the
three that are the likeliest to be the fastest; "loader" is a plain loop over a DataLoader, as in
tutorials; any other variant is the `name` of a `Way`.
"""

import gc
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]

from pytorch_networks import PEERS, Peer, make_optimizer, training_loss
from speed_workloads import (
    Measurement,
    Request,
    Times,
    Workload,
    host_memory,
    read_images,
    run_worker,
    take_times,
)


@dataclass(frozen=True)
class Way:
    """A way to do the same training."""

    compiled: bool = False
    channels_last: bool = False
    fused: bool = False  # Adam in one kernel
    captured: bool = False  # a whole step, including Adam's, as one CUDA graph

    @property
    def name(self) -> str:
        """The name in tables and in a workload's variant."""
        parts = ["compile" if self.compiled else "eager"]
        parts += ["channels_last"] if self.channels_last else []
        parts += ["fused"] if self.fused else []
        return ", ".join(parts + (["captured"] if self.captured else []))


def measure(request: Request) -> Measurement:
    """Trains on images in memory, on the GPU if there is one."""
    workload = request.workload
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer, images = _prepare(workload.recipe, read_images(request))
    pilot = {}
    if workload.variant in ("pilot", "quick pilot"):
        ways = _ways(peer) if workload.variant == "pilot" else likeliest_ways(peer)
        pilot, times = _try_ways(peer, ways, images.to(device), request)
    elif workload.variant == "loader":
        times = take_times(_make_take_steps(_loader_steps(peer, images, device, workload)), request)
    else:
        way = next(way for way in _ways(peer) if way.name == workload.variant)
        times = take_times(
            _make_take_steps(_steps(peer, images.to(device), way, workload)), request
        )
    return Measurement(
        f"PyTorch {torch.__version__}",
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        times,
        host_memory(),
        torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        variant=min(pilot, key=pilot.__getitem__, default=workload.variant),
        pilot=pilot,
    )


def _ways(peer: Peer) -> list[Way]:
    """Returns all ways to train a peer; only convolutions have memory layouts."""
    layouts = (False, True) if peer.convolutional else (False,)
    return [Way(*choice) for choice in product((False, True), layouts, (False, True))]


def likeliest_ways(peer: Peer) -> list[Way]:
    """Returns the three ways that may be the fastest on a CPU, from the pages of all ways."""
    if peer.convolutional:
        eager = Way(channels_last=True)
        return [eager, replace(eager, fused=True), Way(True, True, True)]
    return [Way(fused=True), Way(compiled=True), Way(compiled=True, fused=True)]


def ways_on_gpu(recipe: str) -> list[Way]:
    """Returns the ways that may be the fastest on a GPU; on a CPU, the two without CUDA graphs."""
    eager, compiled = Way(fused=True), Way(compiled=True, fused=True)
    if not torch.cuda.is_available():
        return [eager, compiled]
    captured = [replace(way, captured=True) for way in (eager, compiled)]
    layouts = (False, True) if PEERS[recipe].convolutional else (False,)
    return [eager, *(replace(way, channels_last=last) for way in captured for last in layouts)]


def take_steps_of(
    recipe: str, images: np.ndarray, way: Way, workload: Workload
) -> Callable[[int], None]:
    """Returns a function that trains a recipe in one way, on images uint8 [N, H, W, C]."""
    peer, pixels = _prepare(recipe, images)
    pixels = pixels.to("cuda" if torch.cuda.is_available() else "cpu")
    training = _steps(peer, pixels, way, workload)
    _check_training(training, workload.chunk)
    return _make_take_steps(training)


def _check_training(training: Iterator[Tensor], chunk: int) -> None:
    """Raises `RuntimeError` if the loss is 0, not finite or grows: an empty graph is fast too."""
    first, both = ([next(training).item() for _ in range(chunk)][-1] for _ in range(2))
    second = both - first
    if not 0 < second <= 1.1 * first:
        raise RuntimeError(f"the loss goes from {first / chunk:.4g} to {second / chunk:.4g}")


def _prepare(recipe: str, images: np.ndarray) -> tuple[Peer, Tensor]:
    """Returns a recipe's peer, and images in its layout; also sets PyTorch's global options."""
    torch.set_float32_matmul_precision("high")  # JAX's default on a GPU; no effect on a CPU
    torch.backends.cudnn.benchmark = True
    peer = PEERS[recipe]
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()
    return peer, pixels if peer.convolutional else pixels.flatten(1)


def _try_ways(
    peer: Peer, ways: Sequence[Way], images: Tensor, request: Request
) -> tuple[dict[str, float], Times]:
    """Returns the milliseconds per step of each way that works here, and the fastest's times.

    The load by others in these times is the largest during any of the ways.
    """
    found: dict[str, Times] = {}
    for way in ways:
        torch.compiler.reset()  # all ways share their code, and PyTorch keeps few compiled versions
        try:
            take_steps = _make_take_steps(_steps(peer, images, way, request.workload))
            found[way.name] = take_times(take_steps, request)
        except RuntimeError as error:  # for example, there is no C++ compiler
            if not way.compiled:
                raise
            print(f"{way.name}: {error}")
    pilot = {name: statistics.median(times.milliseconds) for name, times in found.items()}
    load = max((times.others for times in found.values() if times.others is not None), default=None)
    return pilot, replace(found[min(pilot, key=pilot.__getitem__)], others=load)


def _make_take_steps(training: Iterator[Any]) -> Callable[[int], None]:
    """Returns a function that takes a number of steps of the training, and waits for them."""

    def take_steps(count: int) -> None:
        for _ in range(count):
            next(training)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return take_steps


def _steps(peer: Peer, images: Tensor, way: Way, workload: Workload) -> Iterator[Tensor]:
    """Trains without end, on the images' device.

    Yields the sum of all losses so far after each step; jaxae also adds up the losses of an epoch.
    """
    network = peer.network(workload.latent or 0).to(images.device)
    if way.channels_last:
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(
        peer, network, workload.learning_rate, fused=way.fused, capturable=way.captured
    )
    loss_of = _make_loss(peer, network, way)
    total = torch.zeros((), device=images.device)

    def step(indices: Tensor) -> None:
        batch = images[indices]
        if way.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * len(batch))

    order = _endless_order(len(images), workload.batch_size, images.device)
    take_step = _capture(step, next(order), total) if way.captured else step
    for indices in order:
        take_step(indices)
        yield total


def _capture(
    step: Callable[[Tensor], None], indices: Tensor, total: Tensor
) -> Callable[[Tensor], None]:
    """Captures a step as one CUDA graph, for batches of one size; resets the total to 0."""
    chosen = indices.clone()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # a graph's memory is allocated before the capture
        for _ in range(3):
            step(chosen)
    torch.cuda.current_stream().wait_stream(stream)
    gc.collect()  # freeing memory during the capture would spoil it
    graph = torch.cuda.CUDAGraph()
    # Captures this thread only, because JAX's threads may use the device at the same time.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        step(chosen)
    total.zero_()

    def replay(indices: Tensor) -> None:
        chosen.copy_(indices)
        graph.replay()

    return replay


def _make_loss(peer: Peer, network: nn.Module, way: Way) -> Callable[[Tensor], Tensor]:
    """Returns the loss function, compiled for each batch size if `way.compiled`.

    On a GPU it compiles into CUDA graphs, unless the whole step is captured as one.
    """

    def loss_of(batch: Tensor) -> Tensor:
        return training_loss(peer, network, batch)

    if not way.compiled:
        return loss_of
    graphs = torch.cuda.is_available() and not way.captured
    mode = "reduce-overhead" if graphs else "default"
    return torch.compile(loss_of, dynamic=False, mode=mode)


def _endless_order(size: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Yields the indices of batches, shuffled again each epoch, whose last batch may be smaller.

    The first epoch has only its first and last batch, so that both sizes are compiled before the
    timing starts.
    """
    batches = torch.randperm(size, device=device).split(batch_size)
    yield batches[0]
    yield batches[-1]
    while True:
        yield from torch.randperm(size, device=device).split(batch_size)


class _Images(Dataset):
    """Images as floats, converted one at a time as in tutorials."""

    def __init__(self, images: Tensor, *, symmetric: bool):
        self.images = images
        self.symmetric = symmetric

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        pixels = self.images[index].float() / 255
        return 2 * pixels - 1 if self.symmetric else pixels


def _loader_steps(
    peer: Peer, images: Tensor, device: torch.device, workload: Workload
) -> Iterator[None]:
    """Trains as tutorials do, and yields after each step."""
    network = peer.network(workload.latent or 0).to(device)
    optimizer = make_optimizer(peer, network, workload.learning_rate, fused=False)
    examples = _Images(images, symmetric=peer.symmetric)
    loader = DataLoader(examples, workload.batch_size, shuffle=True)
    while True:
        for batch in loader:
            pixels = batch.to(device)
            loss = peer.loss(network(pixels), pixels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            yield


if __name__ == "__main__":
    run_worker(measure)
