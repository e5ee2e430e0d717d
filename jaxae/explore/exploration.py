"""What the page of an exploration shows, as arrays: images, codes, maps, dimensions and priors."""

import math
import sys
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, UInt8

from jaxae import evaluate, priors, runs
from jaxae.data import Split
from jaxae.errors import UserError
from jaxae.evaluate import Images
from jaxae.explore.maps import Map, make_maps, typical_distance
from jaxae.models import FiniteScalarQuantizer, Quantizer, VectorQuantizer
from jaxae.network import Trained
from jaxae.pages import shrink
from jaxae.plots import drawable
from jaxae.priors import Prior
from jaxae.programs import Program, program_of
from jaxae.train import apply_in_parts

MOST_IMAGES = 5000  # test images, by default at most
_SHEET_NUMBERS = 2**22  # in all their pictures
_LARGEST_PICTURE = 64  # pixels a side; larger ones are shrunk
_FITTED = 10_000  # training images, at most, whose codes are used
_DRAWN = 200  # new codes of each prior
_MOST_SLIDERS = 64
_LARGEST_FITTED = 512  # numbers in a code that a mixture and a flow are fitted to, at most
_ACTIVE = 0.01  # variance of an active unit's posterior mean, as in `metrics.active_units`


@dataclass(frozen=True)
class Dimension:
    """A number of the code that a slider moves."""

    index: int  # in the flat code
    name: str
    score: float  # KL in nats, or variance
    mean: float  # over training codes
    deviation: float


@dataclass(frozen=True)
class NewCodes:
    """Codes that a prior gave."""

    prior: Prior
    codes: Float[np.ndarray, "count D"]


@dataclass(frozen=True)
class Exploration:
    """All that the page shows of a run. Codes are flat, of D numbers each."""

    title: str
    subtitle: str
    program: Program
    range: evaluate.Range  # of the program's images
    quantizer: Quantizer | None
    classes: int | None  # of a conditional network
    class_names: tuple[str, ...]  # empty without labels
    labels: Int[np.ndarray, " N"] | None  # indices of class names
    numbers: Int[np.ndarray, " N"]  # of the test images in their split
    pictures: UInt8[np.ndarray, "N height width channels"]
    codes: Float[np.ndarray, "N D"]
    maps: tuple[Map, ...]
    distance: float  # the median distance of a code to its nearest other
    scored_by: str  # "KL" or "variance"
    dimensions: tuple[Dimension, ...]  # the largest score first
    inactive: int  # dimensions that are left out
    new_codes: tuple[NewCodes, ...]
    class_means: Float[np.ndarray, "classes D"] | None  # NaN for a class without training codes
    report: str | None = None  # address of the run's report


