"""The help texts of all commands, as a new user reads them in a terminal of 80 columns."""

import contextlib
import io
import re
import runpy
import sys
from dataclasses import dataclass, field
from functools import cache

import pytest

from jaxae import commands
from jaxae.cli import help as help_texts
from jaxae.data import Reading
from jaxae.runs import OPTION_GROUPS, RunOptions
from support.commands import REPOSITORY

FILES = [
    *(REPOSITORY / "experiments").glob("*.py"),
    *(REPOSITORY / "experiments" / "speed" / f"{name}.py" for name in ("compare", "gpu", "stream")),
]
SCRIPTS = {path.name: path for path in FILES if "__main__" in path.read_text(encoding="utf-8")}
EXPERIMENTS = {
    *(f"{name}.py" for name in ("conv", "deep", "denoise", "family", "fashion")),
    *("latent2d.py", "latent3d.py", "vae.py", "jaxae train"),
}
COMMANDS = [
    *sorted(SCRIPTS),
    "jaxae",
    *(f"jaxae {name}" for name in commands.COMMANDS),
    "python -m jaxae.evaluate",
]
EVALUATION = ["arguments", "checkpoint", "estimates", "data", "output", "help"]
DRAWING = ["arguments", "pictures", "data", "output", "help"]
TOOLS = {
    "jaxae evaluate": EVALUATION,
    "python -m jaxae.evaluate": EVALUATION,
    "jaxae explore": ["arguments", "checkpoint", "page", "data", "output", "help"],
    "jaxae runs": ["arguments", "options", "help"],
    "jaxae sweep": ["options", "help"],
    "sweep.py": ["options", "help"],
    "jaxae compare": ["arguments", "table", "plot", "data", "output", "help"],
    "jaxae latents": DRAWING,
    "jaxae export": ["arguments", "checkpoint", "export", "output", "help"],
    "jaxae push": ["arguments", "checkpoint", "output", "help"],
    "latents.py": DRAWING,
    "report.py": ["arguments", "training", "data", "output", "help"],
    "published.py": ["arguments", "training", "data", "output", "help"],
    "film.py": ["arguments", "options", "help"],
    "pictures.py": ["arguments", "options", "help"],
    "sklearn_data.py": ["options", "output", "help"],
    "compare.py": ["comparison", "scaling", "output", "help"],
    "gpu.py": ["measurement", "output", "help"],
    "stream.py": ["timing", "data", "output", "help"],
    "jaxae": ["commands", "options"],
}
TITLES = [
    "recipe",
    "training",
    "data",
    "data of your own",
    "run",
    "several devices",
    "debugging",
    "help",
]
CONTINUATIONS = re.compile(
    r"(after|as|at|before|beside|by|for|from|in|into|of|on|over|that|to|when|where|which|with|without)\b"
)


@cache
def help_of(name: str) -> str:
    """What a command prints for --help in a terminal of 80 columns."""
    told = io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(told),
        pytest.raises(SystemExit) as end,
    ):
        ask_for_help(name, patch)
    assert end.value.code == 0
    return told.getvalue()


def ask_for_help(name: str, patch: pytest.MonkeyPatch) -> None:
    """Starts a command with --help in this process, in a terminal of 80 columns."""
    patch.setenv("COLUMNS", "80")
    if name in SCRIPTS:
        patch.setattr(sys, "argv", [str(SCRIPTS[name]), "--help"])
        runpy.run_path(sys.argv[0], run_name="__main__")
    elif name.startswith("python -m"):
        patch.setattr(sys, "argv", ["/somewhere/jaxae/evaluate/__main__.py", "--help"])
        runpy.run_module("jaxae.evaluate.__main__", run_name="__main__")
    else:
        patch.setattr(sys, "argv", ["/bin/jaxae", *name.split()[1:], "--help"])
        commands.main()


def groups_of(text: str) -> dict[str, dict[str, str]]:
    """The phrases of a help text's options, by the titles of their groups and by their names."""
    groups: dict[str, dict[str, str]] = {}
    options: dict[str, str] = {}
    name = ""
    for line in text.splitlines():
        if found := re.fullmatch(r"(\w[\w ]*):", line):
            options = groups.setdefault(found[1], {})
        elif found := re.fullmatch(r" {2}(\S.*?)(?: {2,}(.*))?", line):
            name = found[1]
            options[name] = found[2] or ""
        elif name in options and line.startswith("     "):
            options[name] = f"{options[name]} {line.strip()}".strip()
    return groups


@pytest.mark.parametrize("name", COMMANDS)
def test_the_usage_names_the_command_as_it_was_typed(name: str) -> None:
    usage = help_of(name).splitlines()[0]
    assert usage.startswith(f"usage: {name} ")
    assert not re.search(r"[/\\]", usage)


@pytest.mark.parametrize("name", COMMANDS)
def test_the_text_fits_the_terminal_and_has_an_example_and_how_long_it_takes(name: str) -> None:
    text = help_of(name)
    example = re.findall(r"^ {4}(?:python|jaxae) \S.*$", text, re.MULTILINE)
    assert example
    assert re.search(r"\b(second|minute|hour)s?\b", text)
    wide = [line for line in text.splitlines() if len(line) > 80 and line not in example]
    assert wide == []


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_a_phrase_that_can_be_read_alone(name: str) -> None:
    groups = groups_of(help_of(name))
    flags = [flag for options in groups.values() for flag in options]
    assert "-h, --help" in flags
    for options in groups.values():
        for flag, phrase in options.items():
            words = re.sub(r"\((default: .*|required)\)$", "", phrase).split()
            assert len(words) > 2, f"{flag}: {phrase}"
            assert not CONTINUATIONS.match(words[0].lower()), f"{flag}: {phrase}"


