"""Warnings of what typically goes wrong in training, each once in a run, with what to try.

They are of a posterior that has collapsed, a codebook that is hardly used, a code of dead ReLUs,
and an output that hardly depends on the image.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxae import devices, metrics, models, train
from jaxae.network import Network
from jaxae.runs import progress
from jaxae.runs.folder import Run
from jaxae.runs.reading import read_records
from jaxae.runs.recipes import Recipe
from jaxae.runs.testing import examples_of_tests
from jaxae.train import Examples, Variables, canonicalize, pixels

_MOST_IMAGES = 512
_FEWEST_IMAGES = 20  # with fewer, a variance says too little
_FEWEST_FOR_ZEROS = 100  # images; a number that is rarely above 0 may be 0 in fewer
_FEWEST_STEPS = 100  # before, hardly any network has learned to tell images apart
_FEWEST_STEPS_OF_CODEBOOK = 500  # scalars that are rounded start from a few codes alone
_FEW = 0.1  # a smaller share of active dimensions, or of used codes, is a fault
_SMALL = 0.01  # a smaller ratio of the output's variance to the images' is a fault

_ADVICE = {
    "collapsed_posterior": "a KL term whose weight grows (--kl-warmup) or is smaller, or a smaller "
    "--latent",
    "unused_codebook": "a smaller codebook, or a lower --learning-rate",
    "dead_code": "a lower --learning-rate, or another activation than ReLU",
    "constant_output": "a lower --learning-rate, more epochs or a larger --latent; inputs that are "
    "mostly noise leave no more to learn",
}
"""What to try, by the name of a fault in metrics.jsonl."""


class Fault(NamedTuple):
    """A fault of one network, as a sentence about {what} with a number in it."""

    kind: str
    what: str
    number: str
    said: str


class _Seen(NamedTuple):
    """What a network makes of N test examples."""

    codes: Array | None  # [N, ...], the means if there is a posterior
    indices: Array | None  # int32 [N, ...] of a quantizer's codes
    output_variance: Array  # over the examples, a scalar
    image_variance: Array


def make_health_check(run: Run, recipe: Recipe) -> Callable[[train.State, int], dict[str, str]]:
    """Returns a function from a state and its epoch to warnings, by the names of their faults.

    It looks after epochs 2, 5, 10, 20, 50, ... and the last, and leaves out faults that the run's
    records name already. A network that cannot be looked at gets none.
    """
    # At full effort, XLA:CPU would compile for longer than the few calls take.
    effort = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
    look = jax.jit(partial(_look, recipe.network), compiler_options=effort)
    network, shared = recipe.network, run.shared
    fewest = _FEWEST_STEPS if network.quantizer is None else _FEWEST_STEPS_OF_CODEBOOK
    fewest = max(fewest, recipe.settled_after)

    def check(state: train.State, epoch: int) -> dict[str, str]:
        checked = _is_checked(epoch, last=epoch == shared.epochs)
        if not checked or train.steps_done(state) < fewest:
            return {}
        found: dict[str, dict[int, Fault]] = {}
        with progress.skip_failed("check of codes and outputs"):
            examples = _some_examples(examples_of_tests(run, recipe), recipe.test_batch_size)
            if len(examples.images) < _FEWEST_IMAGES:
                return {}
            labels = None if network.classes is None else examples.labels
            variables = devices.local(train.evaluation_variables(state))
            for index in range(shared.replicas):
                own = variables
                if state.step.ndim:
                    own = jax.tree.map(lambda leaf, index=index: leaf[index], variables)
                seen = look(own, examples.images, examples.network_inputs, labels)
                fault = fault_of(network, jax.device_get(seen))
                if fault is not None:
                    found.setdefault(fault.kind, {})[index] = fault
        said = {kind for line in read_records(run.folder) for kind in line.get("warnings", ())}
        return {
            kind: _describe(run.folder, faults, several=shared.replicas > 1)
            for kind, faults in found.items()
            if kind not in said
        }

    return check


def _is_checked(epoch: int, *, last: bool) -> bool:
    """Returns whether an epoch is number 2, 5, 10, 20, 50, ... or the last."""
    return last or (epoch > 1 and str(epoch).rstrip("0") in ("1", "2", "5"))


def _some_examples(examples: Examples, most: int) -> Examples:
    """Returns at most 512 examples and at most as many as a test takes at once, from all over."""
    size = len(examples.images)
    rows = np.linspace(0, size - 1, min(size, most, _MOST_IMAGES)).astype(int)
    return canonicalize(jax.tree.map(lambda array: np.asarray(array[rows]), examples))


def _look(
    network: Network, variables: Variables, images: Array, inputs: Array, labels: Array | None
) -> _Seen:
    """Applies a network to examples."""
    codes = indices = None
    if hasattr(network.model, "encode"):
        codes = network.encode(variables, inputs, labels)
    if network.quantizer is not None and codes is not None:

        def read_indices(model: Any, code: Array) -> Array:
            return model.bottleneck.indices(code)

        read = partial(network.model.apply, variables, method=read_indices)
        indices = jnp.asarray(read(codes))
    output = network.reconstruct(variables, inputs, labels)
    variance = partial(_variance, labels=labels, classes=network.classes)
    return _Seen(codes, indices, variance(output), variance(pixels(images)))


def _variance(images: Array, labels: Array | None, classes: int | None) -> Array:
    """Returns the mean variance of a pixel over images, or over those of its class if there are.

    A conditional network is told the class, so its output differs between classes in any case.
    """
    rows = images.reshape(images.shape[0], -1)
    means = rows.mean(axis=0, keepdims=True)
    if classes is not None and labels is not None:
        members = jax.nn.one_hot(labels, classes)
        sums = jnp.dot(members.T, rows, precision=lax.Precision.HIGHEST)
        means = (sums / jnp.maximum(members.sum(axis=0), 1)[:, None])[labels]
    return jnp.square(rows - means).mean()


def fault_of(network: Network, seen: _Seen) -> Fault | None:
    """Returns a network's fault: that of the code, else that of the output, which may follow."""
    return _of_code(network, seen) or _of_output(seen)


