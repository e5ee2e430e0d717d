"""The HTML page: its text and pictures, and its behavior in a browser."""

import base64
import io
import itertools
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jaxae import pages
from jaxae.errors import UserError
from jaxae.pages import drawing

NAMES = ("zero", "<one>", "two & a half")
GENERATOR = np.random.default_rng(0)
THUMBNAILS = GENERATOR.integers(0, 256, (70, 6, 4, 3), np.uint8)  # more than a row of the sheet
SCATTER = pages.Scatter(
    "Codes",
    "Hover a point.",
    np.stack(np.divmod(np.arange(70), 10), axis=1) * 1.5,
    np.arange(70) % 3,
    NAMES,
    THUMBNAILS,
    ("z1", "z2"),
)
PAGE = pages.Page(
    title="A <b>run</b> & its 'figures'",
    subtitle="of mnist_mini",
    highlights=(("MSE", "0.0431 ± 0.0002"),),
    tables=(
        pages.Table(
            "Codes",
            ("codes", "PCA"),
            (pages.Row("Linear probe", ("0.91", "0.85"), "<script>alert(1)</script>"),),
            "A note.",
        ),
    ),
    charts=(
        pages.Chart(
            "Loss",
            np.arange(1, 5),
            {
                "training": np.array([[4.0, 3, 2, 1], [6, 5, 4, 3]]),
                "test": np.array([[5.0, np.nan, 3, 2]]),
                "gone": np.full((1, 4), np.nan),
            },
        ),
    ),
    galleries=(
        pages.Gallery(
            "Samples",
            "",
            (
                pages.Picture(GENERATOR.integers(0, 256, (56, 84), np.uint8), "gray"),
                pages.Picture(GENERATOR.integers(0, 256, (30, 20, 3), np.uint8), "colored"),
            ),
        ),
    ),
    scatter=SCATTER,
    notes=("First note.",),
    config='{"name": "</pre><script>"}',
)

COLORS = {"training": "blue", "test": "red", "gone": "green"}


class Elements(HTMLParser):
    """Collects each element's name and attributes, and the text that is shown."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


@pytest.fixture(scope="module")
def html() -> str:
    return pages.render(PAGE)


@pytest.fixture(scope="module")
def elements(html: str) -> Elements:
    return Elements(html)


def test_every_element_is_closed_and_every_identifier_is_unique(elements: Elements) -> None:
    assert elements.open == []
    identifiers = [a["id"] for _, a in elements.found if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    targets = {(a["href"] or "").removeprefix("#") for a in elements.named("a")}
    assert targets <= set(identifiers)


def test_it_refers_to_nothing_outside_the_page(html: str, elements: Elements) -> None:
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    for _, attributes in elements.found:
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))


def test_text_is_escaped_and_shown(elements: Elements) -> None:
    assert len(elements.named("script")) == 1
    assert elements.named("b") == [{}]  # the tooltip's own
    for text in (PAGE.title, PAGE.config, PAGE.notes[0], PAGE.tables[0].rows[0].explanation):
        assert text in elements.text
    assert "0.91" in elements.text
    assert "two & a half" in elements.text


def test_pictures_keep_their_pixels_and_are_shown_in_whole_multiples(elements: Elements) -> None:
    shown = elements.named("img")
    for attributes, picture in zip(shown, PAGE.galleries[0].pictures, strict=True):
        np.testing.assert_array_equal(pixels_of(attributes["src"] or ""), picture.pixels)
        assert int(attributes["width"] or 0) == 4 * picture.pixels.shape[1]


def pixels_of(url: str) -> np.ndarray:
    """The picture in a data URL."""
    content = base64.b64decode(url.removeprefix("data:image/png;base64,"))
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image)


def test_a_chart_has_curves_where_numbers_are_finite_and_a_band_for_replicas() -> None:
    chart = drawing.draw_chart(PAGE.charts[0], COLORS)
    training, test = chart["curves"]  # the third has no finite number
    assert (training["color"], test["color"]) == ("blue", "red")
    assert training["line"].count("L") == 3
    assert test["line"].count("L") == 2
    assert training["band"].count("L") == 7
    assert not test["band"]
    heights = [float(point.split()[1]) for point in training["line"][1:].split("L")]
    np.testing.assert_allclose(np.diff(heights), heights[1] - heights[0], atol=0.15)  # 5, 4, 3, 2
    assert heights[1] > heights[0]  # less is lower
    assert [text for _, text in chart["x_ticks"]] == ["1", "2", "3", "4"]


def hostile(number: int) -> str:
    """Text that would close any element or attribute around it, and then run a script."""
    return f"""'"--></pre></style></script></title><img src=x onerror=alert({number})>{number}"""