@pytest.mark.parametrize("name", COMMANDS)
def test_no_default_and_no_type_is_shown_as_none(name: str) -> None:
    for options in groups_of(help_of(name)).values():
        for flag, phrase in options.items():
            default = phrase.rpartition("(default: ")[2]
            assert default != ")", flag
            assert not re.search(r"\b(None|True|False)\b", f"{flag} {default}"), flag
            assert "None" not in phrase
            assert "[INT" not in flag


@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_an_experiment_shows_its_groups_in_order_and_all_shared_options(name: str) -> None:
    groups = groups_of(help_of(name))
    for own in ("optimizer", "settings"):  # of `jaxae train` alone
        groups.pop(own, None)
    assert list(groups) == TITLES
    found = {flag.split()[0].strip(",") for flag in groups["training"]}
    assert {"--epochs", "--batch-size", "--learning-rate", "--seed"} <= found
    assert "(default: the latest)" in groups["run"]["--initial-epoch INT"]
    assert "(default: all)" in groups["several devices"]["--devices INT"]


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_shows_its_groups_in_order(name: str) -> None:
    assert list(groups_of(help_of(name))) == TOOLS[name]


def test_every_command_has_its_groups_tested() -> None:
    assert {*TOOLS, *EXPERIMENTS} == {*COMMANDS}


@pytest.mark.parametrize("name", COMMANDS)
def test_an_option_is_in_the_same_group_in_every_command(name: str) -> None:
    group_of = {"--dataset": "data", "--data-dir": "data", "--sources": "data", "--help": "help"}
    for title, options in groups_of(help_of(name)).items():
        for flag in " ".join(options).replace(",", "").split():
            assert group_of.get(flag, title) == title or name == "jaxae", flag


@pytest.mark.parametrize("name", COMMANDS)
def test_each_phrase_stands_before_the_choices(name: str) -> None:
    for options in groups_of(help_of(name)).values():
        for flag, phrase in options.items():
            assert re.match(r"\w+ \w", phrase.partition(":")[0]), f"{flag}: {phrase}"


def test_every_shared_option_is_in_one_group() -> None:
    names = [name for group in OPTION_GROUPS.values() for name in group]
    fields = {**RunOptions.__dataclass_fields__, **Reading.__dataclass_fields__}
    assert sorted(names) == sorted(fields.keys() - {"reading"})


@dataclass(frozen=True)
class Titled:
    """Options in groups."""

    size: int = 3  # number of things

    # --- the colors ---
    # color of the things, in
    # two words
    color: str = "dark red"
    paper: str = "white"  # color of the paper

    # --- output ---
    out: str = "here"  # folder to write to


def test_a_title_groups_all_fields_below_it() -> None:
    assert groups_of(help_texts.format_help("do", "Does it.", Titled)) == {
        "options": {"--size INT": "number of things (default: 3)"},
        "the colors": {
            "--color STR": "color of the things, in two words (default: dark red)",
            "--paper STR": "color of the paper (default: white)",
        },
        "output": {"--out STR": "folder to write to (default: here)"},
        "help": {"-h, --help": "show this help and exit"},
    }


@dataclass(frozen=True)
class Ink:
    """Nested options."""

    shade: str  # shade of the ink


@dataclass(frozen=True)
class Sample:
    """Options of each kind."""

    size: int  # number of things, 100% of them
    # longer phrase on
    # two lines (default: a quarter)
    share: float | None = None
    widths: tuple[int, ...] | None = None  # widths of all layers (default: one)
    parts: tuple[str, ...] = ()  # what to draw (default: everything)
    quick: bool = False  # hurry
    places: tuple[str, ...] = field(default_factory=lambda: ("here",))  # where to look
    ink: Ink = field(default_factory=lambda: Ink("blue"))


def test_types_and_defaults_are_shown_in_words() -> None:
    groups = groups_of(help_texts.format_help("do", "Does it.", Sample))
    assert groups["ink"] == {"--shade STR": "shade of the ink (default: blue)"}
    assert groups["options"] == {
        "--size INT": "number of things, 100% of them (required)",
        "--share FLOAT": "longer phrase on two lines (default: a quarter)",
        "--widths INT ...": "widths of all layers (default: one)",
        "--parts STR ...": "what to draw (default: everything)",
        "--quick, --no-quick": "hurry (default: off)",
        "--places STR ...": "where to look (default: here)",
    }


def test_defaults_are_those_of_an_instance() -> None:
    text = help_texts.format_help("do", "Does it.", Sample, Sample(3, 0.5, (1, 2), quick=True))
    shown = groups_of(text)["options"]
    assert [phrase.partition("(")[2] for phrase in shown.values()] == [
        "default: 3)",
        "default: 0.5)",
        "default: 1 2)",
        "default: everything)",
        "default: on)",
        "default: here)",
    ]


def test_text_is_wrapped_except_for_its_examples() -> None:
    text = "Some words\nin lines.\n\n    an example  as it is\n\n- one point\n  of two\n- another\n"
    assert help_texts.wrap(text, 16) == (
        "Some words in\nlines.\n\n    an example  as it is\n\n- one point of\n  two\n- another"
    )
