"""Draws pictures that explore the codes of a trained run.

    jaxae latents results/family/RUN --priors normal mixture

Writes these pictures of six test images, or of those that --images names, to RUN/pictures:

- samples_PRIOR.png: a hundred images decoded from new codes
- interpolations.png: each image and the next, with decoded codes between them: from the line
  between their codes (linear), and from the great circle (spherical)
- morph.png, morph.gif: a closed path through the codes of all images
- arithmetic.png: each image, and its code moved to each class by the difference of class means
- traversal.png: the first image, with one number (unit) of its code per row varied from -2.5 to
  2.5 standard deviations (σ)
- neighbors.png: each image, its five nearest training images by code, and the five by pixels

The network is that of the latest checkpoint, or of a run with --patience that of the best.

A picture that cannot be drawn, such as arithmetic without labels, is left out, and a line says why.
Of vectors, which have no picture, there is only codes.png: the codes of test vectors in the plane.

Takes about a minute on two cores for codes of 20 numbers, mostly to fit the flow, and two minutes
for codes of 128, mostly to fit the mixture. Quantized codes, whose parts are resampled, take a few
seconds.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from jaxae import data, evaluate, latents, plots, priors, runs
from jaxae.cli import run_tool
from jaxae.commands.code_pictures import (
    Decoder,
    draw_arithmetic,
    draw_interpolations,
    draw_neighbors,
    draw_samples,
    draw_traversal,
    encode_group,
)
from jaxae.errors import UserError
from jaxae.evaluate import Images, take
from jaxae.network import Trained
from jaxae.priors import Prior
from jaxae.runs import load_dataset, skip_failed_picture


@dataclass(frozen=True)
class Options:
    """Draws samples, paths, class arithmetic, traversals and neighbors for a trained run."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run to draw

    # --- pictures ---
    # priors to draw new codes from (default: all that suit the codes)
    priors: tuple[Prior, ...] | None = None
    images: tuple[int, ...] | None = None  # numbers of the test images to show (default: six)
    fit_images: int = 10_000  # number of training images to fit priors to and to search
    seed: int = 0  # seed of the fits and the samples

    # --- data ---
    # path of the data of your own that the run was trained on (default: where it was last read)
    dataset: str | None = None
    # folder of the datasets that TFDS has prepared (default: $TFDS_DATA_DIR, or TFDS's own)
    data_dir: Path | None = None
    # folder of original archives, with a subfolder per dataset (default: $JAXAE_SOURCES)
    sources: Path | None = None

    # --- output ---
    out: Path | None = None  # folder to write the pictures to (default: RUN/pictures)


_Save = Callable[[str, np.ndarray, str], None]
"""Writes a picture under a name, with a caption."""


def main(options: Options) -> None:
    """Draws the pictures of a run."""
    draw(options)


def draw(
    options: Options,
    *,
    step: int | None = None,
    trained: Trained | None = None,
    dataset: data.Dataset | None = None,
) -> list[Path]:
    """Encodes training and test images, draws each picture, and returns the paths of the PNGs.

    Args:
      options: of the command.
      step: the step of the checkpoint; by default as for `runs.load`.
      trained: the run's network at that step; by default its first replica is loaded.
      dataset: the run's dataset; by default it is loaded.

    Raises:
      UserError: the run or its dataset cannot be loaded, or none of the pictures can be drawn.
    """
    if options.fit_images < 10:
        raise UserError(f"--fit-images {options.fit_images}: give 10 or more")
    if not 0 <= options.seed < 2**31:
        raise UserError(f"--seed {options.seed}: give 0 or more, and less than 2147483648")
    trained = evaluate.scaled(trained or runs.load(options.run, step))
    config = runs.read_config(options.run)
    dataset = load_dataset(
        options.run,
        config,
        given=dataset,
        path=options.dataset,
        data_dir=options.data_dir,
        sources=options.sources,
    )
    images = evaluate.make_images(dataset, config.options.binarization)
    if trained.classes is not None:
        images = evaluate.with_labels_only(images)

    folder, drawn = options.out or options.run / "pictures", []
    first, replicas = config.values["options"]["run"].get("seed", 0), config.options.run.replicas
    prefix = f"{config.label}, {dataset.name}{runs.label_replica(0, first, replicas)}: "

    def save(name: str, picture: np.ndarray, caption: str) -> None:
        path = folder / f"{name}.png"
        plots.save(picture, path, caption=prefix + caption)
        drawn.append(path)

    if images.are_vectors:
        _draw_vectors(trained, images, save)
    else:
        _draw_images(trained, images, options, save, folder, prefix)
    if not drawn:
        raise UserError(
            f"none of the pictures of {options.run} could be drawn, for the reasons above: give "
            "another run, or other --images"
        )
    print(f"done: pictures in {folder}")
    return drawn