def test_no_text_of_a_page_becomes_an_element_or_an_attribute(elements: Elements) -> None:
    text = map(hostile, itertools.count())
    table = pages.Table(
        next(text),
        (next(text), next(text)),
        (pages.Row(next(text), (next(text), next(text)), next(text)),),
        next(text),
    )
    (chart,), (gallery,) = PAGE.charts, PAGE.galleries
    curves = {next(text): values for values in chart.curves.values()}
    pictures = tuple(replace(picture, caption=next(text)) for picture in gallery.pictures)
    page = pages.Page(
        title=next(text),
        subtitle=next(text),
        highlights=((next(text), next(text)),),
        tables=(table,),
        charts=(replace(chart, title=next(text), curves=curves),),
        galleries=(pages.Gallery(next(text), next(text), pictures),),
        scatter=replace(
            SCATTER,
            title=next(text),
            text=next(text),
            class_names=(next(text), next(text), next(text)),
            axes=(next(text), next(text)),
        ),
        notes=(next(text),),
        config=next(text),
    )
    html = pages.render(page)
    assert "<img src=x" not in html
    found = Elements(html)
    assert found.open == []
    for tag in ("script", "style", "img", "svg", "pre"):
        assert len(found.named(tag)) == len(elements.named(tag)), tag
    assert not [name for _, attributes in found.found for name in attributes if name[:2] == "on"]
    gone = 10  # the name of a curve that is nowhere finite
    for number in set(range(int(next(text).rpartition(">")[2]))) - {gone}:
        assert f"alert({number})" in html, number


@pytest.mark.parametrize("value", [3.0, np.inf])
def test_a_chart_of_one_epoch_is_a_point_or_nothing(value: float) -> None:
    chart = pages.Chart("Loss", np.array([1]), {"test": np.array([[value]])})
    curves = drawing.draw_chart(chart, COLORS)["curves"]
    assert [curve["line"].count("L") for curve in curves] == ([0] if value == 3 else [])


def test_a_page_without_charts_pictures_and_scatter_is_a_page() -> None:
    bare = replace(PAGE, charts=(), galleries=(), scatter=None, highlights=(), tables=(), notes=())
    elements = Elements(pages.render(bare))
    assert elements.open == []
    assert not elements.named("svg")
    assert not elements.named("script")


def test_both_axes_of_a_scatter_have_one_scale() -> None:
    (x0, y0, _), *_, (x1, y1, _) = drawing.draw_scatter(SCATTER)["points"]
    across, up = x1 - x0, y0 - y1
    np.testing.assert_allclose(across / up, 9 / 13.5)


def test_names_of_classes_whose_middles_are_close_do_not_cover_each_other() -> None:
    classes = drawing.draw_scatter(SCATTER)["classes"]
    middles = [np.median(SCATTER.points[SCATTER.labels == n], axis=0) for n in range(3)]
    assert np.ptp(middles, axis=0).max() <= 1.5  # of an extent of 9 by 13.5
    assert all(each["shown"] for each in classes)
    assert [each["name"] for each in classes] == list(NAMES)
    for first, second in itertools.combinations(classes, 2):
        apart = abs(first["y"] - second["y"]) > 19 or abs(first["x"] - second["x"]) > 40
        assert apart, (first["name"], second["name"])


