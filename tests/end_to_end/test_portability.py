"""Differences between operating systems that are easily forgotten."""

import ast

import pytest

from support.commands import REPOSITORY

FILES = [*(REPOSITORY / "jaxae").rglob("*.py"), *(REPOSITORY / "experiments").glob("*.py")]


def opens_text(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes a text file through a method of a path."""
    if not isinstance(call.func, ast.Attribute):
        return False
    others = ("Image", "archive", "os", "place", "tarfile", "tensorstore.KvStore")  # no text
    if ast.unparse(call.func.value) in others:
        return False
    modes = [argument.value for argument in call.args if isinstance(argument, ast.Constant)]
    binary = call.func.attr == "open" and any("b" in str(mode) for mode in modes)
    return call.func.attr in ("open", "read_text", "write_text") and not binary


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("path.open()", True),
        ("path.open('a')", True),
        ("path.open('rb')", False),
        ("path.write_text('about')", True),
        ("Image.open(path)", False),
        ("os.open(path, os.O_RDONLY)", False),
        ("path.read_bytes()", False),
    ],
)
def test_text_files_are_told_from_others(line: str, text: bool) -> None:
    call = ast.parse(line, mode="eval").body
    assert isinstance(call, ast.Call)
    assert opens_text(call) == text


def test_text_files_name_their_encoding() -> None:
    calls = [
        (path, node)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and opens_text(node)
    ]
    assert len(calls) > 3
    unnamed = [
        f"{path}:{call.lineno}"
        for path, call in calls
        if "encoding" not in {keyword.arg for keyword in call.keywords}
    ]
    assert unnamed == []