def _draw_vectors(trained: Trained, images: Images, save: _Save) -> None:
    """Draws the codes of test vectors."""
    print("jaxae: the data are vectors, so there are no pictures of decoded codes", file=sys.stderr)
    with skip_failed_picture("codes"):
        scatter = evaluate.scatter_codes(trained, images)
        title = f"{images.dataset.name}: codes of {len(scatter.points):,} test vectors"
        picture = plots.latent_scatter(scatter.points, scatter.labels, scatter.class_names, title)
        save(
            "codes",
            picture,
            f"codes of test vectors: across {scatter.axes[0]}, up {scatter.axes[1]}",
        )


def _draw_images(
    trained: Trained,
    images: Images,
    options: Options,
    save: _Save,
    folder: Path,
    prefix: str,
) -> None:
    """Draws all pictures of decoded codes."""
    chosen = choose_images(options.images, images, conditional=trained.classes is not None)
    test = encode_group(trained, take(images.test, chosen))
    train = encode_group(trained, images.some(images.train, options.fit_images))
    decoder = Decoder(trained, images.range)

    quantized = trained.network.quantizer is not None
    suitable = ("resample",) if quantized else ("normal", "mixture", "flow")
    if options.priors and "resample" in options.priors:
        priors.fit(trained, train.codes, "resample")  # refuses a network that does not quantize
    for prior in options.priors or suitable:
        with skip_failed_picture(f"samples_{prior}"):
            sampler = priors.fit(trained, train.codes, prior, seed=options.seed)
            picture = draw_samples(decoder, sampler, options.seed)
            save(f"samples_{prior}", picture, f"images decoded from {priors.DESCRIPTIONS[prior]}")
    with skip_failed_picture("interpolations"):
        caption = "decoded between the codes of test images, pair by pair, linearly and spherically"
        save("interpolations", draw_interpolations(decoder, test), caption)
    with skip_failed_picture("morph"):
        decode = partial(decoder, label=test.label)
        caption = f"a closed path through the codes of test images {', '.join(map(str, chosen))}"
        frames = latents.morph(decode, test.codes, steps=12)
        ends = zip(chosen, np.roll(chosen, -1), strict=True)
        picture = plots.labeled_grid(
            [plots.in_rows(frames, columns=12)], row_labels=[f"image {a} to {b}" for a, b in ends]
        )
        save("morph", picture, caption)
        path = folder / "morph.gif"
        plots.save_gif(frames, path, seconds_per_frame=0.08, caption=prefix + caption)
    with skip_failed_picture("arithmetic"):
        caption = (
            "test images, and their codes moved by the difference of class means to each class"
        )
        names = images.dataset.class_names
        save("arithmetic", draw_arithmetic(decoder, train, test, names), caption)
    with skip_failed_picture("traversal"):
        caption = (
            f"test image {chosen[0]}; each row varies one number of its code by ±2.5 standard "
            "deviations (\N{GREEK SMALL LETTER SIGMA}), the most variable first"
        )
        save("traversal", draw_traversal(decoder, train, test), caption)
    with skip_failed_picture("neighbors"):
        caption = "test images, training images with the nearest codes, and with the nearest pixels"
        save("neighbors", draw_neighbors(decoder, train, test), caption)


def choose_images(
    asked: tuple[int, ...] | None, images: Images, *, conditional: bool
) -> np.ndarray:
    """Returns the indices of the test images to show.

    By default up to six, as `Images.choose` chooses them or, for a conditional network, the first
    ones of a class that has several. Raises `UserError` if fewer than two are asked for, an index
    is out of range, or a conditional network is asked for several classes.
    """
    count, labels = len(images.test.images), images.test.labels
    if asked is None:
        if not conditional or labels is None:
            return images.choose(count, 6)
        _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
        return np.flatnonzero(numbers == numbers[np.argmax(counts[numbers] > 1)])[:6]
    given = " ".join(map(str, asked))
    if len(asked) < 2 or not all(0 <= index < count for index in asked):
        raise UserError(f"--images {given}: give two or more, from 0 to {count - 1}")
    chosen = np.array(asked)
    if conditional and labels is not None and len(set(labels[chosen])) > 1:
        raise UserError(
            f"--images {given}: the network is conditional, so a path stays within one class; "
            f"give images of one class, not of classes {sorted(set(labels[chosen].tolist()))}"
        )
    return chosen


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