def test_a_scatter_of_one_point_lies_in_the_middle() -> None:
    one = replace(SCATTER, points=np.zeros((1, 2)), labels=np.array([2]), thumbnails=THUMBNAILS[:1])
    assert drawing.draw_scatter(one)["points"] == [(336, 252, 2)]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((69, 2))}, r"\[N, 2\]"),
        ({"points": np.full((70, 2), np.nan)}, "finite"),
        ({"labels": np.full(70, 3)}, "3 class names"),
        ({"thumbnails": THUMBNAILS[:5]}, r"\[N, H, W, C\]"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(change: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pages.render(replace(PAGE, scatter=replace(SCATTER, **change)))


def test_points_may_have_numbers_but_no_classes_and_no_images() -> None:
    bare = replace(
        SCATTER,
        labels=None,
        class_names=(),
        thumbnails=None,
        numbers=np.arange(70) * 3,
        noun="vector",
    )
    html = Elements(pages.render(replace(PAGE, scatter=bare)))
    circles = [given for name, given in html.found if name == "circle"]
    assert [given["data-number"] for given in circles] == [str(3 * n) for n in range(70)]
    assert {given["class"] for given in circles} == {"class-0"}
    (svg,) = (given for name, given in html.found if name == "svg" and "data-noun" in given)
    assert svg["data-noun"] == "vector"
    assert "button" not in [name for name, _ in html.found]
    assert "sprite" not in [given.get("class") for _, given in html.found]
    labeled = Elements(pages.render(PAGE))
    assert "sprite" in [given.get("class") for _, given in labeled.found]
    assert "data-number" not in {key for _, given in labeled.found for key in given}


def test_tables_as_text_align_their_cells_under_their_heads() -> None:
    rows = (
        pages.Row("Linear probe", ("0.9", "0.85 ± 0.01"), "accuracy"),
        pages.Row("A", ("1", "-")),
    )
    tables = (
        pages.Table("Codes", ("codes", "PCA"), rows, "A note."),
        pages.Table("Cost", ("",), (pages.Row("Epochs", ("12",)),)),
    )
    assert pages.as_text(tables).split("\n") == [
        "Codes            codes           PCA",
        "  Linear probe     0.9   0.85 ± 0.01   accuracy",
        "  A                  1             -",
        "",
        "Cost",
        "  Epochs         12",
    ]
    assert pages.as_text(()) == ""


def test_large_thumbnails_are_averaged() -> None:
    images = np.zeros((2, 128, 64, 1), np.uint8)
    images[1, :, ::2] = 200
    small = drawing.shrink(images)
    assert small.shape == (2, 32, 16, 1)
    assert set(small[1].ravel()) == {100}


@pytest.mark.parametrize("value", [12.3582, 0.02, -3.0, 1500.0])
def test_ticks_of_a_flat_curve_differ(value: float) -> None:
    curve = np.full((1, 4), value) + np.arange(4) * 1e-9
    drawn = drawing.draw_chart(pages.Chart("PSNR, dB", np.arange(1, 5), {"test": curve}), COLORS)
    texts = [text for _, text in drawn["y_ticks"]]
    assert len(set(texts)) == len(texts) > 1


@pytest.mark.parametrize(("low", "high"), [(2.0, 9.0), (0.0, 0.61), (1e-3, 3e-3), (380, 540)])
def test_ticks_say_exactly_where_they_are_and_have_equally_many_decimals(
    low: float, high: float
) -> None:
    curve = np.array([[low, high]])
    drawn = drawing.draw_chart(pages.Chart("KL", np.arange(1, 3), {"test": curve}), COLORS)
    places, texts = zip(*drawn["y_ticks"], strict=True)
    values = np.array([float(text) for text in texts])
    np.testing.assert_allclose(np.diff(values), values[1] - values[0])
    np.testing.assert_allclose(np.diff(places), places[1] - places[0])
    assert len({len(text.partition(".")[2]) for text in texts}) == 1


def test_facts_and_links_are_above_the_figures() -> None:
    page = replace(PAGE, facts=(("Command", "a <b>"),), links=(("Explore", "explore.html"),))
    html = pages.render(page)
    assert html.index("a &lt;b&gt;") < html.index('<a href="explore.html">Explore</a>')
    assert html.index("explore.html") < html.index('id="figures"')


def test_two_thousand_points_are_a_page_of_less_than_three_megabytes() -> None:
    count = 2000
    scatter = replace(
        SCATTER,
        points=GENERATOR.normal(size=(count, 2)),
        labels=np.arange(count) % 3,
        thumbnails=GENERATOR.integers(0, 256, (count, 28, 28, 1), np.uint8),  # the worst case
    )
    assert len(pages.render(replace(PAGE, scatter=scatter))) < 3_000_000


@pytest.fixture
def opened(browser: Any, html: str, tmp_path: Path) -> Any:
    """The page in the browser, whose log must be empty before and after the test."""
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []


def test_the_browser_draws_all_pictures_and_scrolls_in_one_direction(opened: Any) -> None:
    sizes = opened.execute_script(
        "return [...document.images].map(i => [i.complete, i.naturalWidth, i.naturalHeight])"
    )
    assert sizes == [[True, 84, 56], [True, 20, 30]]
    root = "document.documentElement"
    assert opened.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 900])
