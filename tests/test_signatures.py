"""Shapes stand in the signatures of public functions, and the tests check them."""

import ast
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import jaxtyping
import pytest

import jaxae
from jaxae import losses
from support.signatures import ANNOTATED

PACKAGE = Path(jaxae.__file__).parent


def files_of(name: str) -> list[Path]:
    """Returns the files of a folder, or the file itself."""
    folder = PACKAGE / name.replace(".", "/")
    return sorted(folder.glob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


def annotations(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Yields the annotations of public functions and methods; a missing one counts as an array."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    methods = [node for holder in body if isinstance(holder, ast.ClassDef) for node in holder.body]
    for node in [*body, *methods]:
        if not isinstance(node, ast.FunctionDef):
            continue
        if node.name.startswith("_") and node.name != "__call__":
            continue
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        for argument in arguments:
            if argument.arg != "self":
                yield node.name, argument.annotation or ast.Name("ArrayLike")
        yield node.name, node.returns or ast.Name("ArrayLike")


def has_bare_array(annotation: ast.expr) -> bool:
    """Returns whether an annotation has an array without a shape, except in a `Callable`."""
    if isinstance(annotation, ast.Subscript):
        head = ast.unparse(annotation.value)
        if head == "Callable" or hasattr(jaxtyping, head):
            return False
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        return True
    name = ast.unparse(annotation).rpartition(".")[2]
    if name in ("Array", "ndarray", "NDArray", "ArrayLike"):
        return True
    return any(
        has_bare_array(child)
        for child in ast.iter_child_nodes(annotation)
        if isinstance(child, ast.expr)
    )


@pytest.mark.parametrize("name", ANNOTATED)
def test_public_functions_declare_the_shapes_of_their_arrays(name: str) -> None:
    bare = [
        f"{path.relative_to(PACKAGE)}: {function}"
        for path in files_of(name)
        for function, annotation in annotations(path)
        if has_bare_array(annotation)
    ]
    assert bare == []


def test_a_wrong_shape_is_an_error_while_tests_run() -> None:
    with pytest.raises(jaxtyping.TypeCheckError, match="targets"):
        losses.squared_error(jnp.zeros((2, 3)), jnp.zeros((2, 1)))
