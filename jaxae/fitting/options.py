"""Options given as keywords: their names and types checked, and errors worded for Python."""

import contextlib
import difflib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from jaxae.errors import UserError
from jaxae.files import convert

_Options = TypeVar("_Options")


def names_of(options: Any) -> list[str]:
    """Returns the names of all options, including those of nested dataclasses."""
    names = []
    for field in fields(options):
        value = getattr(options, field.name)
        names += names_of(value) if is_dataclass(value) else [field.name]
    return names


def check_names(
    given: Mapping[str, Any], known: Sequence[str], elsewhere: Mapping[str, str]
) -> None:
    """Raises `UserError` for the first name that is not known, with the nearest that is.

    `elsewhere` has advice for names that are options of other commands.
    """
    for name in given:
        if name in elsewhere:
            raise UserError(f"{name} is not an option of jaxae.fit here: {elsewhere[name]}")
        if name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            advice = (
                f"did you mean {nearest[0]}?" if nearest else f"give {', '.join(sorted(known))}"
            )
            raise UserError(f"jaxae.fit has no option {name}: {advice}")


def change(options: _Options, given: Mapping[str, Any]) -> _Options:
    """Returns options with the values that are given by name, also in nested dataclasses.

    Raises `UserError` for a value of another type.
    """
    hints, changed = get_type_hints(type(options), include_extras=True), {}
    for field in fields(options):  # pyright: ignore[reportArgumentType]
        value = getattr(options, field.name)
        if is_dataclass(value):
            changed[field.name] = change(value, given)
        elif field.name in given:
            try:
                plain = _plain(given[field.name])
                changed[field.name] = convert(hints[field.name], plain, field.name)
            except ValueError as error:
                raise UserError(str(error)) from None
    return replace(options, **changed)  # pyright: ignore[reportArgumentType]


def _plain(value: Any) -> Any:
    """Returns a value as JSON would hold it: NumPy's numbers as Python's, tuples as lists."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


@contextlib.contextmanager
def worded_for_python(options: Any) -> Iterator[None]:
    """Turns the flags in a `UserError` into keywords: `--batch-size 0` into `batch_size=0`."""
    try:
        yield
    except UserError as error:
        text = _reword(str(error), _choices(options))
        if text == str(error):
            raise
        raise UserError(text) from None


def _choices(options: Any) -> dict[str, tuple[Any, ...]]:
    """Returns the values of all options that name a few."""
    hints, choices = get_type_hints(type(options)), {}
    for field in fields(options):
        value = getattr(options, field.name)
        if is_dataclass(value):
            choices |= _choices(value)
        for kind in (hints[field.name], *get_args(hints[field.name])):
            if get_origin(kind) is Literal:
                choices[field.name] = get_args(kind)
    return choices


def _reword(text: str, choices: Mapping[str, tuple[Any, ...]]) -> str:
    def keyword(match: re.Match[str]) -> str:
        name, value = match["name"].replace("-", "_"), match["value"]
        if name == "resume":
            return "resume=True"
        if name == "dataset":
            return f"the dataset{f' {value}' if value else ''}"
        if value in choices.get(name, ()):
            return f'{name}="{value}"'
        if value and match.start() == 0 and text.startswith(":", match.end()):
            return f"{name}={value}"
        return name + (f" {value}" if value else "")

    text = re.sub(r"--no-(?P<name>[a-z-]+)", lambda m: f"{m['name'].replace('-', '_')}=False", text)
    return re.sub(r"--(?P<name>[a-z][a-z-]*)(?: (?P<value>[^\s:;,)]+))?", keyword, text)
