"""The published tables: sections of a page, and a table that is stopped, resumed and repeated."""

import json
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import numpy as np
import pytest

import published
import published_tables
from jaxae import cli, models
from jaxae.commands import train
from jaxae.errors import UserError
from jaxae.files import encode_json
from jaxae.pages import put_section, sections_of
from support.commands import command, environment, start
from support.damage import CONFIG, merged

LINE = "deep --epochs 8 --replicas 1 --dataset mnist_mini --folder runs --page page/README.md"


def options(table: Any, **changed: Any) -> published.Options:
    return replace(
        published.Options(table, dataset=("mnist_mini",), folder=Path("runs")), **changed
    )


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
    assert sections_of(page.read_text()) == [
        "<!-- first -->\n1\n<!-- end of first -->\n",
        "<!-- second -->\ntwo\n\nlines\n<!-- end of second -->\n",
    ]
    assert sections_of("") == []
    assert [path.name for path in page.parent.iterdir() if path.suffix != ".lock"] == ["page.md"]


def test_commands_that_put_sections_at_the_same_time_lose_none(tmp_path: Path) -> None:
    names = [f"section-{number}" for number in range(40)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: put_section(tmp_path / "page.md", name, "text"), names))
    assert len(sections_of((tmp_path / "page.md").read_text())) == len(names)


@pytest.mark.slow
def test_a_tanh_network_is_one_of_logistic_units_with_other_weights() -> None:
    tanh = models.DenseEncoder((7, 5), 3, activation=nn.tanh)
    x = jax.random.uniform(jax.random.key(0), (4, 2, 3, 1))
    expected, variables = tanh.init_with_output(jax.random.key(1), x)
    params: dict[str, Any] = dict(variables["params"])
    for layer in ("Dense_0", "Dense_1"):  # tanh(x) = 2 σ(2x) - 1: double the input,
        params[layer] = jax.tree.map(lambda leaf: 2 * leaf, params[layer])
    for layer in ("Dense_1", "Dense_2"):  # and in the next layer double the kernel, minus its sum
        kernel, bias = params[layer]["kernel"], params[layer]["bias"]
        params[layer] = {"kernel": 2 * kernel, "bias": bias - kernel.sum(0)}
    logistic = tanh.clone(activation=nn.sigmoid)
    codes = np.asarray(logistic.apply({"params": params}, x))
    assert np.abs(codes).max() > 0.1
    np.testing.assert_allclose(codes, expected, atol=1e-6)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.mark.slow