def test_the_page_never_scrolls_sideways_but_a_wide_table_does(
    browser: Any, width: int, tmp_path: Path
) -> None:
    head = tuple(f"column {number}" for number in range(9))
    wide = pages.Table("Wide", head, (pages.Row("A figure", ("0.1234 ± 0.0012",) * 9, "why"),))
    large = pages.Picture(np.zeros((40, 640), np.uint8), "a caption of a wide picture")
    page = replace(
        PAGE,
        tables=(*PAGE.tables, wide),
        galleries=(*PAGE.galleries, pages.Gallery("Wide", "", (large,))),
        facts=(("Command", "python experiments/family.py --dataset " + "x" * 300),),
    )
    path = tmp_path / "page.html"
    path.write_text(pages.render(page), encoding="utf-8")
    browser.get(path.as_uri())
    # A headless window is not narrower than 500 pixels, but its emulated screen is.
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        root = "document.documentElement"
        assert browser.execute_script("return window.innerWidth") == width
        assert browser.execute_script(f"return {root}.scrollWidth <= {root}.clientWidth")
        boxes, wider = "[...document.querySelectorAll('.scroll')]", "e.scrollWidth > e.clientWidth"
        scrolls = browser.execute_script(f"return {boxes}.map(e => {wider})")
        assert scrolls[-1]
        assert not scrolls[0] or width < 900
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.slow
def test_print_is_dark_on_white_without_what_only_a_screen_needs(opened: Any) -> None:
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
    try:
        style = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        assert opened.execute_script(style, "body", "backgroundColor") == "rgb(255, 255, 255)"
        assert opened.execute_script(style, "body", "color") == "rgb(0, 0, 0)"
        assert opened.execute_script(style, "nav", "display") == "none"
        assert opened.execute_script(style, "#config", "display") == "none"
        for whole in ("figure", ".highlights", "tr"):
            assert opened.execute_script(style, whole, "breakInside") == "avoid"
    finally:
        opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})


def points(driver: Any) -> list[Any]:
    return driver.find_elements("css selector", ".plot circle:not(.ring)")


def hover(driver: Any, index: int) -> None:
    from selenium.webdriver import ActionChains

    point = points(driver)[index]
    driver.execute_script("document.querySelector('.plot').scrollIntoView()")
    ActionChains(driver, duration=0).move_to_element(point).perform()


def check_tooltip(driver: Any, index: int) -> None:
    """The tooltip shows the class and number of a point, and its own thumbnail, pixel by pixel."""
    tip = driver.find_element("css selector", ".tip")
    assert tip.is_displayed()
    assert tip.text.split("\n") == [NAMES[index % 3], f"image {index}"]
    picture = tip.find_element("css selector", ".sprite").screenshot_as_png
    with Image.open(io.BytesIO(picture)) as image:
        shown = np.asarray(image.convert("RGB"))
    scale = 128 // 6
    assert shown.shape == (6 * scale, 4 * scale, 3)
    centers = shown[scale // 2 :: scale, scale // 2 :: scale]
    np.testing.assert_array_equal(centers, THUMBNAILS[index])


@pytest.mark.parametrize("index", [0, 9, 49, 50, 69])
def test_hovering_a_point_shows_its_thumbnail_class_and_number(opened: Any, index: int) -> None:
    hover(opened, index)
    check_tooltip(opened, index)
    tip, plot = (opened.find_element("css selector", s).rect for s in (".tip", ".plot svg"))
    assert plot["x"] <= tip["x"]
    assert tip["x"] + tip["width"] <= plot["x"] + plot["width"]


def test_the_tooltip_disappears_with_the_pointer(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    hover(opened, 5)
    ActionChains(opened, duration=0).move_to_element(
        opened.find_element("css selector", "#codes h2")
    ).perform()
    assert not opened.find_element("css selector", ".tip").is_displayed()


def test_arrow_keys_move_from_point_to_point(opened: Any) -> None:
    from selenium.webdriver import ActionChains, Keys

    def press(*keys: str) -> None:
        ActionChains(opened, duration=0).send_keys(*keys).perform()

    opened.find_element("css selector", "nav a[href='#codes']").click()
    press(Keys.TAB)
    opened.execute_script("document.querySelector('.plot svg').scrollIntoView()")
    tip = opened.find_element("css selector", ".tip")
    first = int(re.findall(r"image (\d+)", tip.text)[0])
    press(Keys.ARROW_RIGHT)  # ten points lie on each column, one above the other
    check_tooltip(opened, first + 10)
    press(Keys.ARROW_UP)
    check_tooltip(opened, first + 11)
    press(Keys.ARROW_LEFT, Keys.ARROW_DOWN)
    check_tooltip(opened, first)
    press(Keys.ESCAPE)
    assert not tip.is_displayed()


@pytest.mark.slow
def test_a_class_can_be_shown_alone(opened: Any) -> None:
    buttons = opened.find_elements("css selector", ".plot button")
    assert [button.text for button in buttons] == list(NAMES)
    opened.execute_script("arguments[0].click()", buttons[1])
    faint = ["faint" in (point.get_attribute("class") or "") for point in points(opened)]
    assert faint == [index % 3 != 1 for index in range(70)]
    hover(opened, 20)  # of another class: no point of the chosen one may be near enough
    tip = opened.find_element("css selector", ".tip")
    assert not tip.is_displayed() or "<one>" in tip.text
    opened.execute_script("arguments[0].click()", buttons[1])
    assert not opened.find_elements("css selector", ".faint")


def test_markdown_table() -> None:
    assert pages.markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
