"""The command line of a sweep: values of options, and the cells that they span."""

import dataclasses
import difflib
import hashlib
import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

from jaxae import cli
from jaxae.commands import train
from jaxae.errors import UserError

_LONGEST = 120  # characters of a folder's name before a digest

_Kind = Literal["switch", "list", "one"]

# Options that a sweep sets itself, or that have no meaning for several runs; and what to do.
_NOT_SWEPT = {
    **dict.fromkeys(
        ("continue", "resume", "restart", "load", "initial-epoch"),
        "the same command continues a sweep; leave it out",
    ),
    **dict.fromkeys(
        ("coordinator", "processes", "process", "devices"),
        "a sweep is one process and uses all its devices; leave it out",
    ),
    "debug": "start the run in question with jaxae train --resume RUN --debug",
}


@dataclass(frozen=True)
class Axis:
    """Values of an option, or of several that change together.

    Each value is the words of a command line that set it: `("--latent", "8")`.
    """

    names: tuple[str, ...]  # of the options, as on the command line without dashes
    values: tuple[tuple[str, ...], ...]


def read_axes(words: Sequence[str], together: Sequence[Sequence[str]] = ()) -> list[Axis]:
    """Returns the axes that a command line of options of `jaxae train` spans, in its order.

    An option that takes one value may be given several; one that takes several, such as --hidden,
    may be given several times. Names in one of the groups of `together` change together.

    Raises:
      UserError: an option is unknown or not for sweeps, has no value or the same one twice, or
        options that change together have different numbers of values.
    """
    kinds, found = _kinds_of(train.Options), dict[str, list[tuple[str, ...]]]()
    for name, values in _occurrences(words):
        _check_name(name, kinds)
        flag, kind = f"--{name}", kinds[name.removeprefix("no-")]
        if kind == "switch":
            if values:
                raise UserError(f"--{name} {' '.join(values)}: leave the value out")
            found.setdefault(name.removeprefix("no-"), []).append((flag,))
            continue
        if not values:
            raise UserError(f"--{name} without a value: give one or more")
        each = [tuple(values)] if kind == "list" else [(value,) for value in values]
        found.setdefault(name, []).extend((flag, *value) for value in each)
    for choices in found.values():
        twice = [choice for choice in choices if choices.count(choice) > 1]
        if twice:
            raise UserError(f"{' '.join(twice[0])} was given twice: give each value once")
    return _joined([Axis((name,), tuple(choices)) for name, choices in found.items()], together)


def _occurrences(words: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Returns each option of a command line, with the values after it."""
    found: list[tuple[str, list[str]]] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            found.append((name.replace("_", "-"), [value] if equals else []))
        elif found:
            found[-1][1].append(word)
        else:
            raise UserError(f"{word}: give the option that it is a value of first")
    return found


def _check_name(name: str, kinds: Mapping[str, _Kind]) -> None:
    """Raises `UserError` for an option that a sweep does not take."""
    if name in _NOT_SWEPT:
        raise UserError(f"--{name} is not for sweeps: {_NOT_SWEPT[name]}")
    if name in kinds or kinds.get(name.removeprefix("no-")) == "switch":
        return
    nearest = difflib.get_close_matches(name, kinds, n=1)
    hint = f"did you mean --{nearest[0]}?" if nearest else "jaxae train --help lists its options"
    raise UserError(f"--{name} is no option of jaxae train: {hint}")


def _kinds_of(options_type: type) -> dict[str, _Kind]:
    """Returns the kind of each option by name: a switch, one of a list of values, or of one."""
    hints, kinds = get_type_hints(options_type), dict[str, _Kind]()
    for field in dataclasses.fields(options_type):
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            kinds |= _kinds_of(hint)  # pyright: ignore[reportArgumentType]
            continue
        kinds[cli.flag_of(field.name)] = _kind_of(hint)
    return kinds


def _kind_of(hint: Any) -> _Kind:
    """Returns the kind of an option of a type."""
    if hint is bool:
        return "switch"
    types = (hint, *get_args(hint))
    return "list" if any(get_origin(each) is tuple for each in types) else "one"


def _joined(axes: Sequence[Axis], together: Sequence[Sequence[str]]) -> list[Axis]:
    """Returns the axes with those that change together as one, where the first of them was."""
    by_name = {axis.names[0]: axis for axis in axes}
    for group in together:
        names = [name.lstrip("-").replace("_", "-") for name in group]
        missing = [name for name in names if name not in by_name]
        if missing or len(set(names)) < 2:
            what = f"--{missing[0]} has no values" if missing else "that is one option"
            raise UserError(
                f"--zip {' '.join(names)}: {what}; give the names of two or more options that "
                "have values here"
            )
        counts = {name: len(by_name[name].values) for name in names}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"--{name} has {count}" for name, count in counts.items())
            raise UserError(
                f"--zip {' '.join(names)}: {listed} values; give each the same number of them"
            )
        rows = zip(*(by_name[name].values for name in names), strict=True)
        values = tuple(tuple(itertools.chain(*row)) for row in rows)
        by_name[names[0]] = Axis(tuple(names), values)
        for name in names[1:]:
            del by_name[name]
    return list(by_name.values())


def make_cells(axes: Sequence[Axis]) -> dict[str, tuple[str, ...]]:
    """Returns the words of each combination of values, by a name that fits a folder.

    The name has the options that differ, with their values: `objective-vae_latent-8`.
    """
    cells: dict[str, tuple[str, ...]] = {}
    for choice in itertools.product(*(axis.values for axis in axes)):
        varied = [words for words, axis in zip(choice, axes, strict=True) if len(axis.values) > 1]
        name = _name_of(list(itertools.chain(*varied)))
        numbers = itertools.chain([""], (f"_{n}" for n in itertools.count(2)))
        unique = next(name + number for number in numbers if name + number not in cells)
        cells[unique] = tuple(itertools.chain(*choice))
    return cells


def _name_of(words: Sequence[str]) -> str:
    """Returns words as a name of a folder."""
    parts = [re.sub(r"[^\w.+-]+", "-", word).strip("-.") for word in words]
    name = ""
    for word, part in zip(words, parts, strict=True):
        name += f"{'_' if word.startswith('--') else '-'}{part}"
    name = name.strip("_-") or "run"
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
