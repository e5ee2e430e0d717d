"""What a run trains and how, and the training itself with its books kept."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxae import checkpoint, data, objectives, plots, progress, records, train
from jaxae.batches import Examples, check_examples, steps_in_epoch
from jaxae.likelihoods import Likelihood
from jaxae.models import count_parameters
from jaxae.runs import Run, save_picture

# Evaluation follows neither the seed nor the batch size of training, so that numbers compare; no
# run may have this seed.
TEST_SEED = 2**31 - 1
_TEST_BATCH = 500


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    model: nn.Module
    likelihood: Likelihood  # of images under the model's logits
    objective: train.Objective  # what training minimizes
    optimizer: optax.GradientTransformation
    test_objective: train.Objective | None = None  # None: the same; chooses the best checkpoint
    examples: Examples | None = None  # for training; None: the dataset's
    test_examples: Examples | None = None  # None: the dataset's
    chunk_steps: int | None = None  # as in train.fit
    compiled_loop: bool = True  # as in train.fit


@dataclass(frozen=True)
class Epoch:
    """A finished epoch, or the checkpoint that was loaded in its place."""

    number: int  # from 1
    state: train.State  # with a leading axis if there are replicas
    last: bool  # of the run
    record: dict[str, Any]  # what is known of it, as in metrics.jsonl
    recipe: Recipe

    @property
    def variables(self) -> train.Variables:
        """What `model.apply` takes; of the first replica if there are several."""
        return first_replica(self.state)

    def reconstruct(self, images: ArrayLike) -> np.ndarray:
        """Reconstructions in [0, 1] of images [N, H, W, C], uint8 or in [0, 1]."""
        return self.apply(objectives.reconstruct, images)

    def encode(self, images: ArrayLike) -> np.ndarray:
        """The codes of images [N, H, W, C], uint8 or in [0, 1]."""
        return self.apply(objectives.encode, images)

    def decode(self, z: ArrayLike) -> np.ndarray:
        """The images [N, H, W, C] in [0, 1] that codes stand for."""
        return self.apply(objectives.decode, z)

    def apply(self, function: Callable[..., jax.Array], values: ArrayLike) -> np.ndarray:
        """A function of variables and values, with the recipe's model and likelihood."""
        model, likelihood = self.recipe.model, self.recipe.likelihood
        values = jnp.asarray(values)
        return np.asarray(function(self.variables, values, model=model, likelihood=likelihood))


