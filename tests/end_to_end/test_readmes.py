"""The READMEs are true: code blocks run as they stand, and files, names and options exist."""

import ast
import importlib
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import compare
from jaxae import cli, family, likelihoods, models
from jaxae.commands import train as train_command
from jaxae.family import Context
from jaxae.network import Network
from jaxae.train import Batch
from support.commands import REPOSITORY
from support.experiments import options_of
from test_rooms import ALLOWED

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
    """Returns the fenced blocks of a language on a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Returns a folder to run commands in, which has experiments/ as a checkout does."""
    (tmp_path / "experiments").symlink_to(REPOSITORY / "experiments")
    return tmp_path


def run(arguments: list[str], folder: Path) -> str:
    """Runs a Python command in a folder and returns its output; fails the test if it fails."""
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
        "jaxae/README.md": ["text", "python", "python", "python"],
        "experiments/README.md": ["sh", "sh", "sh", "sh", "sh", "console", "console"],
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


def test_every_option_in_a_table_exists():
    named = {
        flag
        for page in (README, EXPERIMENTS)
        for row in re.findall(r"^\|.*\|$", page, flags=re.MULTILINE)
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z-]*", row)
    }
    assert {"--objective", "--dataset", "--no-compilation-cache"} <= named
    all_options = [options_of(name)() for name in ("fashion", "latent2d", "vae")]
    all_options += [train_command.Options(), compare.Options()]
    known = {flag for options in all_options for flag in flags(options)}
    assert named <= known


def flags(options: Any) -> Iterator[str]:
    """Yields the flags of a command's options, as tyro derives them from nested dataclasses."""
    for field in fields(options):
        value, name = getattr(options, field.name), cli.flag_of(field.name)
        if is_dataclass(value):
            yield from flags(value)
        elif value is True:
            yield f"--no-{name}"
        else:
            yield f"--{name}"


def test_one_training_step_names_what_exists():
    section = ARCHITECTURE.split("## One training step", 1)[1].split("\n## ", 1)[0]
    words = re.findall(r"`([\w./]+)`", section)
    names = {word for word in words if not word.endswith((".py", ".json", ".jsonl"))}
    files = [REPOSITORY / word for word in words if word.endswith(".py")]
    files = [
        file if file.exists() else REPOSITORY / "jaxae" / file.relative_to(REPOSITORY)
        for file in files
    ]
    defined = {name for file in files for name in names_defined_in(file)}
    assert [name for name in names if "." not in name and name not in defined] == []
    dotted = [name.split(".") for name in names if "." in name]
    assert dotted
    for room, name in dotted:
        assert hasattr(importlib.import_module(f"jaxae.{room}"), name), f"{room}.{name}"


def names_defined_in(file: Path) -> set[str]:
    """Returns the names of a file's functions and classes."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {
        node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)
    }


def test_the_architecture_draws_and_describes_every_room():
    (drawing,) = blocks(ARCHITECTURE, "text")
    line_of = {
        room: number for number, line in enumerate(drawing.splitlines()) for room in line.split()
    }
    allowed = {room: imported for room, imported in ALLOWED.items() if room != "__main__"}
    assert line_of.keys() == allowed.keys()
    upwards = [
        f"{room} imports {other}"
        for room, imported in allowed.items()
        for other in imported.split()
        if line_of[room] >= line_of[other]
    ]
    assert upwards == []
    folders = [room for room in allowed if (REPOSITORY / "jaxae" / room).is_dir()]
    described = re.findall(r"^\*\*`(\w+)/`\*\*", ARCHITECTURE, flags=re.MULTILINE)
    assert sorted(described) == sorted(folders)
    assert [
        room for room in allowed if f"`{room}.py`" not in ARCHITECTURE and room not in folders
    ] == []


@pytest.mark.slow
def test_research_example_trains(checkout):
    _, example = blocks(README, "python")
    (checkout / "example.py").write_text(example)
    losses = [float(x) for x in re.findall(r"'loss': Array\((\S+),", run(["example.py"], checkout))]
    assert len(losses) == 3
    assert losses[-1] < losses[0]


@pytest.mark.slow
def test_example_with_batch_normalization_trains(checkout):
    _, example, _ = blocks(ARCHITECTURE, "python")
    (checkout / "example.py").write_text(example)
    assert 0 < float(run(["example.py"], checkout)) < 784


@pytest.mark.slow
def test_drop_ins_example_encodes(checkout):
    *_, example = blocks(ARCHITECTURE, "python")
    (checkout / "example.py").write_text(example + "print(codes.shape)\n")
    assert run(["example.py"], checkout) == "(8, 7, 7, 8)\n"


@pytest.mark.slow
def test_shell_commands_run_in_order(checkout):
    commands, *_ = blocks(EXPERIMENTS, "sh")
    assert all("_mini" in output for output in run_all(commands, checkout))
    assert (checkout / "results/fashion/again/summary.json").exists()


@pytest.mark.slow
def test_digits_are_trained_sampled_and_loaded(checkout):
    example, _ = blocks(README, "python")
    (checkout / "example.py").write_text(example + "print(codes.shape, samples.shape, len(loss))\n")
    assert run(["example.py"], checkout).endswith("(1797, 8) (16, 8, 8, 1) 60\n")


def run_all(commands: str, folder: Path) -> list[str]:
    """Runs lines that begin with python or jaxae one after the other; returns their outputs."""
    outputs = []
    for command in commands.splitlines():
        program, *arguments = shlex.split(command)
        begin = {"python": [], "jaxae": ["-m", "jaxae"]}[program]
        outputs.append(run([*begin, *arguments], folder))
    return outputs


@pytest.mark.slow
def test_a_member_is_trained_with_a_schedule_and_an_average(checkout):
    _, commands, *_ = blocks(EXPERIMENTS, "sh")
    run_all(commands, checkout)
    assert (checkout / "results/family/averaged/summary.json").exists()


@pytest.mark.slow
def test_a_member_is_trained_evaluated_explored_drawn_and_compared(checkout):
    _, _, commands, _, comparison = blocks(EXPERIMENTS, "sh")
    *_, listed, compared, paged = run_all(f"{commands}{comparison}", checkout)
    folder = checkout / "results/family/first"
    written = {path.name for path in folder.iterdir()}
    assert {"evaluation.json", "report.html", "explore.html"} <= written
    assert "results/family/first" in listed
    assert compared.startswith("| run ")
    assert "| first |" in compared  # below results/family
    assert "results/compare.html" in paged
    page = (checkout / "results/compare.html").read_text(encoding="utf-8")
    assert 'href="family/first/explore.html"' in page
    assert {"samples_mixture.png", "morph.gif"} <= {
        path.name for path in (folder / "pictures").iterdir()
    }


@pytest.mark.slow
def test_a_sweep_is_trained(checkout):
    _, _, _, command, _ = blocks(EXPERIMENTS, "sh")
    (output,) = run_all(command, checkout)
    assert "done: runs in results/sweeps/first" in output
    assert len(list((checkout / "results/sweeps/first").glob("*/summary.json"))) == 4


@pytest.mark.slow
def test_a_new_member_is_a_row():
    example, *_ = blocks(ARCHITECTURE, "python")
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


def test_commands_for_several_hosts_parse():
    lines = [line for block in blocks(EXPERIMENTS, "console") for line in block.splitlines()]
    assert len(lines) == 3
    for line in lines:
        _, arguments = line.split("python experiments/fashion.py ")
        options = cli.parse(options_of("fashion"), shlex.split(arguments))
        assert options.run.coordinator is not None
