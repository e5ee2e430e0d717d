"""Progress of a training run: a bar on a terminal and in a notebook, plain lines elsewhere."""

import contextlib
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp

from jaxae.devices import is_first_process
from jaxae.errors import UserError
from jaxae.runs.interrupts import keep_interrupts
from jaxae.runs.reading import format_figure, spell_out
from jaxae.train import Progress

if TYPE_CHECKING:  # tqdm may be missing if no run is trained
    from tqdm import tqdm


@contextlib.contextmanager
def open_bar(total_images: int, initial: int) -> Iterator["tqdm"]:
    """Opens a bar over all images of a run, with rate and time left.

    It is shown if stderr is a terminal, and in a notebook, there as a widget if ipywidgets is
    installed.
    """
    with warnings.catch_warnings():  # of a missing ipywidgets
        warnings.simplefilter("ignore")
        from tqdm.auto import tqdm

    with tqdm(
        total=total_images,
        initial=initial,
        unit=" images",
        unit_scale=True,
        dynamic_ncols=True,
        disable=not (sys.stderr.isatty() or "ipykernel" in sys.modules),
    ) as bar:
        yield bar


def show_loss(bar: "tqdm", chunk: Progress, epochs: int, done: int) -> None:
    """Moves the bar to the number of images done, and shows the epoch and the loss."""
    bar.set_description(f"epoch {chunk.epoch}/{epochs}", refresh=False)
    loss = float(jnp.mean(chunk.metrics["loss"]))
    bar.set_postfix_str(f"loss {loss:.5g}", refresh=False)
    bar.update(done - bar.n)


def show_epoch(epochs: int, record: Mapping[str, object]) -> None:
    """Prints an epoch's record as one line; figures of replicas are means ± deviations."""
    names = ("train_loss", "validation_loss", "test_loss", "test_mse")
    measured = [f"{spell_out(name)} {_shown(record, name)}" for name in names if name in record]
    pace = f"{record['seconds']:.2f} s  {record['images_per_second']:,.0f} images/s"
    show_line("  ".join([f"epoch {record['epoch']}/{epochs}", *measured, pace]))


def _shown(record: Mapping[str, object], name: str) -> str:
    """Returns a figure of an epoch as text."""
    return format_figure(record, name) if f"{name}_std" in record else f"{record[name]:.5g}"


def show_line(line: str) -> None:
    """Prints a line, above the bar if there is one."""
    from tqdm import tqdm

    tqdm.write(line)
    sys.stdout.flush()


def show_warnings(lines: Iterable[str]) -> None:
    """Prints warnings on stderr, above the bar if there is one."""
    from tqdm import tqdm

    if is_first_process():
        for line in lines:
            tqdm.write(f"warning: {line}", sys.stderr)


def skip_failed_picture(name: str) -> AbstractContextManager[None]:
    """Skips a picture that cannot be drawn, as `skip_failed` does."""
    return skip_failed(f"picture {name}")


@contextlib.contextmanager
def skip_failed(what: str) -> Iterator[None]:
    """Skips a block that fails, and prints the reason why there is no `what` on stderr.

    The run goes on. An OSError, as from a full disk, is still raised. So is an
    interrupt, even if a library has turned it into another exception.
    """
    from tqdm import tqdm

    try:
        with keep_interrupts():
            yield
    except OSError:
        raise
    except Exception as error:  # packages that fit and draw raise errors of many types
        kind = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
        tqdm.write(f"jaxae: no {what}: {kind}{' '.join(str(error).split())}", sys.stderr)


def images_done(chunk: Progress, images_per_epoch: int) -> int:
    """Returns the number of images a fit has trained on since its first epoch began."""
    part = chunk.steps * images_per_epoch // chunk.steps_per_epoch
    return (chunk.epoch - 1) * images_per_epoch + part


def timed(chunks: Iterator[Progress]) -> Iterator[tuple[Progress, float]]:
    """Yields each chunk, once computed, with the seconds it took."""
    while True:
        started = time.perf_counter()
        with keep_interrupts():
            chunk = jax.block_until_ready(next(chunks, None))
        if chunk is None:
            return
        yield chunk, time.perf_counter() - started