def _of_code(network: Network, seen: _Seen) -> Fault | None:
    """Returns the fault of a network's code, if it has one that can be judged."""
    if seen.codes is None or not np.isfinite(seen.codes).all():
        return None
    codes = np.asarray(seen.codes)
    if network.has_posterior:
        means = codes.reshape(len(codes), -1)
        active, size = metrics.active_units(means), means.shape[1]
        if active < _FEW * size:
            return Fault(
                "collapsed_posterior",
                "the posterior",
                f"{active}",
                f"has collapsed: {{}} of {size} dimensions of the code depend on the image",
            )
    elif network.quantizer is not None and seen.indices is not None:
        size, draws = network.quantizer.size, seen.indices.size
        used = len(np.unique(seen.indices))
        # With fewer draws, a codebook that is evenly used could look unused.
        if draws >= 5 * _FEW * size and used < _FEW * min(size, draws):
            return Fault(
                "unused_codebook",
                "the codebook",
                f"{used}",
                f"is hardly used: {{}} of {size} codes occur in {len(codes)} images",
            )
    elif network.bottleneck is models.identity and len(codes) >= _FEWEST_FOR_ZEROS:
        # The border of a map may always be 0, so that a channel counts as a whole.
        dead = (codes.reshape(-1, codes.shape[-1]) == 0).all(axis=0)
        if dead.mean() >= 0.5:
            kind = "channels" if codes.ndim > 2 else "dimensions"
            return Fault(
                "dead_code",
                "the code",
                f"{dead.sum()}",
                f"is partly dead: {{}} of {dead.size} {kind} are 0 for every image",
            )
    return None


def _of_output(seen: _Seen) -> Fault | None:
    """Returns the fault of an output that stays at its mean, if it does."""
    output, images = float(seen.output_variance), float(seen.image_variance)
    # Images that are all equal differ by rounding; the output's variance may be NaN.
    if images < 1e-9 or not output < _SMALL * images:
        return None
    return Fault(
        "constant_output",
        "the output",
        f"{100 * output / images:.2g}",
        "hardly depends on the image: its variance is {} % of that of the images",
    )


def _describe(folder: Path, faults: dict[int, Fault], *, several: bool) -> str:
    """Returns a warning of one kind of fault, of replicas by their numbers if there are several."""
    first = next(iter(faults.values()))
    listed = ", ".join(map(str, faults))
    of = f" of replica{'s' * (len(faults) > 1)} {listed}" if several else ""
    numbers = ", ".join(fault.number for fault in faults.values())
    return f"in {folder}, {first.what}{of} {first.said.format(numbers)}: try {_ADVICE[first.kind]}"
