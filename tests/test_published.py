"""The published tables: sections of a page, and a table that is made, resumed and made again."""

import json
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest
from commands import command, environment, start

from jaxae import models
from jaxae.sections import put_section, sections_of

LINE = "deep --epochs 3 --replicas 2 --dataset mnist_mini --folder runs --page page/README.md"


def test_a_section_is_put_in_place_and_the_rest_of_the_page_stays(tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.md"
    put_section(page, "first", "one")
    put_section(page, "second", "two\n\nlines")
    page.write_text("# Head\n\n" + page.read_text() + "\ntail\n")
    put_section(page, "first", "1")
    assert page.read_text() == (
        "# Head\n\n<!-- first -->\n1\n<!-- end of first -->\n\n"
        "<!-- second -->\ntwo\n\nlines\n<!-- end of second -->\n\ntail\n"
    )
    assert sections_of(page) == [
        "<!-- first -->\n1\n<!-- end of first -->\n",
        "<!-- second -->\ntwo\n\nlines\n<!-- end of second -->\n",
    ]
    assert sections_of(tmp_path / "none.md") == []
    assert [path.name for path in page.parent.iterdir() if path.suffix != ".lock"] == ["page.md"]


def test_commands_that_put_sections_at_the_same_time_lose_none(tmp_path: Path) -> None:
    names = [f"section-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put_section(tmp_path / "page.md", name, "text"), names))
    assert len(sections_of(tmp_path / "page.md")) == len(names)


def test_a_tanh_network_is_one_of_logistic_units_with_other_weights() -> None:
    tanh = models.DenseEncoder((7, 5), 3, activation=nn.tanh)
    x = jax.random.uniform(jax.random.key(0), (4, 2, 3, 1))
    expected, variables = tanh.init_with_output(jax.random.key(1), x)
    params: dict[str, Any] = dict(variables["params"])
    for layer in ("Dense_0", "Dense_1"):  # tanh(x) = 2 σ(2x) - 1: twice the sum,
        params[layer] = jax.tree.map(lambda leaf: 2 * leaf, params[layer])
    for layer in ("Dense_1", "Dense_2"):  # and what reads it takes it twice, less one
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        params[layer] = {"kernel": 2 * kernel, "bias": bias - kernel.sum(0)}
    logistic = tanh.clone(activation=nn.sigmoid)
    codes = np.asarray(logistic.apply({"params": params}, x))
    assert np.abs(codes).max() > 0.1
    np.testing.assert_allclose(codes, expected, atol=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


def test_a_table_that_is_stopped_goes_on_and_what_is_finished_is_not_done_again(
    place: Path,
) -> None:
    run = place / "runs" / "deep-mnist_mini-30-3x2"
    with subprocess.Popen(
        command("published", LINE), cwd=place, env=environment(place), stdout=subprocess.DEVNULL
    ) as process:
        while not (run / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()  # and with it what it has started
    assert process.returncode == 143
    assert not (run / ".lock").exists()
    assert not (run / "summary.json").exists()

    resumed = start("published", LINE, place)
    assert resumed.returncode == 0, resumed.stderr
    (started,) = re.findall(r"^\+ python (.*)$", resumed.stdout, re.MULTILINE)
    assert "--resume" in started
    summary = json.loads((run / "summary.json").read_text())
    assert summary["epoch"] == 3
    page = (place / "page" / "README.md").read_text()
    (row,) = re.findall(r"^\| 30 \|.*$", page, re.MULTILINE)
    error, deviation = (784 * summary[f"test_mse{suffix}"] for suffix in ("", "_std"))
    assert f"| 3, 2 | {error:.4g} ± {deviation:.2g} |" in row
    assert "--out" not in page

    again = start("published", LINE, place)
    assert again.stdout.count("+ python") == 0
    assert (place / "page" / "README.md").read_text() == page


def test_an_error_of_a_run_ends_the_table(place: Path) -> None:
    process = start("published", "pca --dataset no_such_set --folder other", place)
    assert process.returncode == 2
    assert "no_such_set" in process.stderr
    assert not (place / "results").exists()
