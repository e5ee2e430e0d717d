"""The form of error messages, checked over the whole source."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import jaxae

PACKAGE = Path(jaxae.__file__).parent
FILES = sorted([*PACKAGE.rglob("*.py"), *(PACKAGE.parent / "experiments").rglob("*.py")])
HOLE = "\0"  # stands for a placeholder of an f-string
NAMES = (
    "SSIM",
    "PCA",
    "MNIST",
    "TFDS",
    "NaN",
    "JAX",
    "PNG",
    "IDX",
    "UTF-8",
)
"""Names that may begin a message with their capitals."""


def messages(path: Path) -> Iterator[tuple[int, str]]:
    """Yields the line and the text of each error that a file raises with a literal message."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", None)
        text = text_of(node.args[0])
        if name in ("UserError", "UnobtainableError", "DamagedError") and text is not None:
            yield node.lineno, text


def text_of(node: ast.expr) -> str | None:
    """Returns the text of a literal, an f-string or a sum of them; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or HOLE for part in node.values)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (text_of(node.left) or HOLE) + (text_of(node.right) or HOLE)
    return None


def faults(text: str) -> list[str]:
    """Returns what is wrong with the form of a message."""
    found = []
    if text.endswith("."):
        found.append("ends in a full stop")
    if re.search(r"(?<!\.)\.(?!\.) [A-Z]", text):
        found.append("is more than one sentence")
    if "  " in text:
        found.append("holds two spaces in a row")
    if text[0].isupper() and not text.startswith(NAMES):
        found.append("begins with a capital")
    return found


def test_faults_are_found() -> None:
    assert faults("3 was given: give 1 or more") == []
    assert faults("--latent 0: give 1 or more") == []
    assert len(faults("An array was given.")) == 2
    assert len(faults("it is odd. Give  another")) == 2


def test_every_error_has_the_form() -> None:
    checked = {
        f"{path.relative_to(PACKAGE.parent)}:{line}: {text!r}": faults(text)
        for path in FILES
        for line, text in messages(path)
    }
    assert len(checked) > 150
    assert {place: found for place, found in checked.items() if found} == {}
