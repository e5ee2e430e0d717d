"""What a notebook shows of a trained run: reconstructions, the loss, and the figures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from jaxae import evaluate, pages, plots, runs
from jaxae.evaluate import Images
from jaxae.network import Trained

_SHOWN = 12  # test images


def summarize(
    folder: Path, step: int, trained: Trained, make_images: Callable[[], Images] | None
) -> str:
    """Returns HTML of a run at a step; `make_images` is given if its dataset is in memory."""
    config = runs.read_config(folder)
    lines = runs.read_records(folder)
    steps = config.steps_per_epoch
    line = next((line for line in lines[::-1] if line["epoch"] * steps <= step), {})
    figures = [
        (runs.spell_out(name), runs.format_figure(line, name))
        for name in ("epoch", "train_loss", "validation_loss", "test_loss", "test_mse")
        if name in line
    ]
    if (folder / "evaluation.json").exists():
        evaluated = runs.read_evaluation(folder).figures
        figures += [
            (runs.spell_out(name), runs.format_figure(evaluated, name))
            for name in evaluated
            if not name.endswith(("_std", "_replicas"))
        ]
    pictures = []
    with runs.skip_failed_picture("of reconstructions"):
        pictures += _reconstructions(folder, config, trained, make_images)
    if lines:
        with runs.skip_failed_picture("of the loss"):
            pictures.append(_draw_loss(lines, config.loss_unit))
    objective = config.options.objective or config.experiment
    return pages.render_summary(f"{objective} on {config.dataset.name}", figures, pictures)


def _reconstructions(
    folder: Path,
    config: runs.Config,
    trained: Trained,
    make_images: Callable[[], Images] | None,
) -> list[pages.Picture]:
    """Draws test images above their reconstructions, or takes what the run drew last."""
    if len(config.dataset.image_shape) != 3:
        return []
    if make_images is None:
        return evaluate.read_pictures(folder)[-1:]
    images, trained = make_images(), evaluate.scaled(trained)
    test = images.some(images.test, _SHOWN)
    picture = plots.labeled_reconstructions(
        images.range.to_unit(test.images),
        images.range.to_unit(trained.reconstruct(test.images, test.labels)),
    )
    return [pages.Picture(picture, "test images and their reconstructions")]


def _draw_loss(lines: list[dict[str, Any]], unit: str) -> pages.Picture:
    """Draws the losses of all splits over the epochs."""
    series, label = runs.loss_curves(lines), runs.loss_label(unit)
    picture = plots.curves([line["epoch"] for line in lines], series, label, "")
    return pages.Picture(picture, "loss by epoch")
