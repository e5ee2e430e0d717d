"""Checks JSON values against type annotations; errors name the key of a wrong value."""

import dataclasses
import re
import reprlib
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

_MOST = 2**63 - 1  # the largest whole number

_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Least:
    """In `Annotated[int, Least(1)]`: the lowest number that is allowed."""

    value: int


@dataclass(frozen=True)
class Most:
    """In `Annotated[int, Most(9)]`: the highest number that is allowed."""

    value: int


@dataclass(frozen=True)
class Quoted:
    """In `Annotated[int, Quoted()]`: quotes are allowed; protobuf quotes 64-bit numbers."""


Count = Annotated[int, Least(1)]
Index = Annotated[int, Least(0)]


def convert(annotation: Any, value: Any, key: str, *, strict: bool = False) -> Any:
    """Converts a JSON value to the type of an annotation, such as an object to a dataclass.

    Lists become tuples, and text becomes a path; values of types that are not known here stay as
    they are. Keys that a dataclass does not have are left out, or refused if `strict`. Raises
    ValueError, which names the key, for values of another type.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return value
    if dataclasses.is_dataclass(annotation):
        return _convert_fields(annotation, value, key, strict=strict)
    if origin is Annotated:
        return _convert_bounded(arguments, value, key, strict=strict)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, key, strict=strict)
    if origin is Literal:
        if (type(value), value) not in [(type(allowed), allowed) for allowed in arguments]:
            raise _unfit(key, value, f"one of {', '.join(map(str, arguments))}")
        return value
    if origin is dict:
        items = _of_type(dict, value, key, "an object").items()
        return {name: convert(arguments[1], item, f"{key}.{name}") for name, item in items}
    if origin is tuple:
        return _convert_tuple(arguments, value, key)
    if annotation is Path:
        return Path(_of_type(str, value, key, "a path"))
    if annotation in _WORDS:
        return _convert_plain(annotation, value, key)
    return tuple(value) if isinstance(value, list) else value  # of a type that is not known here


def shorten(value: Any) -> str:
    """Returns a short text of a value, however large or deep it is."""
    short = reprlib.Repr()
    short.maxstring, short.maxother, short.maxlevel = 60, 60, 2
    return "null" if value is None else short.repr(value)


def _convert_plain(annotation: Any, value: Any, key: str) -> Any:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    fits = number if annotation is float else type(value) is annotation
    if not fits or (isinstance(value, int) and abs(value) > _MOST):
        raise _unfit(key, value, _WORDS[annotation])
    return float(value) if annotation is float else value


def _convert_bounded(arguments: tuple[Any, ...], value: Any, key: str, *, strict: bool) -> Any:
    kind, *bounds = arguments
    if Quoted() in bounds and isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        value = int(value)
    converted = convert(kind, value, key, strict=strict)
    for bound in bounds:
        if isinstance(bound, Least) and converted < bound.value:
            raise _unfit(key, value, f"{bound.value} or more")
        if isinstance(bound, Most) and converted > bound.value:
            raise _unfit(key, value, f"{bound.value} or less")
    return converted


def _convert_union(arguments: tuple[Any, ...], value: Any, key: str, *, strict: bool) -> Any:
    if value is None and types.NoneType in arguments:
        return None
    *others, last = (each for each in arguments if each is not types.NoneType)
    for each in others:
        try:
            return convert(each, value, key, strict=strict)
        except ValueError:
            continue
    return convert(last, value, key, strict=strict)


def _convert_tuple(arguments: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    items = _of_type(list, value, key, "a list")
    kinds = arguments if arguments[-1] is not ... else arguments[:1] * len(items)
    if len(kinds) != len(items):
        raise _unfit(key, value, f"a list of {len(kinds)}")
    return tuple(
        convert(kind, item, f"{key}[{index}]")
        for index, (kind, item) in enumerate(zip(kinds, items, strict=True))
    )


def _convert_fields(annotation: Any, value: Any, key: str, *, strict: bool) -> Any:
    values = _of_type(dict, value, key or "all of it", "an object")
    hints = get_type_hints(annotation, include_extras=True)
    start, converted = f"{key}." if key else "", {}
    unknown = sorted(values.keys() - hints.keys())
    if strict and unknown:
        raise ValueError(f"{start}{shorten(unknown[0])} is not known")
    for field in dataclasses.fields(annotation):
        if field.name in values:
            given = values[field.name]
            converted[field.name] = convert(
                hints[field.name], given, f"{start}{field.name}", strict=strict
            )
        elif field.default is field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{start}{field.name} is missing")
    return annotation(**converted)


def _of_type(kind: type, value: Any, key: str, words: str) -> Any:
    if not isinstance(value, kind):
        raise _unfit(key, value, words)
    return value


def _unfit(key: str, value: Any, allowed: str) -> ValueError:
    return ValueError(f"{key} is {shorten(value)}; expected {allowed}")
