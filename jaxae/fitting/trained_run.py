"""A run that has trained: its network, its records, and what can be made of them."""

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxae import checkpoint, data, evaluate, explore, exports, priors, runs
from jaxae.commands import latents, train
from jaxae.errors import UserError
from jaxae.evaluate import Images
from jaxae.explore import MOST_IMAGES, SavedPage
from jaxae.fitting.options import worded_for_python
from jaxae.fitting.summary import summarize
from jaxae.network import Network, Trained
from jaxae.priors import Prior
from jaxae.train import Variables

_FITTED = 10_000  # training images, at most, whose codes a prior is fitted to


@dataclass(frozen=True)
class TrainedRun:
    """A trained network with the folder of its run, as `fit` and `load` return it.

    In a notebook it shows test images with their reconstructions, its loss, and its figures.

    Attributes:
      trained: the network with its variables, which functions such as `priors.fit` take.
      folder: the run's folder.
      step: the training step of the checkpoint.
      dataset: what it was trained on, if it is in memory; else it is loaded when it is needed.
      replica: the replica of the run.
    """

    trained: Trained
    folder: Path
    step: int
    dataset: data.Dataset | None = None
    replica: int = 0

    def __repr__(self) -> str:
        return f"TrainedRun({self.folder.as_posix()!r}, step {self.step}, {self.trained!r})"

    @property
    def network(self) -> Network:
        """The model and its likelihood, as pure functions of the variables."""
        return self.trained.network

    @property
    def variables(self) -> Variables:
        """The trained variables, {"params": ...} and other collections."""
        return self.trained.variables

    @property
    def standardized(self) -> bool:
        """Whether the network was trained on floats around 0 instead of [0, 1]."""
        return self.trained.standardized

    @property
    def classes(self) -> int | None:
        """The number of classes of a conditional network; None for any other network."""
        return self.trained.classes

    @property
    def config(self) -> runs.Config:
        """The run's config.json."""
        return runs.read_config(self.folder)

    @property
    def history(self) -> dict[str, np.ndarray]:
        """The figures of metrics.jsonl by name, floats [E] for E epochs, or [E, R] of R replicas.

        A figure that an epoch lacks is NaN. Raises `UserError` for an export, which has no such
        file.
        """
        checkpoint.check_not_export(self.folder)
        lines = runs.read_records(self.folder)
        names = dict.fromkeys(
            name
            for line in lines
            for name, value in line.items()
            if name != "warnings" and not isinstance(value, str)
        )
        return {name: _column([line.get(name) for line in lines]) for name in names}

    def encode(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Returns the codes of images, as `Trained.encode` does; gray ones may lack an axis."""
        return self.trained.encode(self._with_channel(images), labels)

    def decode(self, z: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Decodes codes to images, as `Trained.decode` does."""
        return self.trained.decode(z, labels)

    def reconstruct(self, images: ArrayLike, labels: ArrayLike | None = None) -> np.ndarray:
        """Reconstructs images, as `Trained.reconstruct` does; gray ones may lack an axis."""
        return self.trained.reconstruct(self._with_channel(images), labels)

    def _with_channel(self, images: ArrayLike) -> ArrayLike:
        """Adds the channel to gray images [N, H, W] of the run's size, as `fit` takes them."""
        shape = self.config.dataset.image_shape
        if shape[-1:] == (1,) and len(shape) == 3 and np.shape(images)[1:] == shape[:2]:
            return np.asarray(images)[..., None]
        return images

    def sample(
        self,
        count: int,
        labels: ArrayLike | None = None,
        *,
        prior: Prior | None = None,
        seed: int = 0,
        dataset: data.Dataset | None = None,
    ) -> np.ndarray:
        """Decodes `count` new codes to images; equal seeds give equal images.

        Args:
          count: the number of images.
          labels: the class of each image, for a conditional network; by default each in turn.
          prior: where codes come from, as in `jaxae.priors`; by default the member's own prior, or
            one that suits the network.
          seed: of the codes, and of the fit of a prior.
          dataset: the run's dataset, whose codes a prior other than "normal" is fitted to.

        Raises:
          UserError: the count or the prior is not allowed, or the dataset is not found.
        """
        if not isinstance(count, int) or count < 1:
            raise UserError(f"{count} samples were asked for: give 1 or more")
        if prior is not None and prior not in priors.DESCRIPTIONS:
            raise UserError(f"the prior {prior}: give one of {', '.join(priors.DESCRIPTIONS)}")
        if not isinstance(seed, int) or not 0 <= seed < 2**31:
            raise UserError(f"the seed {seed}: give a whole number from 0 to {2**31 - 1}")
        config = self.config
        prior = prior or evaluate.choose_prior(self.trained, config.options.objective)
        if prior == "normal":  # which needs no codes but their shape
            images = np.zeros((1, *config.dataset.image_shape), np.float32)
            codes = self.trained.encode(images, np.zeros(1, np.int32))
        else:
            known = self._images(self._dataset(dataset))
            codes = evaluate.encode(evaluate.scaled(self.trained), known.some(known.train, _FITTED))
        key = jax.random.fold_in(runs.fixed_keys().pictures, seed)
        new = priors.fit(self.trained, codes, prior, seed=seed)(key, count)
        if labels is None and self.classes is not None:
            labels = np.arange(count, dtype=np.int32) % self.classes
        return self.trained.decode(new, labels)

    def evaluate(
        self,
        *,
        samples: int = 200,
        images: int | None = None,
        generated: int | None = None,
        seed: int = 0,
        dataset: data.Dataset | None = None,
        out: str | Path | None = None,
    ) -> dict[str, Any]:
        """Evaluates the run as `jaxae evaluate` does; returns its figures by name.

        All replicas of the run are evaluated. Writes evaluation.json and report.html.

        Args:
          samples: posterior samples that estimate the log-likelihood of an image.
          images: test images to estimate the log-likelihood of; by default all.
          generated: images to generate, at most one for each test image; by default up to 10,000.
          seed: of the posterior samples and the generated images.
          dataset: the run's dataset, if it is neither in memory nor found by its name; for arrays,
            `jaxae.data.from_arrays` makes one.
          out: the folder to write to; by default the run's.

        Raises:
          UserError: an argument is out of its range, the dataset is not found or another one, or
            this was loaded from an export.
        """
        checkpoint.check_not_export(self.folder)
        options = evaluate.Options(
            self.folder,
            step=self.step,
            samples=samples,
            images=images,
            generated=generated,
            seed=seed,
            out=None if out is None else Path(out),
        )
        dataset = self._dataset(dataset)
        with worded_for_python(train.Options()):
            found = evaluate.evaluate_run(options, network=self.network, dataset=dataset)
        return found["figures"]

    def explore(
        self,
        *,
        images: int = MOST_IMAGES,
        seed: int = 0,
        dataset: data.Dataset | None = None,
        out: str | Path | None = None,
    ) -> SavedPage:
        """Makes the page of `jaxae explore`, which a notebook shows: it decodes in the browser.

        Args:
          images: the largest number of test images to show; fewer if images or codes are large.
          seed: of the priors' fits and codes, and of UMAP.
          dataset: as in `evaluate`.
          out: the file to write; by default explore.html in the run's folder; needed for an export.

        Raises:
          UserError: an argument is out of its range or needed, the dataset is not found or another
            one, the data are vectors, or the network has a part that is not from `jaxae.models`.
        """
        place = self._place(out)
        options = explore.Options(self.folder, images=images, seed=seed, out=place)
        dataset = self._dataset(dataset)
        with worded_for_python(train.Options()):
            return explore.explore_run(
                options, step=self.step, trained=self.trained, dataset=dataset
            )

    def draw_latents(
        self,
        *,
        priors: tuple[Prior, ...] | None = None,
        images: tuple[int, ...] | None = None,
        seed: int = 0,
        dataset: data.Dataset | None = None,
        out: str | Path | None = None,
    ) -> list[Path]:
        """Draws what the codes can do as `jaxae latents` does; returns the paths of its PNGs.

        Args:
          priors: the priors of new codes; by default all that suit the network.
          images: numbers of the test images to show; by default six.
          seed: of the fits and the samples.
          dataset: as in `evaluate`.
          out: the folder to write to; by default pictures/ in the run's folder; needed for an
            export.

        Raises:
          UserError: an argument is out of its range or needed, or the dataset is not found or
            another one.
        """
        options = latents.Options(
            self.folder,
            priors=priors,
            images=images,
            seed=seed,
            out=self._place(out),
        )
        dataset = self._dataset(dataset)
        with worded_for_python(train.Options()):
            return latents.draw(options, step=self.step, trained=self.trained, dataset=dataset)

    def export(
        self,
        format: exports.Format = "safetensors",
        *,
        input: exports.Input | None = None,
        pictures: bool = True,
        out: str | Path | None = None,
    ) -> Path:
        """Exports the network as `jaxae export` does, and returns the folder.

        Args:
          format: "safetensors" or "npz", which `jaxae.load` loads, "stablehlo" or "onnx".
          input: the type of numbers that a program reads, "uint8" for pixels or "float32".
          pictures: whether to copy a few pictures of the run into the card.
          out: the folder to write; by default export-FORMAT in the run's folder; needed for an
            export.

        Raises:
          UserError: an argument is not allowed or needed, a package is missing, the network cannot
            be written in the format, or `out` is no export and not empty.
        """
        options = exports.Options(
            self.folder,
            replica=self.replica,
            format=format,
            input=input,
            pictures=pictures,
            out=self._place(out),
        )
        with worded_for_python(train.Options()):
            return exports.export_run(options, step=self.step, trained=self.trained)

    def _place(self, out: str | Path | None) -> Path | None:
        """Returns where to write; None for the run's folder, which that of an export is not."""
        if out is None and exports.is_export(self.folder):
            raise UserError(
                f"{self.folder} is an export, to which nothing is added: say with out where to "
                "write"
            )
        return None if out is None else Path(out)

    def _dataset(self, given: data.Dataset | None) -> data.Dataset:
        """Returns the dataset given, the one in memory, or the one that the run's config names."""
        dataset = given if given is not None else self.dataset
        if dataset is None:
            config = self.config
            known = config.dataset
            if known.own and data.find_own(known.name, known.fingerprint) is None:
                raise UserError(
                    f"{self.folder} was trained on data of your own, {known.name}, which is not "
                    f"found here: give dataset=jaxae.data.from_arrays({_arguments(config)}) with "
                    "the same arrays, or dataset=jaxae.data.load(PATH)"
                )
            return runs.load_dataset(self.folder, config, data_dir=None, sources=None)
        if not isinstance(dataset, data.Dataset):
            raise UserError(
                f"a dataset of type {type(dataset).__name__} was given: give the Dataset that "
                "jaxae.data.load or jaxae.data.from_arrays returns"
            )
        return data.hold_out_validation(dataset, self.config.dataset.validation_images)

    def _repr_html_(self) -> str:
        make_images = None if self.dataset is None else partial(self._images, self.dataset)
        return summarize(self.folder, self.step, self.trained, make_images)

    def _images(self, dataset: data.Dataset) -> Images:
        """Returns the images of a dataset as the run's network reads them."""
        images = evaluate.make_images(dataset, self.config.options.binarization)
        return images if self.classes is None else evaluate.with_labels_only(images)


def _arguments(config: runs.Config) -> str:
    """Returns the arguments of `data.from_arrays` that make the dataset of a run, as text."""
    reading = config.options.run.reading
    words = ["images"]
    words += ["labels=labels"] if config.dataset.classes else []
    words += [f'scale="{reading.scale}"'] if reading.scale else []
    words += ["channels_first=True"] if reading.channels_first else []
    return ", ".join(words)


def _column(values: list[Any]) -> np.ndarray:
    """Returns a figure over epochs, float [E] or [E, R], with NaN where an epoch lacks it."""
    size = next((len(value) for value in values if isinstance(value, list)), None)
    missing = math.nan if size is None else [math.nan] * size
    return np.array([missing if value is None else value for value in values], np.float64)
