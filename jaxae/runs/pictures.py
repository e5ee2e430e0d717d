"""Pictures in a run's folder: reconstructions, loss curves, and an experiment's own."""

import numpy as np

from jaxae import plots
from jaxae.devices import is_first_process
from jaxae.runs import reading
from jaxae.runs.config import label_replica
from jaxae.runs.folder import Run
from jaxae.runs.progress import skip_failed_picture
from jaxae.runs.recipes import Epoch, of_split
from jaxae.runs.records import LABELED


def save_picture(
    run: Run, name: str, picture: np.ndarray, caption: str, *, strip: bool = True
) -> None:
    """Writes a picture, uint8 [H, W] or [H, W, 3], to pictures/NAME.png.

    Its caption, with experiment, dataset and the replica that it shows, is in its metadata and
    under the picture. Without `strip`, only pictures of the bundled subset show it, which is not
    the full dataset.
    """
    replica = label_replica(0, run.shared.seed, run.shared.replicas)
    caption = f"{run.label}, {run.dataset.name}{replica}: {caption}"
    _save(run, name, picture, caption, strip=strip)


def _save(run: Run, name: str, picture: np.ndarray, caption: str, *, strip: bool = True) -> None:
    """Writes a picture with its whole caption."""
    if not is_first_process():
        return
    folder = run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    shown = strip or run.dataset.bundled
    plots.save(picture, folder / f"{name}.png", caption=caption, strip=shown)
    for tracker in run.trackers:
        tracker.show_picture(name, picture, caption)


def draw_curves(run: Run, loss_unit: str = "") -> None:
    """Draws the losses of all splits over the recorded epochs, if any; replicas as mean and std."""
    lines = reading.read_records(run.folder)
    if not lines:
        return
    series = reading.loss_curves(lines)
    epochs = [line["epoch"] for line in lines]
    title, count = f"{run.label} on {run.dataset.name}", run.shared.replicas
    several = f", mean ± standard deviation of {count} replicas" if count > 1 else ""
    with skip_failed_picture("curves"):
        picture = plots.curves(epochs, series, loss_label(loss_unit), title)
        caption = f"{run.label}, {run.dataset.name}: loss by epoch{several}"
        _save(run, "curves", picture, caption)


def loss_label(unit: str) -> str:
    """Returns how an axis of losses is labeled, with the unit if there is one."""
    return f"loss, {unit}" if unit else "loss"


def draw_reconstructions(run: Run, epoch: Epoch, *, bare: bool = False) -> None:
    """Draws up to 50 test images beside their reconstructions, as pictures/epoch_NNN.png.

    With `bare`, that is the grid alone, pixel by pixel, and epoch_NNN_labeled.png is beside it. Of
    vectors it draws a chart of up to six.
    """
    examples = epoch.recipe.test_examples or of_split(run.dataset.test)
    images = np.asarray(examples.images[:50])
    labels = None if examples.labels is None else examples.labels[:50]
    name = f"epoch_{epoch.number:03d}"
    with skip_failed_picture(name):
        reconstructions = epoch.trained.reconstruct(images, labels)
        kind = "vectors" if images.ndim == 2 else "images"
        caption = f"test {kind} and reconstructions, epoch {epoch.number}"
        if images.ndim == 2:
            save_picture(run, name, plots.vectors(images, reconstructions, caption), caption)
            return
        if bare:
            picture = plots.reconstruction_grid(images, reconstructions)
            save_picture(run, name, picture, caption, strip=False)
        labeled = plots.labeled_reconstructions(images, reconstructions)
        save_picture(run, name + LABELED if bare else name, labeled, caption)