def explore(
    trained: Trained,
    images: Images,
    *,
    title: str,
    subtitle: str,
    most: int = MOST_IMAGES,
    seed: int = 0,
    report: str | None = None,
) -> Exploration:
    """Computes what the page of a network shows.

    Args:
      trained: the network, without the data's scaling.
      images: the dataset as the network reads it.
      title: of the page.
      subtitle: of the page.
      most: the number of test images, at most; large ones are fewer.
      seed: of the priors' fits and codes, and of UMAP.
      report: address of the run's report, if there is one.

    Raises:
      UserError: the data are vectors, or the network has a part of your own.
    """
    if images.are_vectors:
        raise UserError(
            "the data are vectors, which have no pictures to decode: give a run of images"
        )
    if trained.classes is not None:
        images = evaluate.with_labels_only(images)
    count, shape = len(images.test.images), images.test.images.shape[1:]
    most = max(1, min(most, _SHEET_NUMBERS // math.prod(shape)))
    numbers = images.choose(count, most)
    test = evaluate.take(images.test, numbers)
    program = program_of(trained, shape)
    codes = _flat(evaluate.encode(trained, test))
    fitted = images.some(images.train, _FITTED)
    train_codes = evaluate.encode(trained, fitted)
    if not np.isfinite(codes).all():
        raise UserError("some codes are NaN or infinite: give a run whose training did not diverge")
    labels, class_names = evaluate.named_labels(images, test.labels)
    scored_by, dimensions, inactive = _choose_dimensions(trained, test, _flat(train_codes), program)
    return Exploration(
        title=title,
        subtitle=subtitle,
        program=program,
        range=images.range,
        quantizer=trained.network.quantizer,
        classes=trained.classes,
        class_names=class_names,
        labels=labels,
        numbers=numbers,
        pictures=shrink(drawable(images.range.to_unit(test.images)), _LARGEST_PICTURE),
        codes=codes,
        maps=make_maps(codes, _flat(train_codes), seed=seed),
        distance=typical_distance(codes),
        scored_by=scored_by,
        dimensions=dimensions,
        inactive=inactive,
        new_codes=tuple(_draw_codes(trained, train_codes, seed)),
        class_means=_class_means(_flat(train_codes), fitted.labels, len(class_names)),
        report=report,
    )


def vectors_of(exploration: Exploration) -> np.ndarray | None:
    """Returns the vectors of a codebook, [size, dimension]; None for any other network."""
    for operation in exploration.program.encode:
        if operation.kind == "look_up":
            return operation.arrays["vectors"]
    return None


def _flat(codes: np.ndarray) -> np.ndarray:
    return codes.reshape(len(codes), -1)


def _choose_dimensions(
    trained: Trained, test: Split, train_codes: np.ndarray, program: Program
) -> tuple[str, tuple[Dimension, ...], int]:
    """Returns what dimensions are sorted by, the active ones, and the number of the others."""
    variances = train_codes.var(axis=0, dtype=np.float64)
    if trained.network.has_posterior:
        scored_by, scores, active = "KL", _divergences(trained, test), variances > _ACTIVE
    else:
        scored_by, scores = "variance", variances
        active = variances > 1e-4 * max(variances.max(), 1e-12)
    order = [int(n) for n in np.argsort(-scores, kind="stable") if active[n]]
    means = train_codes.mean(axis=0, dtype=np.float64)
    dimensions = tuple(
        Dimension(n, _name_of(n, program), float(scores[n]), float(means[n]), variances[n] ** 0.5)
        for n in order[:_MOST_SLIDERS]
    )
    return scored_by, dimensions, len(variances) - len(dimensions)


def _name_of(index: int, program: Program) -> str:
    """Returns the place of a number in a code, from 0 on."""
    places = np.unravel_index(index, program.code_shape)
    return ", ".join(str(int(place)) for place in places)


def _divergences(trained: Trained, test: Split) -> np.ndarray:
    """Returns the mean KL of each dimension's posterior from the prior, nats [D]."""

    def divergence(images: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        chosen = None if labels is None else jnp.asarray(labels)
        posterior = trained.network.posterior(trained.variables, jnp.asarray(images), chosen)
        mean, log_variance = np.asarray(posterior.mean), np.asarray(posterior.log_variance)
        return (mean**2 + np.exp(log_variance) - log_variance - 1) / 2

    known = [] if trained.classes is None or test.labels is None else [test.labels]
    return apply_in_parts(divergence, test.images[:], *known).mean(axis=0, dtype=np.float64)


def _draw_codes(trained: Trained, train_codes: np.ndarray, seed: int) -> list[NewCodes]:
    """Returns new codes of each prior that suits the network; a prior that fails is left out."""
    quantized = trained.network.quantizer is not None
    suitable: tuple[Prior, ...] = ("resample",) if quantized else ("normal", "mixture", "flow")
    if not quantized and train_codes[0].size > _LARGEST_FITTED:
        suitable = ("normal",)
    key = jax.random.fold_in(runs.fixed_keys().pictures, seed)
    drawn = []
    for prior in suitable:
        with evaluate.stage(f"codes of the prior {prior}"):
            try:
                codes = priors.fit(trained, train_codes, prior, seed=seed)(key, _DRAWN)
            except UserError as error:
                print(f"jaxae: there are no codes of the prior {prior}: {error}", file=sys.stderr)
                continue
        drawn.append(NewCodes(prior, _flat(codes)))
    return drawn


def _class_means(
    train_codes: np.ndarray, labels: np.ndarray | None, classes: int
) -> np.ndarray | None:
    """Returns the mean training code of each class, NaN for a class without one."""
    if labels is None or classes < 2:
        return None
    means = np.full((classes, train_codes.shape[1]), np.nan)
    for label in np.unique(labels[labels >= 0]):
        means[label] = train_codes[labels == label].mean(axis=0, dtype=np.float64)
    return means


def kind_of(quantizer: Quantizer | None) -> str | None:
    """Returns "vq" or "fsq" for the quantizers of jaxae.models, and None for none."""
    if isinstance(quantizer, VectorQuantizer):
        return "vq"
    return "fsq" if isinstance(quantizer, FiniteScalarQuantizer) else None
