"""Films the page of `jaxae explore`: an animated GIF of a drag from class to class.

    python experiments/film.py results/fashion/RUN --out results/pictures/explorer.gif

Needs `pip install -e ".[dev]"`, and Debian's packages chromium and chromium-driver. Takes about a
minute on two cores.
"""

import io
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from PIL import Image

from jaxae import explore
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.files import whole

_WINDOW = (1100, 800)
_GRAYS, _COLORS = 28, 36  # of the palette
_SECONDS = 0.12  # of a frame


@dataclass(frozen=True)
class Options:
    """Films the page that explores a run."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run

    images: int = 1200  # number of test images on the map
    stops: int = 5  # number of images to drag to
    frames: int = 6  # number of frames from one image to the next
    width: int = 640  # width of the film in pixels
    out: Path = Path("explorer.gif")  # file to write


def main(options: Options) -> None:
    """Makes the page, drags over its map, and writes what it showed."""
    for name in ("images", "stops", "frames", "width"):
        if getattr(options, name) < 2:
            raise UserError(f"--{name} {getattr(options, name)}: give 2 or more")
    with tempfile.TemporaryDirectory() as folder:
        page = explore.explore_run(
            explore.Options(options.run, images=options.images, out=Path(folder) / "page.html")
        )
        shots = _film(page.path, options)
    _save(shots, options)
    print(f"done: {options.out}, {options.out.stat().st_size / 1e3:.0f} kB")


def _film(page: Path, options: Options) -> list[Image.Image]:
    """Opens a page in Chromium, drags over its map, and returns a picture of each frame."""
    driver = _open_browser(page.parent / "profile")
    try:
        driver.get(page.as_uri())
        _wait(driver, "document.documentElement.dataset.ready === 'yes'")
        _wait(driver, "explorer.plane.shade !== null")
        from selenium.webdriver import ActionChains

        plane = driver.find_element("css selector", "#plane")
        middle = np.array([plane.size["width"], plane.size["height"]]) / 2
        actions, shots = ActionChains(driver, duration=0), []
        for number, place in enumerate(_places(driver, options)):
            right, down = (round(x) for x in place - middle)
            actions.move_to_element_with_offset(plane, right, down)
            if number == 0:
                actions.click_and_hold()
            actions.perform()
            _wait(driver, "explorer.isDecoded()")
            shots.append(Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB"))
        actions.release().perform()
        return shots
    finally:
        driver.quit()


def _open_browser(profile: Path) -> Any:
    """Starts headless Chromium; raises `UserError` if it or its driver is missing."""
    found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    try:
        from selenium import webdriver
    except ImportError:
        raise UserError('selenium is missing: pip install -e ".[dev]"') from None
    if None in found.values():
        raise UserError("chromium or its driver is missing: install chromium and chromium-driver")
    flags = webdriver.ChromeOptions()
    flags.binary_location = str(found["chromium"])
    size = ",".join(map(str, _WINDOW))
    for flag in ("headless=new", "no-sandbox", "hide-scrollbars", f"window-size={size}"):
        flags.add_argument(f"--{flag}")
    flags.add_argument(f"--user-data-dir={profile}")
    return webdriver.Chrome(flags, webdriver.ChromeService(str(found["chromedriver"])))


def _wait(driver: Any, condition: str) -> None:
    """Waits until a condition of the page holds."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(driver, 60).until(lambda page: page.execute_script(f"return {condition}"))


def _places(driver: Any, options: Options) -> np.ndarray:
    """Returns where the pointer goes on the map, in pixels: to images of several classes, back."""
    points, labels = driver.execute_script(
        "const {plane, content} = explorer, {points} = plane.map;"
        "return [content.numbers.map((_, n) => plane.toScreen([points[2 * n], points[2 * n + 1]])),"
        "  content.labels ?? content.numbers.map(() => 0)]"
    )
    points, labels = np.array(points), np.array(labels)
    centers = np.array([np.median(points[labels == label], axis=0) for label in np.unique(labels)])
    if len(centers) < options.stops:
        chosen = np.linspace(0, len(points) - 1, options.stops).astype(int)
        centers = points[chosen]
    around = centers - centers.mean(axis=0)
    order = np.argsort(np.arctan2(around[:, 1], around[:, 0]))  # around the map
    stops = centers[order[np.linspace(0, len(order) - 1, options.stops).astype(int)]]
    pairs = zip(stops, np.roll(stops, -1, axis=0), strict=True)
    paths = [np.linspace(start, stop, options.frames, endpoint=False) for start, stop in pairs]
    return np.concatenate(paths)


def _palette_of(shot: Image.Image) -> Image.Image:
    """Returns a palette of grays, which the decoded images need, and of a picture's colors."""
    # The dots of the map are few, and a palette by area would lose their colors.
    found = shot.quantize(_COLORS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    grays = np.linspace(0, 255, _GRAYS).round().astype(int).repeat(3).tolist()
    palette = Image.new("P", (1, 1))
    palette.putpalette([*grays, *found[: 3 * _COLORS]])
    return palette


def _save(shots: Sequence[Image.Image], options: Options) -> None:
    """Writes frames as a GIF of one palette, whole or not at all."""
    height = round(options.width * shots[0].height / shots[0].width)
    small = [shot.resize((options.width, height), Image.Resampling.LANCZOS) for shot in shots]
    palette = _palette_of(small[0])
    frames = [frame.quantize(palette=palette, dither=Image.Dither.NONE) for frame in small]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with whole(options.out) as temporary:
        frames[0].save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=frames[1:],
            duration=round(1000 * _SECONDS),
            loop=0,
            optimize=True,
        )


if __name__ == "__main__":
    run_tool(main, Options, description=__doc__)
