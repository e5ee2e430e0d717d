"""Every code block of the READMEs, run as it stands there."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxae import cli, family, likelihoods, models
from jaxae.family import Context
from jaxae.network import Network
from jaxae.train import Batch
from support.commands import REPOSITORY
from support.experiments import options_of

PAGES = {
    name: (REPOSITORY / name).read_text(encoding="utf-8")
    for name in (
        "README.md",
        "jaxae/README.md",
        "experiments/README.md",
        "tests/README.md",
        ".github/CONTRIBUTING.md",
    )
}
README, ARCHITECTURE, EXPERIMENTS, *_ = PAGES.values()


def blocks(page: str, language: str) -> list[str]:
    """The fenced code blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder to run commands in, with the experiments where the README has them."""
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    return tmp_path


def run(arguments: list[str], folder: Path) -> str:
    """The output of a Python command run in a folder; its failure fails the test."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_opens_with_the_two_commands():
    commands = re.findall(r"^    (pip .*)$", README, flags=re.MULTILINE)
    assert commands == [
        "pip install -e . && python experiments/fashion.py --latent 20",
        'pip install -e ".[dev]" && pytest',
    ]


def test_no_block_goes_untested():
    languages = {
        name: re.findall(r"^```(\w+)$", page, flags=re.MULTILINE) for name, page in PAGES.items()
    }
    assert languages == {
        "README.md": ["python", "python"],
        "jaxae/README.md": ["text", "python", "python"],
        "experiments/README.md": ["sh", "sh", "console", "console"],
        "tests/README.md": [],
        ".github/CONTRIBUTING.md": [],
    }


def test_the_first_page_is_short():
    assert len(README.splitlines()) <= 120


@pytest.mark.parametrize("name", PAGES)
def test_every_file_that_a_page_names_is_there(name):
    page, folder = PAGES[name], (REPOSITORY / name).parent
    links = re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page)
    assert [link for link in links if not (folder / link).exists()] == []
    paths = re.findall(r"`((?:jaxae|experiments|tests|results|\.ci)/[\w./]*\w/?)`", page)
    assert [path for path in paths if not (REPOSITORY / path).exists() and path.islower()] == []


def test_research_example_trains(checkout):
    example, _ = blocks(README, "python")
    (checkout / "example.py").write_text(example)
    losses = [float(x) for x in re.findall(r"'loss': Array\((\S+),", run(["example.py"], checkout))]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


def test_drop_ins_example_encodes(checkout):
    _, example = blocks(ARCHITECTURE, "python")
    (checkout / "example.py").write_text(example + "print(codes.shape)\n")
    assert run(["example.py"], checkout) == "(8, 7, 7, 8)\n"


def test_shell_commands_run_in_order(checkout):
    commands, _ = blocks(EXPERIMENTS, "sh")
    assert all("_mini" in output for output in run_all(commands, checkout))
    assert (checkout / "results/fashion/again/summary.json").exists()
    _, example = blocks(README, "python")
    (checkout / "example.py").write_text(example + "print(codes.shape, images.shape)\n")
    assert run(["example.py"], checkout) == "(2, 20) (2, 28, 28, 1)\n"


def run_all(commands: str, folder: Path) -> list[str]:
    """The outputs of lines that begin with python or jaxae, run one after the other."""
    outputs = []
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        begin = {"python": [], "jaxae": ["-m", "jaxae"]}[program]
        outputs.append(run([*begin, *arguments], folder))
    return outputs


def test_a_member_is_trained_judged_and_drawn(checkout):
    _, commands = blocks(EXPERIMENTS, "sh")
    run_all(commands, checkout)
    folder = checkout / "results/family/first"
    assert {"evaluation.json", "report.html"} <= {path.name for path in folder.iterdir()}
    assert {"samples_mixture.png", "morph.gif"} <= {
        path.name for path in (folder / "pictures").iterdir()
    }


def test_a_new_member_is_a_row():
    example, _ = blocks(ARCHITECTURE, "python")
    names = {}
    exec(example, names)
    member = names["member"]
    design = models.Design((4, 4, 1), 2, hidden=(3,))
    model = member.make_model(design, 10, {})
    context = Context(Network(model, likelihoods.BERNOULLI), 1, family.defaults_of(member.settings))
    images = jnp.ones((1, 4, 4, 1))
    terms = member.make_objective(context)(
        model.init(jax.random.key(0), images),
        jax.random.key(1),
        Batch(images, None, None, jnp.ones(1)),
    )
    half = terms.metrics["reconstruction"] + 0.5 * terms.metrics["kl"]
    np.testing.assert_allclose(terms.loss, half, rtol=1e-6)


def test_commands_for_several_hosts_are_taken():
    lines = [line for block in blocks(EXPERIMENTS, "console") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        _, arguments = line.split("python experiments/fashion.py ")
        options = cli.parse(options_of("fashion"), shlex.split(arguments))
        assert options.run.coordinator is not None
