"""Trains the six recipes in PyTorch to their full length, for results/README.md to compare with.

    pip install torch==2.13.0
    python experiments/speed/pytorch_trainings.py --seeds 3

A seed of all recipes takes about a quarter of an hour on two cores. Figures are kept after each
training in results/pytorch.json, and a training that is there is not repeated, so the command can
be killed and started again.
"""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from torch import Tensor, nn  # pyright: ignore[reportMissingImports]

from experiment_files import load_experiment
from jaxae import data, files
from jaxae.cli import run_tool
from jaxae.errors import UserError
from pytorch_networks import PEERS, Peer, corrupt, make_network, make_optimizer, pixels_of

_DATASETS = {"fashion": "fashion_mnist"}  # the others are of MNIST
_TEST_BATCH = 500


@dataclass(frozen=True)
class Options:
    """Trains recipes in PyTorch, and writes their figures to a JSON file."""

    recipes: tuple[str, ...] = tuple(PEERS)  # recipes to train
    seeds: int = 3  # number of seeds, from 0
    epochs: int | None = None  # number of epochs (default: each recipe's own)
    dataset: str | None = None  # dataset to train on (default: each recipe's own)
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None
    out: Path = Path("results/pytorch.json")  # file that keeps the figures


@dataclass(frozen=True)
class Figures:
    """What a training measured; each loss is the mean over a whole set."""

    dataset: str
    epochs: int
    train_loss: float  # during the last epoch
    test_loss: float  # after it
    test_mse: float  # after it, per pixel in [0, 1]
    best_test_loss: float
    best_epoch: int  # of the epochs that were tested
    seconds: float  # of training, without the tests
    framework: str


@dataclass(frozen=True)
class Set:
    """Images as a peer reads them, in the layout of its network."""

    inputs: Tensor  # float
    targets: Tensor  # float

    def __len__(self) -> int:
        return len(self.targets)

    def batch(self, indices: Tensor) -> "Set":
        """Returns the chosen examples."""
        return Set(self.inputs[indices], self.targets[indices])


def main(options: Options) -> None:
    """Trains what the file does not hold, and writes it after each training."""
    unknown = sorted(set(options.recipes) - PEERS.keys())
    if unknown:
        raise UserError(f"--recipes {unknown[0]}: give some of {', '.join(PEERS)}")
    for name, value in (("seeds", options.seeds), ("epochs", options.epochs)):
        if value is not None and value < 1:
            raise UserError(f"--{name} {value}: give 1 or more")
    for seed in range(options.seeds):
        for recipe in options.recipes:
            kept = _read(options.out)
            if str(seed) in kept.get(recipe, {}):
                _check_same(kept[recipe][str(seed)], recipe, options)
                continue
            figures = train(recipe, seed, options)
            kept.setdefault(recipe, {})[str(seed)] = figures
            values = {
                name: {number: asdict(each) for number, each in seeds.items()}
                for name, seeds in kept.items()
            }
            files.write_json(options.out, values)
            print(f"{recipe}, seed {seed}: test loss {figures.test_loss:.5g}", flush=True)


def _read(path: Path) -> dict[str, dict[str, Figures]]:
    """Reads the figures by recipe and seed; raises `UserError` if the file is invalid."""
    if not path.exists():
        return {}
    values = files.read_json(path)
    try:
        return files.convert(dict[str, dict[str, Figures]], values, "it")
    except ValueError as error:
        raise files.unfit(path, error) from None


def _check_same(kept: Figures, recipe: str, options: Options) -> None:
    """Raises `UserError` if kept figures are of other epochs or another dataset than asked for."""
    asked = options.epochs or load_experiment(recipe).Options().run.epochs
    if kept.epochs != asked or kept.dataset != (options.dataset or kept.dataset):
        raise UserError(
            f"{options.out} holds figures of {recipe} after {kept.epochs} epochs of "
            f"{kept.dataset}: give another --out, or remove them there"
        )


def train(recipe: str, seed: int, options: Options) -> Figures:
    """Trains one recipe from one seed, and tests it as often as jaxae's recipe does."""
    defaults = load_experiment(recipe).Options()
    run, peer = defaults.run, PEERS[recipe]
    name = options.dataset or _DATASETS.get(recipe, "mnist")
    dataset = data.load(name, data_dir=options.data_dir, sources=options.sources)
    torch.manual_seed(seed)
    images = dataset.train.images[: getattr(defaults, "images", None)]
    training, testing = (_as_set(peer, array) for array in (images, dataset.test.images))
    network = make_network(peer, getattr(defaults, "latent", 0))
    if peer.convolutional:
        network = network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(peer, network, run.learning_rate, fused=True)
    epochs, seconds = options.epochs or run.epochs, 0.0
    tests: dict[int, tuple[float, float]] = {}
    train_loss = float("nan")
    for epoch in range(1, epochs + 1):
        started = time.perf_counter()
        train_loss = _train_epoch(peer, network, optimizer, training, run.batch_size)
        seconds += time.perf_counter() - started
        if epoch % run.evaluate_every == 0 or epoch == epochs:
            tests[epoch] = _test(peer, network, testing)
    best = min(tests, key=lambda epoch: tests[epoch][0])
    test_loss, test_mse = tests[epochs]
    return Figures(
        dataset.name,
        epochs,
        train_loss,
        test_loss,
        test_mse,
        tests[best][0],
        best,
        seconds,
        f"PyTorch {torch.__version__}",
    )


def _as_set(peer: Peer, images: np.ndarray) -> Set:
    """Returns uint8 images [N, H, W, C] in a peer's layout, its inputs with noise drawn once."""
    array = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
    layout = torch.channels_last if peer.convolutional else torch.contiguous_format
    targets = pixels_of(peer, array).contiguous(memory_format=layout)
    targets = targets if peer.convolutional else targets.flatten(1)
    return Set(corrupt(peer, targets), targets)


def _train_epoch(
    peer: Peer, network: nn.Module, optimizer: torch.optim.Optimizer, examples: Set, size: int
) -> float:
    """Trains on all examples once, in a new order; returns the mean loss during the epoch."""
    total = torch.zeros(())
    for batch in _batches(examples, torch.randperm(len(examples)), size):
        optimizer.zero_grad(set_to_none=True)
        loss = peer.loss(network(batch.inputs), batch.targets)
        loss.backward()
        optimizer.step()
        total += loss.detach() * len(batch)
    return float(total / len(examples))


def _test(peer: Peer, network: nn.Module, examples: Set) -> tuple[float, float]:
    """Returns the mean loss, and the mean squared error per pixel in [0, 1]."""
    loss, error = 0.0, 0.0
    with torch.no_grad():
        for batch in _batches(examples, torch.arange(len(examples)), _TEST_BATCH):
            logits = network(batch.inputs)
            loss += float(peer.loss(logits, batch.targets)) * len(batch)
            distances = peer.activation(logits) - batch.targets
            error += float(distances.square().mean()) * len(batch)
    scale = 4 if peer.symmetric else 1  # pixels in [-1, 1] are twice as far apart
    return loss / len(examples), error / len(examples) / scale


def _batches(examples: Set, order: Tensor, size: int) -> Iterator[Set]:
    """Yields the examples in an order; the last batch may be smaller."""
    return (examples.batch(indices) for indices in order.split(size))


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
