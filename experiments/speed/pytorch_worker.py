"""Trains a recipe in PyTorch, and prints how long that took; compare.py starts it.

The variant "pilot" tries all ways to do it and reports each one's time; "loader" is the plain
loop over a DataLoader that a tutorial has; any other is one of the ways, as `name` spells it.
"""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from pytorch_networks import PEERS, Peer, make_optimizer, training_loss
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]
from torch.utils.data import DataLoader, Dataset  # pyright: ignore[reportMissingImports]
from workloads import (
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
    """How the same training is done."""

    compiled: bool = False
    channels_last: bool = False
    fused: bool = False  # Adam in one kernel
    captured: bool = False  # a whole step, Adam's too, as one CUDA graph

    @property
    def name(self) -> str:
        """As in tables, and in a workload's variant."""
        parts = ["compile" if self.compiled else "eager"]
        parts += ["channels_last"] if self.channels_last else []
        parts += ["fused"] if self.fused else []
        return ", ".join(parts + (["captured"] if self.captured else []))


def measure(request: Request) -> Measurement:
    """Trains on images in memory, on the GPU if there is one."""
    workload = request.workload
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    peer, images = prepare(workload.recipe, read_images(request))
    pilot = {}
    if workload.variant == "pilot":
        pilot, times = try_ways(peer, images.to(device), request)
    elif workload.variant == "loader":
        times = take_times(make_take_steps(loader_steps(peer, images, device, workload)), request)
    else:
        way = next(way for way in ways(peer) if way.name == workload.variant)
        times = take_times(make_take_steps(steps(peer, images.to(device), way, workload)), request)
    return Measurement(
        f"PyTorch {torch.__version__}",
        torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        times,
        host_memory(),
        torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        variant=min(pilot, key=pilot.__getitem__, default=workload.variant),
        pilot=pilot,
    )


def ways(peer: Peer) -> list[Way]:
    """All ways that make a difference to a peer."""
    layouts = (False, True) if peer.convolutional else (False,)
    return [Way(*choice) for choice in product((False, True), layouts, (False, True))]


def ways_on_gpu() -> list[Way]:
    """The fastest ways on a GPU, few enough to try all in a minute."""
    eager, compiled = Way(fused=True), Way(compiled=True, fused=True)
    if not torch.cuda.is_available():
        return [eager, compiled]
    return [eager, replace(eager, captured=True), replace(compiled, captured=True)]


def take_steps_of(
    recipe: str, images: np.ndarray, way: Way, workload: Workload
) -> Callable[[int], None]:
    """A function that trains a recipe in one way, on images uint8 [N, H, W, C]."""
    peer, pixels = prepare(recipe, images)
    pixels = pixels.to("cuda" if torch.cuda.is_available() else "cpu")
    begin = captured_steps if way.captured else steps
    return make_take_steps(begin(peer, pixels, way, workload))


def prepare(recipe: str, images: np.ndarray) -> tuple[Peer, Tensor]:
    """A recipe's peer, and images as it reads them; sets what holds for all of PyTorch."""
    torch.set_float32_matmul_precision("high")  # as JAX does on a GPU; the CPU has one precision
    torch.backends.cudnn.benchmark = True
    peer = PEERS[recipe]
    pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).contiguous()
    return peer, pixels if peer.convolutional else pixels.flatten(1)


def try_ways(peer: Peer, images: Tensor, request: Request) -> tuple[dict[str, float], Times]:
    """Milliseconds a step of each way that works here, and the times of the fastest."""
    found: dict[str, Times] = {}
    for way in ways(peer):
        torch.compiler.reset()  # the ways share their code, of which few compiled versions are kept
        try:
            take_steps = make_take_steps(steps(peer, images, way, request.workload))
            found[way.name] = take_times(take_steps, request)
        except RuntimeError as error:  # without a C++ compiler, for one, nothing compiles
            if not way.compiled:
                raise
            print(f"{way.name}: {error}")
    pilot = {name: statistics.median(times.milliseconds) for name, times in found.items()}
    return pilot, found[min(pilot, key=pilot.__getitem__)]


def make_take_steps(training: Iterator[None]) -> Callable[[int], None]:
    """A function that takes a number of steps of the training, and waits for them."""

    def take_steps(count: int) -> None:
        for _ in range(count):
            next(training)
        if torch.cuda.is_available():
            torch.cuda.synchronize()

    return take_steps


def steps(peer: Peer, images: Tensor, way: Way, workload: Workload) -> Iterator[None]:
    """Training without end, on images that are where the network is; yields after each step."""
    network = peer.network(workload.latent or 0).to(images.device)
    if way.channels_last:
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(peer, network, workload.learning_rate, fused=way.fused)
    loss_of = make_loss(peer, network, compiled=way.compiled)
    total = torch.zeros((), device=images.device)  # the loss of the epoch, as jaxae adds it up
    for indices in endless_order(len(images), workload.batch_size, images.device):
        batch = images[indices]
        if way.channels_last:
            batch = batch.contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
        yield


def captured_steps(peer: Peer, images: Tensor, way: Way, workload: Workload) -> Iterator[None]:
    """`steps` with all batches full, each step one replay of a CUDA graph."""
    network = peer.network(workload.latent or 0).to(images.device)
    optimizer = make_optimizer(peer, network, workload.learning_rate, fused=True)
    for group in optimizer.param_groups:
        group["capturable"] = True
    loss_of = make_loss(peer, network, compiled=False)
    if way.compiled:
        loss_of = torch.compile(loss_of, dynamic=False)  # without graphs of its own
    total = torch.zeros((), device=images.device)
    chosen = torch.zeros(workload.batch_size, dtype=torch.int64, device=images.device)

    def step() -> None:
        batch = images[chosen]
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(batch)
        loss.backward()
        optimizer.step()
        total.add_(loss.detach() * len(batch))

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):  # what a graph needs is allocated before it is captured
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    for indices in endless_order(len(images), workload.batch_size, images.device):
        chosen.copy_(indices)
        graph.replay()
        yield


def make_loss(peer: Peer, network: nn.Module, *, compiled: bool) -> Callable[[Tensor], Tensor]:
    """The loss of a batch; compiled for each size of batch, on a GPU into CUDA graphs."""

    def loss_of(batch: Tensor) -> Tensor:
        return training_loss(peer, network, batch)

    if not compiled:
        return loss_of
    mode = "reduce-overhead" if torch.cuda.is_available() else "default"
    return torch.compile(loss_of, dynamic=False, mode=mode)


def endless_order(size: int, batch_size: int, device: torch.device) -> Iterator[Tensor]:
    """Indices of batches, shuffled anew each epoch, the last of an epoch perhaps smaller.

    Of the first epoch only the first and the last, so that whatever compiles for either size does
    so before anything is timed.
    """
    batches = torch.randperm(size, device=device).split(batch_size)
    yield batches[0]
    yield batches[-1]
    while True:
        yield from torch.randperm(size, device=device).split(batch_size)


class Images(Dataset):
    """Images one at a time as floats, which a tutorial's transform makes of them."""

    def __init__(self, images: Tensor, *, symmetric: bool):
        self.images = images
        self.symmetric = symmetric

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        pixels = self.images[index].float() / 255
        return 2 * pixels - 1 if self.symmetric else pixels


def loader_steps(
    peer: Peer, images: Tensor, device: torch.device, workload: Workload
) -> Iterator[None]:
    """The training that a tutorial has; yields after each step."""
    network = peer.network(workload.latent or 0).to(device)
    optimizer = make_optimizer(peer, network, workload.learning_rate, fused=False)
    examples = Images(images, symmetric=peer.symmetric)
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
