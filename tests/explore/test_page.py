"""The explorer's page: what it holds, what it computes in a browser, and how it answers."""

import base64
import json
import re
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import explore, family, likelihoods
from jaxae.data import Scaling
from jaxae.explore import page
from jaxae.explore.exploration import Exploration
from jaxae.network import Trained
from jaxae.programs import program_of
from support.browser import assert_scrolls_in_one_direction
from support.explored import exploration_of, images_of, untrained

SHAPE = (8, 6, 1)
HALF_A_LEVEL = 0.5 / 255
SCRIPTS = Path(explore.__file__).parent

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained() -> Trained:
    return untrained("vae", SHAPE)


@pytest.fixture(scope="module")
def exploration(trained: Trained) -> Exploration:
    return exploration_of(trained, SHAPE)


@pytest.fixture(scope="module")
def html(exploration: Exploration) -> str:
    return page.render(exploration)


def content_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def halves(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), "<f2")


# What the page holds.


def test_it_refers_to_nothing_outside_the_page(html: str) -> None:
    assert "http://" not in html
    assert "https://" not in html
    assert "@import" not in html
    assert "&lt;b&gt;run" in html
    assert "<one>" not in html


def test_it_holds_the_codes_in_half_precision(html: str, exploration: Exploration) -> None:
    content = content_of(html)
    assert content["classNames"] == list(exploration.class_names)
    found = halves(content["codes"]).reshape(exploration.codes.shape)
    np.testing.assert_allclose(found, exploration.codes, atol=1e-3, rtol=1e-3)


def test_weights_beyond_half_precision_become_its_largest_number() -> None:
    assert halves(page._half(np.array([1e6, -1e6, 1.5]))).tolist() == [65504, -65504, 1.5]


def test_the_encoder_is_left_out_of_a_large_page(
    html: str, exploration: Exploration, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert content_of(html)["methods"].keys() == {"decode", "encode"}
    monkeypatch.setattr(page, "_LARGEST", len(html) - 1)
    small = page.render(exploration)
    assert content_of(small)["methods"].keys() == {"decode"}
    assert len(small) < len(html)
    assert "The encoder is not on this page" in small


# What it computes.

RUN = """
const [methods, weights, calls] = arguments[0];
const numbers = fromHalves(fromBase64(weights));
return calls.map(([name, value, label]) => {
  const { operations, shape } = methods[name];
  const result = compute(withArrays(operations, numbers), new Float32Array(value), shape, label);
  return Array.from(result);
});
"""


def computed(
    browser: Any, trained: Trained, shape: tuple[int, ...], calls: list[tuple[str, np.ndarray, int]]
) -> list[np.ndarray]:
    """Returns what the page's runtime computes in the browser, with the weights it would hold."""
    program = program_of(trained, shape)
    methods = {
        "encode": (program.encode, program.shape),
        "decode": (program.decode, program.code_shape),
    }
    runtime = (SCRIPTS / "runtime.js").read_text(encoding="utf-8")
    given = [[name, value.reshape(-1).tolist(), label] for name, value, label in calls]
    answers = browser.execute_script(runtime + RUN, [*page._pack(methods), given])
    return [np.array(answer, np.float32) for answer in answers]


def assert_equal(browser: Any, trained: Trained, shape: tuple[int, ...]) -> None:
    """Decoded images are within half a gray level, and codes close to, those of `Trained`."""
    images = images_of(shape).test
    label = 2
    labels = None if trained.classes is None else np.full(1, label)
    image = images.images[:1].astype(np.float32) / 255
    code = trained.encode(image, labels)
    decoded = trained.decode(code, labels)
    calls = [("encode", image, label), ("decode", code, label)]
    ours = computed(browser, trained, shape, calls)
    assert np.isfinite(decoded).all()
    np.testing.assert_allclose(ours[1].reshape(decoded.shape), decoded, atol=HALF_A_LEVEL)
    if trained.network.quantizer is None:  # else a rounding may fall to the other side
        np.testing.assert_allclose(ours[0].reshape(code.shape), code, atol=2e-2, rtol=1e-2)


@pytest.mark.parametrize("kind", ["dense", "conv", "resnet"])
@pytest.mark.parametrize("member", family.FAMILY)
def test_every_member_is_decoded_as_in_python(member: str, kind: Any, browser: Any) -> None:
    shape, hidden = {
        "dense": ((7, 5, 3), (12,)),
        "conv": ((7, 5, 3), (6, 8)),
        "resnet": ((6, 9, 1), (4, 8)),
    }[kind]
    assert_equal(browser, untrained(member, shape, kind=kind, hidden=hidden), shape)


@pytest.mark.parametrize("name", likelihoods.BY_NAME)
def test_every_likelihood_is_decoded_as_in_python(name: str, browser: Any) -> None:
    shape = (5, 4, 1)
    assert_equal(browser, untrained("vae", shape, likelihood=name, hidden=(9,)), shape)


def test_the_datas_scaling_is_undone(browser: Any) -> None:
    trained = untrained("vae", (6,), likelihood="gaussian_identity", hidden=(5,))
    scaling = Scaling(tuple(range(6)), (2.0,) * 6)
    trained = replace(trained, scaling=scaling)
    vector = np.random.default_rng(3).normal(size=(1, 6)).astype(np.float32)
    code = trained.encode(vector)
    calls = [("encode", vector, 0), ("decode", code, 0)]
    encoded, decoded = computed(browser, trained, (6,), calls)
    np.testing.assert_allclose(encoded, code[0], atol=1e-2)
    np.testing.assert_allclose(decoded, trained.decode(code)[0], atol=1e-2)


def test_halves_are_read_exactly(browser: Any) -> None:
    values = np.array([0, 1, -1, 0.1, 6e-8, -6e-5, 65504, 1.9990234], np.float16)
    runtime = (SCRIPTS / "runtime.js").read_text(encoding="utf-8")
    text = base64.b64encode(values.astype("<f2").tobytes()).decode()
    script = f"{runtime}; return Array.from(fromHalves(fromBase64(arguments[0])))"
    assert browser.execute_script(script, text) == values.astype(float).tolist()


# How it answers.


def open_page(browser: Any, path: Path, html: str) -> None:
    """Opens a page and waits until it is ready."""
    from selenium.webdriver.support.ui import WebDriverWait

    path.write_text(html, encoding="utf-8")
    browser.get(path.as_uri())
    ready = "return document.documentElement.dataset.ready === 'yes' && !!explorer.state.decoded"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready))