def test_a_stopped_table_resumes_and_finished_runs_are_not_repeated(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = place / "runs" / "deep-mnist_mini-30-8x1"
    with subprocess.Popen(
        command("published", LINE), cwd=place, env=environment(place), stdout=subprocess.DEVNULL
    ) as process:
        while not (run / "metrics.jsonl").exists():
            assert process.poll() is None
            time.sleep(0.05)
        process.terminate()  # it also ends the training that it started
    assert process.returncode == 143
    assert not (run / ".lock").exists()
    assert not (run / "summary.json").exists()

    resumed = start("published", LINE, place)
    assert resumed.returncode == 0, resumed.stderr
    assert re.search(r"^\[1/1\] deep-mnist_mini-30-8x1 done", resumed.stdout, re.MULTILINE)
    assert json.loads((run / "config.json").read_text())["resumed"]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["epoch"] == 8
    page = (place / "page" / "README.md").read_text()
    (row,) = re.findall(r"^\| 30 \|.*$", page, re.MULTILINE)
    assert f"| 8, 1 | {784 * summary['test_mse']:.4g} |" in row
    assert "--out" not in page

    (place / "page" / "README.md").unlink()
    monkeypatch.chdir(place)
    monkeypatch.setattr(sys, "argv", command("published", LINE)[1:])
    monkeypatch.setattr(published.jobs, "run", lambda words: pytest.fail("evaluates again"))
    records = (run / "metrics.jsonl").read_bytes()
    published.main(options("deep", epochs=8, replicas=1, page=Path("page/README.md")))
    assert (run / "metrics.jsonl").read_bytes() == records
    assert (place / "page" / "README.md").read_text() == page


@pytest.mark.slow
def test_an_error_of_a_run_ends_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="5 of 5 runs failed"):
        published.main(options("pca", dataset=("no_such_set",)))
    assert capsys.readouterr().out.count("there is no dataset 'no_such_set'") == 5
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["log.txt"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"epochs": 0}, "--epochs 0"), ({"replicas": 0}, "--replicas 0"), ({"page": "."}, "--page")],
)
def test_bad_options_are_refused_before_the_training(
    changed: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(published.sweeps, "train", lambda *_: pytest.fail("trains"))
    if "page" in changed:
        changed = {"page": tmp_path}
    with pytest.raises(UserError, match=message):
        published.main(options("deep", **changed))


def test_a_table_has_the_figures_of_the_runs_and_of_their_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["published.py", "rae", "--page", "page.md"])
    monkeypatch.setattr(published.jobs, "run", lambda words: pytest.fail("evaluates"))
    monkeypatch.setattr(published.sweeps, "train", lambda words, out: None)  # written below
    asked = options("rae", dataset=("some/set",), page=Path("page.md"))
    for number, job in enumerate(published_tables.jobs_of("rae", "some/set")):
        prior = "normal" if job.label in ("vae", "wae") else "mixture"
        of_normal = {"mixture_fid": 30.0, "mixture_fid_std": 3.0, "negative_log_likelihood": -9.5}
        figures = {"fid": 20.0 + number, "fid_std": 2.0}
        program = ("python experiments/family.py", "jaxae train")[number % 2]
        write_run(
            published.folder_of(job, asked),
            config={
                "command": f"{program} {job.arguments} --dataset some/set "
                "--epochs 15 --replicas 3 --sources=there --out nowhere",
                "git_commit": "abc",
                "versions": {"jax": "1.2"},
                "devices": ["a device"],
                "cpu_count": 2,
                "dataset": {"name": "some/set", "image_shape": [2, 2, 1]},
                "options": options_of(f"{job.arguments} --epochs 15 --replicas 3"),
            },
            summary={"epoch": 15, "test_mse": 0.25, "test_mse_std": 0.01},
            evaluation={
                "settings": {"prior": prior},
                "figures": figures | (of_normal if prior == "normal" else {}),
                "classifier": {"accuracy": 0.91234, "digest": "0123456789abcdef0123"},
            },
        )
    published.main(asked)
    page = (tmp_path / "page.md").read_text()
    head, _, *rows = (line.split(" | ") for line in page.splitlines() if line.startswith("|"))
    assert head[2:] == [
        "epochs, replicas",
        "MSE",
        "FID, prior",
        "FID, mixture",
        "FID, reconstructions",
        "linear probe",
        "NLL, nats |",
    ]
    first = ["15, 3", "0.250 ± 0.010", "-", "20.0 ± 2.0", "-", "-", "- |"]
    assert rows[0] == ["| rae-l2", "some/set", *first]
    assert rows[2][3:6] == ["0.250 ± 0.010", "22.0 ± 2.0", "30.0 ± 3.0"]
    assert rows[2][8] == "-9.5 |"
    assert "accuracy 0.9123 on the test images, digest `0123456789abcdef`" in page
    assert "    python published.py rae\n" in page
    assert "nowhere" not in page
    assert "sources" not in page
    assert len(sections_of(page)) == 1
    assert page.startswith("<!-- published-rae-some-set -->\n## ")


@pytest.mark.parametrize(
    ("decay", "epochs", "said"),
    [
        ("0.2", 3, r"--weight-decay 0\.1: the run to resume was started with 0\.2"),
        ("0.1", 4, r"trained for 4 epochs, more than the 3 of --epochs"),
    ],
)
def test_a_run_with_other_arguments_is_refused(
    decay: str, epochs: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = options("deep", epochs=3, replicas=1, folder=tmp_path)
    (job,) = published_tables.jobs_of("deep", "mnist_mini")
    assert "--weight-decay 0.1" in job.arguments
    arguments = job.arguments.replace("decay 0.1", f"decay {decay}")
    write_run(
        published.folder_of(job, asked),
        config={
            "dataset": {"name": "mnist_mini"},
            # A resumed run may have more epochs.
            "options": options_of(f"{arguments} --epochs {epochs} --replicas 1"),
        },
        summary={"epoch": epochs},
        evaluation={},
    )
    with pytest.raises(UserError, match=said):
        published.main(asked)


def options_of(arguments: str) -> Any:
    """Returns the options of `jaxae train` with these arguments, as config.json has them."""
    parsed = cli.parse(train.Options, shlex.split(arguments))
    return json.loads(encode_json(asdict(parsed)))


SUMMARY = {"epoch": 1, "train_loss": 1, "test_loss": 1, "parameters": 1, "training_seconds": 1}


def write_run(folder: Path, *, config: Any, summary: Any, evaluation: Any) -> None:
    """Writes the files that the table reads from an evaluated run."""
    (folder / "judged").mkdir(parents=True)
    for path, value in (
        ("config.json", merged(CONFIG, config)),
        ("summary.json", SUMMARY | summary),
        ("judged/evaluation.json", evaluation),
    ):
        (folder / path).write_text(json.dumps(value))