def fit(
    run: Run,
    recipe: Recipe,
    *,
    on_chunk: Callable[[train.Progress], None] | None = None,
) -> Iterator[Epoch]:
    """Trains a run and keeps its books, yielding each finished epoch once it is on record.

    A run that is loaded, or resumed with nothing left to do, is evaluated and yielded once. After
    Ctrl-C the state is saved where training stands, and resuming goes on from there.

    Args:
      run: an open run.
      recipe: what is trained, and how.
      on_chunk: called with the progress after each chunk of steps.

    Raises:
      UserError: the checkpoint to start from does not fit, or the examples cannot be trained on.
    """
    options = run.options
    examples = on_device(recipe.examples or of_split(run.dataset.train))
    test_examples = on_device(recipe.test_examples or of_split(run.dataset.test))
    size = check_examples(examples, options.batch_size)
    steps_per_epoch = steps_in_epoch(size, options.batch_size)
    state, totals = starting_point(run, recipe, examples, steps_per_epoch)
    evaluate = train.make_evaluation(
        partial(
            objectives.with_image_errors,
            objective=recipe.test_objective or recipe.objective,
            model=recipe.model,
            likelihood=recipe.likelihood,
        ),
        _TEST_BATCH,
        replicas=options.replicas > 1,
        compiled_loop=recipe.compiled_loop,
    )

    def test_record(state: train.State) -> dict[str, Any]:
        test_key = split_seed(TEST_SEED).run
        test = evaluate(train.variables_of(state), test_key, test_examples)
        return records.flatten_replicas("test_", test)

    done = train.steps_done(state)
    if options.load is not None or done >= options.epochs * steps_per_epoch:
        epoch = done // steps_per_epoch
        recorded = [line for line in records.read_records(run.folder) if line["epoch"] == epoch]
        record = {"epoch": epoch, "dataset": run.dataset.name, **test_record(state)}
        record = recorded[-1] if recorded else record
        finish(run, state, record)
        yield Epoch(epoch, state, True, record, recipe)
        return

    records.keep_records(run.folder, done // steps_per_epoch)
    chunks = train.fit(
        state,
        examples,
        objective=recipe.objective,
        optimizer=recipe.optimizer,
        epochs=options.epochs,
        batch_size=options.batch_size,
        totals=totals,
        chunk_steps=recipe.chunk_steps,
        compiled_loop=recipe.compiled_loop,
    )
    images = options.replicas * size
    seconds = 0.0
    saved = options.resume is not None
    with progress.open_bar(options.epochs * images, done * images // steps_per_epoch) as bar:
        try:
            for chunk, chunk_seconds in timed(chunks):
                seconds += chunk_seconds
                progress.show_loss(bar, chunk, options.epochs, images)
                if on_chunk is not None:
                    on_chunk(chunk)
                record = {}
                if chunk.finished_epoch:
                    record = {
                        "epoch": chunk.epoch,
                        "dataset": run.dataset.name,
                        **records.flatten_replicas("train_", chunk.metrics),
                        **test_record(chunk.state),
                        "seconds": seconds,
                        "images_per_second": images / seconds,
                    }
                    seconds = 0.0
                    # First the line, then the checkpoint: resuming drops lines that are ahead.
                    records.append_record(run.folder, record, run.board)
                    save(run, chunk.state, chunk.totals, record["test_loss"])
                    progress.show_epoch(bar, options.epochs, record)
                # Only now does an interrupted run stand here, where nothing is left unrecorded.
                state, totals, saved = chunk.state, chunk.totals, chunk.finished_epoch
                if chunk.finished_epoch:
                    last = chunk.epoch == options.epochs
                    if last:
                        finish(run, state, record)
                    yield Epoch(chunk.epoch, state, last, record, recipe)
        except KeyboardInterrupt:
            if not saved:
                save(run, state, totals, math.inf)
            raise


def timed(chunks: Iterator[train.Progress]) -> Iterator[tuple[train.Progress, float]]:
    """Each chunk, once computed, with the seconds it took."""
    while True:
        started = time.perf_counter()
        chunk = next(chunks, None)
        if chunk is None:
            return
        jax.block_until_ready(chunk.state)
        yield chunk, time.perf_counter() - started


def finish(run: Run, state: train.State, record: dict[str, Any]) -> None:
    """Writes summary.json, and draws the losses if there are any on record."""
    records.write_summary(run.folder, record, count_parameters(first_replica(state)))
    if records.read_records(run.folder):
        draw_curves(run)


def draw_curves(run: Run) -> None:
    """Draws training and test loss over the epochs on record; replicas as mean and std."""
    lines = records.read_records(run.folder)
    series = {
        split: np.array(
            [line.get(f"{split}_loss_replicas", line[f"{split}_loss"]) for line in lines]
        ).T
        for split in ("train", "test")
    }
    epochs = [line["epoch"] for line in lines]
    title = f"{run.experiment} on {run.dataset.name}"
    save_picture(run, "curves", plots.curves(epochs, series, "loss", title), "loss over epochs")


def save(run: Run, state: train.State, totals: train.Metrics, loss: float) -> int:
    """Starts saving a checkpoint; returns its step."""
    step = train.steps_done(state)
    checkpoint.save(run.checkpointer, step, {"state": state, "totals": totals}, loss=loss)
    return step


def starting_point(
    run: Run, recipe: Recipe, examples: Examples, steps_per_epoch: int
) -> tuple[train.State, train.Metrics]:
    """The state to train from and its unfinished epoch's totals: new, or from a checkpoint."""
    state = initial_state(run, recipe.model, recipe.optimizer)
    totals = train.no_totals(
        state, examples, objective=recipe.objective, optimizer=recipe.optimizer
    )
    if run.options.restored is None:
        return state, totals
    epoch = run.options.initial_epoch
    tree = checkpoint.restore(
        run.options.restored / "checkpoints",
        {"state": state, "totals": totals},
        None if epoch is None else epoch * steps_per_epoch,
    )
    if run.options.resume is not None:
        checkpoint.delete_after(run.checkpointer, train.steps_done(tree["state"]))
    return tree["state"], tree["totals"]


def initial_state(
    run: Run, model: nn.Module, optimizer: optax.GradientTransformation
) -> train.State:
    """The state before training; replica r has seed + r, as a run of its own would have."""
    make = partial(seeded_state, model=model, optimizer=optimizer, shape=run.shape)
    options = run.options
    if options.replicas == 1:
        return jax.jit(make)(options.seed)
    return jax.jit(jax.vmap(make))(jnp.arange(options.seed, options.seed + options.replicas))


class Keys(NamedTuple):
    """The typed PRNG keys that a seed gives, one a purpose."""

    init: jax.Array  # initial parameters
    run: jax.Array  # order and noise of training, or noise of evaluation
    data: jax.Array  # what is done to a dataset once, before training
    pictures: jax.Array


def split_seed(seed: jax.Array | int) -> Keys:
    """The keys of a seed, an int or int scalar."""
    return Keys(*jax.random.split(jax.random.key(seed), 4))


def seeded_state(
    seed: jax.Array | int,
    *,
    model: nn.Module,
    optimizer: optax.GradientTransformation,
    shape: tuple[int, int, int],
) -> train.State:
    """The state before training that an integer seed gives, for images [H, W, C] of a shape."""
    keys = split_seed(seed)
    return train.init(keys.run, model.init(keys.init, jnp.zeros((1, *shape))), optimizer)


def first_replica(state: train.State) -> train.Variables:
    """The variables of a state, of its first replica if it has several."""
    variables = train.variables_of(state)
    return jax.tree.map(lambda leaf: leaf[0], variables) if state.step.ndim else variables


def of_split(split: data.Split) -> Examples:
    """A dataset's split as examples."""
    return Examples(split.images, split.labels)


def on_device(examples: Examples) -> Examples:
    """The same examples, moved to the default device once."""
    return jax.tree.map(jnp.asarray, examples)