@pytest.fixture
def opened(browser: Any, html: str, tmp_path: Path) -> Any:
    """The page in the browser, whose log must be empty before and after the test."""
    open_page(browser, tmp_path / "page.html", html)
    yield browser
    assert browser.get_log("browser") == []


def wait(browser: Any, condition: str) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(f"return {condition}"))


def state(browser: Any) -> dict[str, Any]:
    found = browser.execute_script(
        "const {code, label, chosen, decoded} = explorer.state;"
        "return {code: Array.from(code), label, chosen, decoded: Array.from(decoded)}"
    )
    found["code"] = np.array(found["code"], np.float32)
    return found


def settled(browser: Any, trained: Trained, *code_shape: int) -> dict[str, Any]:
    """Waits until the page shows the decoding of its code, and returns the code's state.

    Codes are vectors, unless a shape is given.
    """
    wait(browser, "explorer.isDecoded()")
    found = state(browser)
    decoded = trained.decode(found["code"].reshape(1, *(code_shape or (-1,))))
    np.testing.assert_allclose(
        np.array(found["decoded"]).reshape(decoded.shape), decoded, atol=HALF_A_LEVEL
    )
    return found


def await_code(browser: Any, expected: np.ndarray) -> None:
    """Waits until the page's code is an expected one, up to the precision of its weights."""
    for _ in range(600):
        if np.allclose(state(browser)["code"], expected, atol=2e-2, rtol=1e-2):
            return
        time.sleep(0.1)
    np.testing.assert_allclose(state(browser)["code"], expected, atol=2e-2, rtol=1e-2)


def drag(browser: Any, selector: str, places: list[tuple[float, float]], keys: str = "") -> None:
    """Drags over an element, from place to place in parts of its size."""
    from selenium.webdriver import ActionChains

    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    size = element.size
    actions = ActionChains(browser, duration=0)
    for number, (x, y) in enumerate(places):
        right, down = round((x - 0.5) * size["width"]), round((y - 0.5) * size["height"])
        actions.move_to_element_with_offset(element, right, down)
        if number == 0:
            actions.click_and_hold()
    actions.release().perform()


