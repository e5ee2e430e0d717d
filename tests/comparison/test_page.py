"""The page of a comparison: what it holds, and how it answers in a browser."""

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxae import comparison, data, plots, runs
from jaxae.comparison.formats import cells_of
from jaxae.comparison.page import render_page
from support import small_run
from support.browser import assert_scrolls_in_one_direction
from support.small_run import go
from support.written_runs import write_run


def records_of(*epochs: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns records of epochs from 1 on."""
    return [
        {"epoch": number, "seconds": 1.0, "train_loss": 9.0 / number, **given}
        for number, given in enumerate(epochs, 1)
    ]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs with curves: two seeds, replicas, a diverged one, and one that is not finished."""
    place = tmp_path_factory.mktemp("written")
    for seed, losses in enumerate(((3.0, 2.0, 1.0), (5.0, 4.0))):
        records = records_of(*({"test_loss": loss} for loss in losses))
        folder = place / f"<b>{seed}"
        write_run(folder, losses=(losses[-1],), seed=seed, latent=2, records=records)
    replicas = records_of(*({"test_loss": x, "test_loss_replicas": [x - 1, x + 1]} for x in (7, 5)))
    write_run(place / "replicas", losses=(4.0, 6.0), latent=8, records=replicas)
    write_run(
        place / "far",
        losses=(1e9,),
        latent=32,
        records=records_of({"test_loss": 8.0}, {"test_loss": 1e9}),
        summary={"warning": "it diverged"},
    )
    write_run(place / "begun", finished=False, latent=64, records=records_of({"test_loss": 6.0}))
    (place / "replicas/report.html").touch()
    (place / "<b>1/explore.html").touch()
    return place


@pytest.fixture(scope="module")
def compared(written: Path) -> comparison.Comparison:
    return comparison.compare(comparison.find_runs([written]), significance="test_loss")


@pytest.fixture(scope="module")
def html(written: Path, compared: comparison.Comparison) -> str:
    curves = comparison.read_curves(compared)
    drawing = plots.Drawing("<svg xmlns='http://www.w3.org/2000/svg'/>", b"")
    return render_page(
        compared, written / "pages/page.html", curves, [], ["<i>left out</i>"], ("Plot", drawing)
    )


class Cells(HTMLParser):
    """Collects the text of each cell of each row of the table, and whether it is bold."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.bold: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        if tag == "a":
            self.links.append(dict(attrs)["href"] or "")

    def handle_endtag(self, tag: str) -> None:
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if "td" in self.open:
            self.rows[-1][-1] += data
            if "b" in self.open:
                self.bold.append(data)


def test_the_tables_cells_are_those_of_the_text(html: str, compared: comparison.Comparison) -> None:
    head, rows = cells_of(compared)
    shown = Cells(html)
    assert shown.rows[1:] == [[cell.text for cell in row[1:]] for row in rows]
    assert shown.bold == [cell.text for row in rows for cell in row if cell.best]
    assert shown.bold
    text = comparison.render(compared, "text").splitlines()
    for line, cells in zip(text[1:], shown.rows[1:], strict=True):
        assert line.replace("*", "").split()[-len(" ".join(cells).split()) :] == (
            " ".join(cells).split()
        )
    assert head[-1] == "p of test_loss"
    assert "paired t-test of the test loss" in html


def test_it_links_to_the_pages_of_runs_that_exist(html: str) -> None:
    links = [link for link in Cells(html).links if not link.startswith("#")]
    assert links == ["../%3Cb%3E1/explore.html", "../replicas/report.html"]


def test_text_is_escaped_and_nothing_is_loaded(html: str) -> None:
    assert "<b>0" not in html
    assert "<i>left" not in html
    assert "&lt;i&gt;left out" in html
    assert not re.search(r"https?://", html.replace("http://www.w3.org/2000/svg", ""))
    assert "unfinished, 1 of 3 epochs" in html


def content_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', html)
    assert found is not None
    return json.loads(found[1])


def test_curves_are_means_and_deviations_where_all_seeds_are(html: str) -> None:
    content = content_of(html)
    names = [figure["name"] for figure in content["figures"]]
    assert names == ["test loss", "train loss"]
    labels = [row["label"] for row in content["rows"]]
    curves = dict(zip(labels, content["figures"][0]["curves"], strict=True))
    assert curves == {
        "latent 2": {
            "epochs": [1, 2],
            "means": [4, 3],
            "deviations": pytest.approx([2**0.5] * 2, rel=1e-5),
        },
        "latent 8": {
            "epochs": [1, 2],
            "means": [7, 5],
            "deviations": pytest.approx([2**0.5] * 2, rel=1e-5),
        },
        "latent 32": {"epochs": [1, 2], "means": [8, 1e9], "deviations": None},
        "latent 64": {"epochs": [1], "means": [6], "deviations": None},
    }
    assert [row["label"] for row in content["rows"] if row["diverged"]] == ["latent 32"]


def test_thirty_rows_have_lines_that_differ(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"{n:02}", latent=n) for n in range(30)]
    found = comparison.compare(folders)
    html = render_page(found, tmp_path / "page.html", comparison.read_curves(found), [])
    lines = {(row["color"], row["dash"]) for row in content_of(html)["rows"]}
    assert len(lines) == 30


def test_a_run_without_records_is_a_page_without_curves(tmp_path: Path) -> None:
    found = comparison.compare([write_run(tmp_path / "a", records=[])])
    html = render_page(found, tmp_path / "page.html", comparison.read_curves(found), [])
    assert "<script" not in html
    assert "Comparison of 1 run" in html


# Reconstructions, of runs that are trained here.

SMALL = {"epochs": 1, "replicas": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Two runs on the same images, one on others, and one whose images have changed since."""
    place = tmp_path_factory.mktemp("trained")
    with small_run.small_images(), pytest.MonkeyPatch.context() as patch:
        same = data.load

        def load(name: str, **places: Any) -> data.Dataset:
            loaded = same(name, **places)
            if name == "mnist":
                return loaded
            train, test = (
                data.Split(255 - np.asarray(split.images), split.labels)
                for split in (loaded.train, loaded.test)
            )
            return data.assemble(name, train, test, loaded.class_names)

        patch.setattr(data, "load", load)
        for name, options in {
            "first": {},
            "second": {"learning_rate": 1e-3},
            "other": {"dataset": "fashion_mnist"},
            "changed": {"learning_rate": 1e-4},
        }.items():
            go(out=place / name, **SMALL, **options)
        config = json.loads((place / "changed/config.json").read_text())
        config["dataset"]["fingerprint"] = "another"
        (place / "changed/config.json").write_text(json.dumps(config))
        yield place


@pytest.mark.slow
def test_rows_reconstruct_the_same_images_of_their_dataset(trained: Path) -> None:
    found = comparison.compare([trained / name for name in ("first", "second", "other")])
    groups, notes = comparison.draw_reconstructions(found)
    assert notes == []
    assert [group.title for group in groups] == ["mnist, 28x28", "fashion_mnist, 28x28"]
    assert [list(group.by_row) for group in groups] == [[0, 1], [2]]
    images = data.load("mnist").test.images[:12]
    for group, shown in zip(groups, (images, 255 - images), strict=True):
        np.testing.assert_array_equal(group.originals.pixels, plots.tile(shown, 12))
        for row, picture in group.by_row.items():
            network = runs.load(found.rows[row].runs[0].folder, replica=0)
            expected = plots.tile(network.reconstruct(shown), 12)
            np.testing.assert_array_equal(picture.pixels, expected)


@pytest.mark.slow
def test_what_cannot_be_loaded_is_left_out_with_a_note(trained: Path, tmp_path: Path) -> None:
    untrained = write_run(tmp_path / "untrained", fingerprint="another")
    folders = [trained / "first", trained / "changed", untrained]
    groups, notes = comparison.draw_reconstructions(comparison.compare(folders))
    assert [list(group.by_row) for group in groups] == [[0]]
    assert len(notes) == 1
    assert re.match("mnist is left out: .*changed", notes[0])


# In a browser.


@pytest.fixture
def opened(browser: Any, html: str, tmp_path: Path) -> Iterator[Any]:
    """The page in the browser, whose log must be empty before and after the test."""
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8")
    browser.get(path.as_uri())
    yield browser
    assert browser.get_log("browser") == []
    entries = browser.execute_script("return performance.getEntriesByType('resource').length")
    assert entries == 0


def lines(browser: Any, kind: str = "curve") -> list[int]:
    """Returns the rows whose lines are on the chart."""
    return browser.execute_script(
        "return [...document.querySelectorAll(`.chart .${arguments[0]}`)]"
        ".map(path => Number(path.dataset.row))",
        kind,
    )


def row_of(html: str, label: str) -> int:
    return [row["label"] for row in content_of(html)["rows"]].index(label)


@pytest.mark.slow
def test_the_legend_hides_and_shows_lines_by_click_and_by_key(opened: Any, html: str) -> None:
    from selenium.webdriver import ActionChains, Keys

    assert sorted(lines(opened)) == [0, 1, 2, 3]
    assert sorted(lines(opened, "band")) == sorted(row_of(html, f"latent {n}") for n in (2, 8))
    key = opened.find_element("css selector", ".key [data-row='1']")
    key.click()
    assert sorted(lines(opened)) == [0, 2, 3]
    assert key.get_attribute("aria-pressed") == "false"
    for press in (Keys.ENTER, Keys.SPACE):
        before = len(lines(opened))
        key.send_keys(press)
        assert abs(len(lines(opened)) - before) == 1
    key.send_keys(Keys.TAB + Keys.SPACE)  # the next one
    assert sorted(lines(opened)) == [0, 3]
    opened.find_element("css selector", "#none").click()
    assert lines(opened) == []
    assert "Nothing to show" in opened.find_element("css selector", ".chart").text
    opened.find_element("css selector", "#all").click()
    assert sorted(lines(opened)) == [0, 1, 2, 3]
    ActionChains(opened, duration=0).double_click(key).perform()
    assert lines(opened) == [1]


@pytest.mark.slow
def test_another_figure_and_scale_are_chosen(opened: Any) -> None:
    chart = opened.find_element("css selector", ".chart")
    assert chart.text.split("\n")[-1] == "test loss"
    assert "1e+9" not in chart.text  # the diverged run leaves the chart
    opened.find_element("css selector", "[data-figure='1']").click()
    assert chart.text.split("\n")[-1] == "train loss"
    before = opened.execute_script("return document.querySelector('.curve').getAttribute('d')")
    opened.find_element("css selector", "#logarithmic").click()
    after = opened.execute_script("return document.querySelector('.curve').getAttribute('d')")
    assert before != after
    assert "NaN" not in after


@pytest.mark.slow
def test_a_diverged_run_alone_is_seen_whole(opened: Any, html: str) -> None:
    opened.find_element("css selector", "#none").click()
    far = row_of(html, "latent 32")
    opened.find_element("css selector", f".key [data-row='{far}']").click()
    assert lines(opened) == [far]
    assert "1e+9" in opened.find_element("css selector", ".chart").text


@pytest.mark.slow
def test_pointing_at_a_line_tells_its_numbers(opened: Any) -> None:
    from selenium.webdriver import ActionChains

    x, y = opened.execute_script(
        "const {x, y} = drawn.find(each => rows[each.row].label === 'latent 8');"
        "const chart = document.querySelector('.chart svg');"
        "chart.scrollIntoView({block: 'center'});"
        "return [x - chart.clientWidth / 2, y - chart.clientHeight / 2]"
    )
    chart = opened.find_element("css selector", ".chart svg")
    ActionChains(opened, duration=0).move_to_element_with_offset(
        chart, round(x), round(y)
    ).perform()
    tip = opened.find_element("css selector", ".tip")
    assert tip.is_displayed()
    assert tip.text.split("\n") == ["latent 8", "epoch 1: 7 ± 1.4"]


@pytest.mark.slow
@pytest.mark.parametrize("width", [360, 1200])
def test_it_scrolls_in_one_direction(opened: Any, width: int) -> None:
    assert_scrolls_in_one_direction(opened, width)


@pytest.mark.slow
def test_a_narrow_window_shows_figures_and_that_the_table_scrolls(opened: Any) -> None:
    opened.set_window_size(360, 800)
    try:
        assert opened.find_element("css selector", ".sideways").is_displayed()
        width, named = opened.execute_script(
            "return ['.scroll', 'tbody th'].map(name => document.querySelector(name).clientWidth)"
        )
        assert named < width / 3
    finally:
        opened.set_window_size(900, 900)
    assert not opened.find_element("css selector", ".sideways").is_displayed()


@pytest.mark.slow
def test_a_single_epoch_is_a_point_with_a_bar(browser: Any, tmp_path: Path) -> None:
    for name, losses in (("a", (3.0, 5.0)), ("b", (7.0,))):
        records = records_of({"test_loss": losses[0], "test_loss_replicas": list(losses)})
        if name == "b":
            del records[0]["test_loss_replicas"]
        write_run(tmp_path / name, losses=losses, latent=ord(name), records=records)
    found = comparison.compare([tmp_path / "a", tmp_path / "b"])
    curves = comparison.read_curves(found)
    (tmp_path / "page.html").write_text(
        render_page(found, tmp_path / "page.html", curves, []), encoding="utf-8"
    )
    browser.get((tmp_path / "page.html").as_uri())
    assert lines(browser, "point") == [0, 1]
    assert lines(browser, "bar") == [0]
    assert all(
        point.size["width"] > 4 for point in browser.find_elements("css selector", ".chart .point")
    )
    assert browser.find_element("css selector", ".chart .bar").size["height"] > 20
