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
from jaxae.models import Quantizer
from jaxae.network import Trained
from jaxae.pages import shrink
from jaxae.plots import drawable
from jaxae.priors import Prior
from jaxae.programs import Program, program_of
from jaxae.train import apply_in_parts

MOST_IMAGES = 5000  # test images, by default at most
_SHEET_NUMBERS = 2**22  # in all their pictures
_CODE_NUMBERS = 2**20  # in the codes of all of them
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
class Dimensions:
    """The numbers of the code that sliders move, and how many there are."""

    scored_by: str  # "KL" or "variance"
    shown: tuple[Dimension, ...]  # the largest score first
    active: int  # those that change
    all: int


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
    dimensions: Dimensions
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
      most: the largest number of test images; fewer if images or codes are large.
      seed: of the priors' fits and codes, and of UMAP.
      report: address of the run's report, if there is one.

    Raises:
      UserError: the data are vectors, or the network has a part of your own.
    """
    if images.are_vectors:
        raise UserError(
            "the data are vectors, which have no pictures to decode: give a run of images"
        )
    count, shape = len(images.test.images), images.test.images.shape[1:]
    known = np.arange(count)
    if trained.classes is not None:
        if images.test.labels is not None:
            known = np.flatnonzero(images.test.labels >= 0)
        images = evaluate.with_labels_only(images)
    program = program_of(trained, shape)
    size = math.prod(program.code_shape)
    most = max(1, min(most, _SHEET_NUMBERS // math.prod(shape), _CODE_NUMBERS // size))
    chosen = images.choose(len(known), most)
    test = evaluate.take(images.test, chosen)
    encoded = evaluate.encode(trained, test)
    codes = _flat(encoded)
    fitted = images.some(images.train, _FITTED)
    train_codes = evaluate.encode(trained, fitted)
    labels, class_names = evaluate.named_labels(images, test.labels)
    dimensions = _choose_dimensions(trained, test, _flat(train_codes), program)
    decoded = trained.decode(encoded[:1], None if test.labels is None else test.labels[:1])
    scores = np.array([each.score for each in dimensions.shown])
    if not all(np.isfinite(each).all() for each in (codes, train_codes, scores, decoded)):
        raise UserError(
            "some codes or decoded images are NaN or infinite: give a run that did not diverge"
        )
    return Exploration(
        title=title,
        subtitle=subtitle,
        program=program,
        range=images.range,
        quantizer=trained.network.quantizer,
        classes=trained.classes,
        class_names=class_names,
        labels=labels,
        numbers=known[chosen],
        pictures=shrink(drawable(images.range.to_unit(test.images)), _LARGEST_PICTURE),
        codes=codes,
        maps=make_maps(codes, _flat(train_codes), seed=seed),
        distance=typical_distance(codes),
        dimensions=dimensions,
        new_codes=tuple(_draw_codes(trained, train_codes, seed)),
        class_means=_class_means(_flat(train_codes), fitted.labels, len(class_names)),
        report=report,
    )


def _flat(codes: np.ndarray) -> np.ndarray:
    return codes.reshape(len(codes), -1)


def _choose_dimensions(
    trained: Trained, test: Split, train_codes: np.ndarray, program: Program
) -> Dimensions:
    """Returns the dimensions that change, by their KL or their variance."""
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverged, as is said later
        variances = train_codes.var(axis=0, dtype=np.float64)
    if trained.network.has_posterior:
        scored_by, scores, active = "KL", _divergences(trained, test), variances > _ACTIVE
    else:
        scored_by, scores = "variance", variances
        active = variances > 1e-4 * max(variances.max(), 1e-12)
    order = [int(n) for n in np.argsort(-scores, kind="stable") if active[n]]
    means = train_codes.mean(axis=0, dtype=np.float64)
    shown = tuple(
        Dimension(n, _name_of(n, program), float(scores[n]), float(means[n]), variances[n] ** 0.5)
        for n in order[:_MOST_SLIDERS]
    )
    return Dimensions(scored_by, shown, len(order), len(variances))


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
        with np.errstate(over="ignore"):
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