def test_it_begins_with_the_first_test_image(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    found = settled(opened, trained)
    np.testing.assert_allclose(found["code"], exploration.codes[0], atol=1e-3)
    assert found["chosen"] == 0
    assert "zero, test image 0" in opened.find_element("css selector", "#view").text


def test_the_canvas_shows_the_decoded_pixels(opened: Any, trained: Trained) -> None:
    found = settled(opened, trained)
    pixels = opened.execute_script(
        "const c = document.querySelector('#decoded');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    shown = np.array(pixels).reshape(*SHAPE[:2], 4)
    expected = trained.decode(found["code"][None])[0]
    assert np.abs(shown[..., :1] - 255 * expected).max() <= 1  # half a level, and rounding
    assert (shown[..., 3] == 255).all()


def test_dragging_on_the_map_decodes_the_place(opened: Any, trained: Trained) -> None:
    before = settled(opened, trained)
    drag(opened, "#plane", [(0.5, 0.5), (0.6, 0.4), (0.7, 0.3)])
    found = settled(opened, trained)
    assert found["chosen"] is None
    assert np.abs(found["code"] - before["code"]).max() > 0
    # The place under the pointer is the code's; what is across the plane stays.
    place = opened.execute_script(
        "const p = explorer.plane; return p.toScreen(p.marks.at(-1).place)"
    )
    width, height = opened.execute_script(
        "const {clientWidth: w, clientHeight: h} = document.querySelector('#plane'); return [w, h]"
    )
    np.testing.assert_allclose(place, [0.7 * width, 0.3 * height], atol=3)
    content = opened.execute_script("return explorer.content.maps[0].components")
    rows = np.frombuffer(base64.b64decode(content), "<f4").reshape(2, -1)
    across = np.eye(8) - rows.T @ rows
    np.testing.assert_allclose(across @ found["code"], across @ before["code"], atol=1e-4)


def test_clicking_a_point_chooses_its_image(opened: Any, trained: Trained) -> None:
    from selenium.webdriver import ActionChains

    x, y, width, height = opened.execute_script(
        "const p = explorer.plane, {clientWidth: w, clientHeight: h} = p.canvas;"
        "return [...p.toScreen([p.map.points[14], p.map.points[15]]), w, h]"
    )
    element = opened.find_element("css selector", "#plane")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
    right, down = round(x - width / 2), round(y - height / 2)
    ActionChains(opened, duration=0).move_to_element_with_offset(element, right, down).perform()
    wait(opened, "!document.querySelector('#tip').hidden")
    assert "test image 7" in opened.find_element("css selector", "#tip").text
    ActionChains(opened, duration=0).click().perform()
    wait(opened, "explorer.state.chosen === 7")
    settled(opened, trained)


def test_keys_move_the_code_zoom_and_choose(opened: Any, trained: Trained) -> None:
    from selenium.webdriver import Keys

    plane = opened.find_element("css selector", "#plane")
    scale = opened.execute_script("return explorer.plane.scale")
    plane.send_keys("+")
    assert opened.execute_script("return explorer.plane.scale") == pytest.approx(1.3 * scale)
    plane.send_keys(Keys.ARROW_RIGHT)
    wait(opened, "explorer.state.chosen === null")
    settled(opened, trained)
    plane.send_keys(Keys.ENTER)
    wait(opened, "explorer.state.chosen !== null")


def set_slider(browser: Any, selector: str, value: float) -> None:
    browser.execute_script(
        "const s = document.querySelector(arguments[0]); s.value = arguments[1];"
        "s.dispatchEvent(new Event('input'))",
        selector,
        value,
    )


def test_a_slider_changes_its_dimension_and_reset_undoes_it(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    before = settled(opened, trained)["code"]
    dimension = exploration.dimensions.shown[1]
    set_slider(opened, "[data-dimension='1']", dimension.mean + dimension.deviation)
    found = settled(opened, trained)
    expected = before.copy()
    expected[dimension.index] = dimension.mean + dimension.deviation
    np.testing.assert_allclose(found["code"], expected, atol=1e-5)
    opened.find_element("css selector", "#reset").click()
    np.testing.assert_array_equal(settled(opened, trained)["code"], before)


def test_new_codes_are_those_of_the_prior(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    button = opened.find_element("css selector", "[data-prior='1']")
    for number in range(2):
        opened.execute_script("arguments[0].click()", button)
        found = settled(opened, trained)
        expected = exploration.new_codes[1].codes[number]
        np.testing.assert_allclose(found["code"], expected, atol=2e-3, rtol=1e-3)


def show_panel(browser: Any, name: str) -> None:
    tab = browser.find_element("css selector", f"[aria-controls={name}]")
    browser.execute_script("arguments[0].click()", tab)


def test_a_path_joins_two_images_and_plays(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    from jaxae import latents

    show_panel(opened, "path")
    wait(opened, "document.querySelectorAll('[data-path=spherical] canvas').length === 7")
    ends = exploration.codes[[0, 1]].astype(np.float16).astype(np.float32)
    paths: dict[str, Any] = {
        "linear": latents.interpolate_linearly,
        "spherical": latents.interpolate_spherically,
    }
    for kind, interpolate in paths.items():
        opened.execute_script("document.querySelector('#along').value = arguments[0]", kind)
        set_slider(opened, "#place", 0.25)
        expected = interpolate(*ends, 5)[1]
        wait(opened, "explorer.state.chosen === null")
        np.testing.assert_allclose(settled(opened, trained)["code"], expected, atol=1e-5)
        frame = opened.find_elements("css selector", f"[data-path={kind}] button")[3]
        opened.execute_script("arguments[0].click()", frame)
        expected = interpolate(*ends, 7)[3]
        np.testing.assert_allclose(settled(opened, trained)["code"], expected, atol=1e-5)
    play = opened.find_element("css selector", "#play")
    opened.execute_script("arguments[0].click()", play)
    wait(opened, "document.querySelector('#place').valueAsNumber > 0.3")
    opened.execute_script("arguments[0].click()", play)
    assert play.text == "Play"


def test_arithmetic_adds_the_difference_of_class_means(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    show_panel(opened, "arithmetic")
    opened.execute_script(
        "const to = document.querySelector('#to'); to.value = 2;"
        "to.dispatchEvent(new Event('change'))"
    )
    wait(opened, "document.querySelectorAll('[data-path=arithmetic] canvas').length === 7")
    frame = opened.find_elements("css selector", "[data-path=arithmetic] button")[4]
    means = exploration.class_means
    assert means is not None
    expected = exploration.codes[0] + means[2] - means[0]
    for _ in range(100):  # the strip is drawn anew while codes are decoded
        frame = opened.find_elements("css selector", "[data-path=arithmetic] button")[4]
        opened.execute_script("arguments[0].click()", frame)
        if np.allclose(state(opened)["code"], expected, atol=2e-3):
            break
    np.testing.assert_allclose(settled(opened, trained)["code"], expected, atol=2e-3)


def test_a_drawing_is_encoded_and_finds_its_neighbors(
    opened: Any, trained: Trained, exploration: Exploration
) -> None:
    show_panel(opened, "own")
    drag(opened, "#drawing", [(0.3, 0.3), (0.7, 0.3), (0.5, 0.8)])
    wait(opened, "document.querySelectorAll('[data-path=neighbors] canvas').length === 5")
    pixels = opened.execute_script(
        "const c = document.querySelector('#drawing');"
        "return Array.from(c.getContext('2d').getImageData(0, 0, c.width, c.height).data)"
    )
    image = np.array(pixels, np.uint8).reshape(1, *SHAPE[:2], 4)[..., :1]
    assert image.max() > 100
    await_code(opened, trained.encode(image)[0])
    found = settled(opened, trained)
    distances = np.linalg.norm(exploration.codes - found["code"], axis=1)
    nearest = "document.querySelector('[data-path=neighbors] button').getAttribute('aria-label')"
    wait(opened, f"{nearest}.endsWith('test image {distances.argmin()}')")


def test_a_picture_of_ones_own_is_opened(opened: Any, trained: Trained, tmp_path: Path) -> None:
    from PIL import Image

    show_panel(opened, "own")
    picture = images_of(SHAPE).test.images[5, ..., 0]
    Image.fromarray(picture).save(tmp_path / "own.png")
    opened.find_element("css selector", "#file").send_keys(str(tmp_path / "own.png"))
    await_code(opened, trained.encode(picture[None, ..., None])[0])
    settled(opened, trained)


def test_a_class_can_be_shown_alone_and_the_map_moved(opened: Any) -> None:
    button = opened.find_element("css selector", ".key [data-label='1']")
    opened.execute_script("arguments[0].click()", button)
    shown = opened.execute_script("return [0, 1, 2, 3, 4].map(n => explorer.plane.isShown(n))")
    assert shown == [False, True, False, False, True]
    opened.execute_script("document.querySelector('[data-drag=pan]').click()")
    center = opened.execute_script("return explorer.plane.center")
    drag(opened, "#plane", [(0.5, 0.5), (0.6, 0.5)])
    moved = opened.execute_script("return explorer.plane.center")
    assert moved[0] < center[0]
    assert moved[1] == pytest.approx(center[1])
    opened.execute_script("document.querySelector('#whole').click()")
    assert opened.execute_script("return explorer.plane.center") == pytest.approx(center)


def touch(browser: Any, kind: str, *fingers: tuple[float, float]) -> None:
    """Puts fingers on places of the window, moves them there, or lifts the others."""
    points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
    arguments = {"type": f"touch{kind}", "touchPoints": points}
    browser.execute_cdp_cmd("Input.dispatchTouchEvent", arguments)


def test_two_fingers_zoom_and_one_decodes(opened: Any, trained: Trained) -> None:
    before = settled(opened, trained)
    left, top, width, height = opened.execute_script(
        "const p = document.querySelector('#plane'); p.scrollIntoView({block: 'center'});"
        "const r = p.getBoundingClientRect(); return [r.left, r.top, r.width, r.height]"
    )
    middle = (left + width / 2, top + height / 2)
    scale, center = opened.execute_script("const p = explorer.plane; return [p.scale, p.center]")

    def apart(distance: float) -> list[tuple[float, float]]:
        return [(middle[0] - distance, middle[1]), (middle[0] + distance, middle[1])]

    touch(opened, "Start", apart(20)[0])
    touch(opened, "Start", *apart(20))
    for distance in (30, 40, 50, 60):
        touch(opened, "Move", *apart(distance))
    touch(opened, "End")
    zoomed, moved = opened.execute_script("const p = explorer.plane; return [p.scale, p.center]")
    assert zoomed == pytest.approx(3 * scale, rel=0.05)
    np.testing.assert_allclose(moved, center, atol=6 / scale)
    np.testing.assert_array_equal(state(opened)["code"], before["code"])

    touch(opened, "Start", middle)
    touch(opened, "Move", (middle[0] + 30, middle[1] - 20))
    touch(opened, "End")
    found = settled(opened, trained)
    assert found["chosen"] is None
    assert np.abs(found["code"] - before["code"]).max() > 0


@pytest.mark.parametrize("width", [360, 1200])
def test_it_scrolls_in_one_direction(opened: Any, width: int) -> None:
    assert_scrolls_in_one_direction(opened, width)


def read_entries(trained: Trained, code: np.ndarray) -> np.ndarray:
    """Returns the entries of a quantized code."""

    def indices(model: Any, z: Any) -> Any:
        return model.bottleneck.indices(z)

    given = jnp.asarray(code)
    return np.asarray(trained.network.model.apply(trained.variables, given, method=indices))


def code_of(trained: Trained, entries: np.ndarray) -> np.ndarray:
    """Returns the code of entries."""

    def decode(model: Any, indices: Any) -> Any:
        return model.bottleneck.code_of(indices)

    given = jnp.asarray(entries)
    return np.asarray(trained.network.model.apply(trained.variables, given, method=decode))


@pytest.mark.parametrize("member", ["vq", "fsq"])
def test_a_cell_of_a_quantized_code_takes_another_entry(
    member: str, browser: Any, tmp_path: Path
) -> None:
    shape = (8, 8, 1)
    trained = untrained(member, shape, kind="conv", hidden=(4, 4))
    exploration = exploration_of(trained, shape)
    open_page(browser, tmp_path / "page.html", page.render(exploration))
    quantizer = trained.network.quantizer
    assert quantizer is not None
    cells = browser.find_elements("css selector", "#cells .grid button")
    assert len(cells) == 2 * 2 * 8 // quantizer.group_size
    browser.execute_script("arguments[0].click()", cells[3])
    browser.execute_script(
        "const e = document.querySelector('#entry'); e.value = 5;"
        "e.dispatchEvent(new Event('change'))"
    )
    assert cells[3].text == "5"
    code = state(browser)["code"].reshape(1, 2, 2, 8)
    assert read_entries(trained, code).reshape(-1)[3] == 5
    settled(browser, trained, 2, 2, 8)
    browser.execute_script("document.querySelector('#next').click()")
    assert cells[3].text == str(6 % quantizer.size)
    drag(browser, "#plane", [(0.5, 0.5), (0.4, 0.4), (0.9, 0.1)])
    code = settled(browser, trained, 2, 2, 8)["code"].reshape(1, 2, 2, 8)
    entries = read_entries(trained, code)
    np.testing.assert_allclose(code_of(trained, entries), code, atol=1e-3)
    assert [int(each.text) for each in cells] == entries.reshape(-1).tolist()
    assert browser.get_log("browser") == []


def test_the_arrow_keys_move_a_quantized_code(browser: Any, tmp_path: Path) -> None:
    """The place moves on, even where the nearest entries are the same for a while."""
    from selenium.webdriver import Keys

    shape = (8, 8, 1)
    trained = untrained("fsq", shape, kind="conv", hidden=(4, 4))
    open_page(browser, tmp_path / "page.html", page.render(exploration_of(trained, shape)))
    before = settled(browser, trained, 2, 2, 8)["code"]
    mark = "explorer.plane.toScreen(explorer.plane.marks.at(-1).place)"
    start = browser.execute_script(f"return {mark}")
    browser.find_element("css selector", "#plane").send_keys(Keys.ARROW_RIGHT * 30)
    stop = browser.execute_script(f"return {mark}")
    np.testing.assert_allclose(np.subtract(stop, start), [240, 0], atol=0.1)
    assert np.abs(settled(browser, trained, 2, 2, 8)["code"] - before).max() > 0


def test_one_image_has_a_map_and_a_picture(browser: Any, tmp_path: Path) -> None:
    exploration = exploration_of(untrained("vae", SHAPE), SHAPE)
    only = replace(
        exploration,
        codes=exploration.codes[:1],
        labels=None,
        class_names=(),
        class_means=None,
        numbers=exploration.numbers[:1],
        pictures=exploration.pictures[:1],
        maps=tuple(replace(each, points=each.points[:1]) for each in exploration.maps),
    )
    open_page(browser, tmp_path / "page.html", page.render(only))
    text = browser.find_element("css selector", "body").text
    assert "1 test image." in text
    extent = only.maps[0].high[0] - only.maps[0].low[0]
    width = browser.execute_script("return explorer.plane.scale") * extent
    assert 100 < width < 2000
    assert browser.get_log("browser") == []


def test_tabs_are_chosen_by_arrow_keys_and_end_picking_and_playing(
    opened: Any, exploration: Exploration
) -> None:
    from selenium.webdriver import Keys

    show_panel(opened, "path")
    opened.execute_script("document.querySelector('[data-end]').click()")
    assert opened.find_element("css selector", "#picking").is_displayed()
    opened.execute_script("document.querySelector('#play').click()")
    wait(opened, "document.querySelector('#place').valueAsNumber > 0.05")
    opened.find_element("css selector", "#tab-path").send_keys(Keys.ARROW_LEFT)
    assert opened.find_element("css selector", "#dimensions").is_displayed()
    assert not opened.find_element("css selector", "#picking").is_displayed()
    assert opened.execute_script("return document.querySelector('#play').textContent") == "Play"
    first = exploration.dimensions.shown[0]
    set_slider(opened, "[data-dimension='0']", first.mean)
    time.sleep(0.3)
    np.testing.assert_allclose(state(opened)["code"][first.index], first.mean, rtol=1e-5)


def test_the_class_of_a_conditional_network_is_chosen(browser: Any, tmp_path: Path) -> None:
    trained = untrained("conditional", SHAPE)
    open_page(browser, tmp_path / "page.html", page.render(exploration_of(trained, SHAPE)))
    browser.execute_script(
        "const c = document.querySelector('#class'); c.value = 2;"
        "c.dispatchEvent(new Event('change'))"
    )
    found = state(browser)
    assert found["label"] == 2
    expected = trained.decode(found["code"][None], np.array([2]))
    shown = browser.execute_async_script(
        "const done = arguments[0];"
        "explorer.ask('decode', explorer.state.code).then(({result}) => done(Array.from(result)))"
    )
    np.testing.assert_allclose(np.array(shown).reshape(expected.shape), expected, atol=HALF_A_LEVEL)
    assert browser.get_log("browser") == []
