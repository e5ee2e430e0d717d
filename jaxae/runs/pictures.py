"""Pictures in a run's folder: reconstructions, loss curves, and an experiment's own."""

import numpy as np

from jaxae import plots
from jaxae.devices import is_first_process
from jaxae.runs import reading
from jaxae.runs.folder import Run
from jaxae.runs.progress import skip_failed_picture
from jaxae.runs.recipes import Epoch, of_split


def save_picture(run: Run, name: str, picture: np.ndarray, caption: str) -> None:
    """Writes a picture, uint8 [H, W] or [H, W, 3], to pictures/NAME.png.

    Its metadata holds the caption with experiment and dataset; pictures of the bundled subset also
    show it.
    """
    if not is_first_process():
        return
    folder = run.folder / "pictures"
    folder.mkdir(exist_ok=True)
    seed = f", seed {run.shared.seed} of {run.shared.replicas}" if run.shared.replicas > 1 else ""
    caption = f"{run.experiment}, {run.dataset.name}{seed}: {caption}"
    plots.save(picture, folder / f"{name}.png", caption=caption, strip=run.dataset.bundled)
    for tracker in run.trackers:
        tracker.show_picture(name, picture, caption)


def draw_curves(run: Run) -> None:
    """Draws the losses of all splits over the recorded epochs, if any; replicas as mean and std."""
    lines = reading.read_records(run.folder)
    if not lines:
        return
    series = reading.loss_curves(lines)
    epochs = [line["epoch"] for line in lines]
    title = f"{run.experiment} on {run.dataset.name}"
    with skip_failed_picture("curves"):
        save_picture(run, "curves", plots.curves(epochs, series, "loss", title), "loss over epochs")


def draw_reconstructions(run: Run, epoch: Epoch) -> None:
    """Draws up to 50 test images beside their reconstructions, as pictures/epoch_NNN.png.

    Of vectors it draws a chart of up to six.
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
            picture = plots.vectors(images, reconstructions, caption)
        else:
            picture = plots.reconstruction_grid(images, reconstructions)
        save_picture(run, name, picture, caption)
