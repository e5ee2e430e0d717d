"""The command `jaxae`: its help, its subcommands, and how it answers a typo."""

import re
import signal
import sys
from pathlib import Path

import pytest

import jaxae
from jaxae import commands
from support.commands import environment, run_program


def code_of(*arguments: str) -> int:
    """The code that the command exits with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["jaxae", *arguments])
        with pytest.raises(SystemExit) as end:
            commands.main()
    assert isinstance(end.value.code, int)
    return end.value.code


def test_without_a_command_nothing_slow_is_imported(tmp_path: Path) -> None:
    process = run_program("start_without_a_command", variables=environment(tmp_path))
    assert process.stderr == ""
    imported = {name.partition(".")[0] for name in process.stdout.split()}
    assert "jaxae" in imported
    assert not {"jax", "flax", "numpy", "tyro"} & imported


def test_help_has_a_line_for_each_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--help") == 0
    told = capsys.readouterr().out
    for name, command in commands.COMMANDS.items():
        assert re.search(rf"^ +{name} +{re.escape(command.summary)}$", told, re.MULTILINE)
    assert code_of() == 2
    assert capsys.readouterr() == ("", told)


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of("--version") == 0
    assert capsys.readouterr().out == f"jaxae {jaxae.__version__}\n"


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_has_a_help_of_its_own(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_of(name, "--help") == 0
    assert re.match(rf"usage: jaxae {name} ", capsys.readouterr().out)


@pytest.mark.parametrize("name", ["evaluate", "explore", "latents", "train --resume"])
def test_each_command_gets_the_arguments_after_its_name(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(*name.split(), str(tmp_path)) == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} is not a run")


@pytest.mark.parametrize(
    ("word", "hint"),
    [("trian", "did you mean train?"), ("quit", "--help says"), ("--epochs", "--help says")],
)
def test_an_unknown_command_gives_one_line_that_lists_the_commands(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code_of(word, "--help") == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"error: jaxae {word}: give one of the commands {', '.join(commands.COMMANDS)}"
    )
    assert hint in said
    assert said.count("\n") == 1


def test_ctrl_c_while_a_command_is_imported_ends_the_process(tmp_path: Path) -> None:
    process = run_program("interrupt_import", "train", "interrupted", "default_int_handler")
    assert process.returncode == -signal.SIGINT
    assert process.stdout == process.stderr == ""


@pytest.mark.parametrize(
    ("word", "handler"),
    [
        ("interrupted", "SIG_IGN"),
        ("undisturbed", "SIG_IGN"),
        ("undisturbed", "default_int_handler"),
    ],
)
def test_an_import_keeps_the_handler_of_ctrl_c(word: str, handler: str, tmp_path: Path) -> None:
    process = run_program("interrupt_import", "train", word, handler)
    assert process.stderr == ""
    assert process.stdout == f"jaxae train {word} True\n"
