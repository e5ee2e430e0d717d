"""Help texts: what a command does, and its options in groups, with types and defaults."""

import argparse
import dataclasses
import inspect
import re
import shutil
import textwrap
import types
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from jaxae.runs import OPTION_GROUPS, RunOptions

_REQUIRED = dataclasses.MISSING  # the default of an option that must be given
_WIDEST = 100  # columns of a help text, however wide the terminal is
_LONGEST = 32  # characters of choices beside an option's name; longer lists go into its phrase
_UNBROKEN = 36  # characters; a default up to this long is not broken across lines
_HARD_SPACE = "\xa0"


@dataclass(frozen=True)
class Option:
    """An option as help texts and error messages show it."""

    name: str  # the field's name
    metavar: str | None  # stands for its value, such as INT; None for a pair of flags
    phrase: str  # what it is
    default: str  # in parentheses
    positional: bool


def format_help(
    program: str, description: str, options_type: type, defaults: Any | None = None
) -> str:
    """Returns the help text of a command, wrapped to the terminal.

    Args:
      program: the command's name in the usage line.
      description: what the command does, with an example, as in a module's docstring.
      options_type: a dataclass with a comment on each field.
      defaults: an instance that gives the defaults; None for those of the class.
    """
    width = _width()
    groups = _group_options(options_type, defaults)
    arguments = [option for options in groups.values() for option in options if option.positional]
    parser = argparse.ArgumentParser(
        usage=" ".join([program, "[OPTIONS]", *(f"{option.metavar}" for option in arguments)]),
        description=wrap(description, width),
        formatter_class=partial(argparse.RawDescriptionHelpFormatter, width=width),
        add_help=False,
    )
    for title, options in ({"arguments": arguments} | groups).items():
        group = parser.add_argument_group(title)
        for option in options:
            if not option.positional or title == "arguments":
                _add_option(group, option)
    last = parser.add_argument_group("help")
    last.add_argument("-h", "--help", action="store_true", help="show this help and exit")
    return parser.format_help().replace(_HARD_SPACE, " ")


def _add_option(group: Any, option: Option) -> None:
    default = option.default
    if len(default) <= _UNBROKEN:
        default = default.replace(" ", _HARD_SPACE)
    text = f"{option.phrase} {default}".strip().replace("%", "%%")
    if option.positional:
        group.add_argument(option.name, metavar=option.metavar, help=text)
        return
    flag = flag_of(option.name)
    if option.metavar is None:
        group.add_argument(f"--{flag}", f"--no-{flag}", action="store_true", help=text)
    else:
        group.add_argument(f"--{flag}", metavar=option.metavar, help=text)


def flag_of(name: str) -> str:
    """Returns an option's name on the command line: a Python keyword's field ends with "_"."""
    return name.removesuffix("_").replace("_", "-")


def _group_options(options_type: type, defaults: Any | None = None) -> dict[str, list[Option]]:
    """Returns the options of a command by the title of their group, in the help text's order.

    A field is in the group whose title stands above it in the source; without one it is in the
    "recipe" of an experiment, or the "options" of another command. A nested dataclass is a group
    named after its field, and the shared options come last, in groups of their own.
    """
    hints = get_type_hints(options_type)
    own = "recipe" if RunOptions in hints.values() else "options"
    groups: dict[str, list[Option]] = {}
    shared: dict[str, list[Option]] = {}
    _, titles = _read_comments(options_type)
    described = describe_options(options_type, defaults)
    for field in dataclasses.fields(options_type):
        if not dataclasses.is_dataclass(hints[field.name]):
            title = titles.get(field.name, own)
            groups.setdefault(title, []).append(described[field.name])
            continue
        nested = default_of(field, defaults)
        options = describe_options(type(nested), nested)
        if isinstance(nested, RunOptions):
            options |= describe_options(type(nested.reading), nested.reading)
            shared = {
                title: [options[name] for name in names] for title, names in OPTION_GROUPS.items()
            }
        else:
            groups[field.name] = list(options.values())
    return groups | shared


def default_of(field: dataclasses.Field[Any], defaults: Any | None) -> Any:
    """Returns a field's default: of an instance if given, else its own; `MISSING` without one."""
    if defaults is not None:
        return getattr(defaults, field.name)
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def describe_options(options_type: type, defaults: Any | None = None) -> dict[str, Option]:
    """Returns a dataclass's own options by name, without those of nested dataclasses."""
    import tyro

    hints = get_type_hints(options_type, include_extras=True)
    comments, _ = _read_comments(options_type)
    described = {}
    for field in dataclasses.fields(options_type):
        given, extras = _split_annotated(hints[field.name])
        if dataclasses.is_dataclass(given):
            continue
        default = default_of(field, defaults)
        positional = tyro.conf.Positional in extras
        metavar = next((extra.metavar for extra in extras if getattr(extra, "metavar", None)), None)
        shown, choices = _describe_type(given)
        phrase, unset = _split_default(field.metadata.get("help") or comments.get(field.name, ""))
        if choices:
            phrase = f"{phrase}: {', '.join(choices)}"
        described[field.name] = Option(
            field.name,
            metavar or (field.name.upper().replace("_", "-") if positional else shown),
            phrase,
            unset if default in (None, ()) else _describe_default(default),
            positional,
        )
    return described


def _read_comments(cls: type) -> tuple[dict[str, str], dict[str, str]]:
    """Returns the comments on the fields of a class, and the titles of the fields' groups.

    A comment stands beside its field or on the lines above it. A title stands above the first
    field of its group, as `# --- data ---`.
    """
    try:
        source = inspect.getsource(cls)
    except (OSError, TypeError):  # made at run time, or installed without its source
        return {}, {}
    comments, titles, above, title = {}, {}, [], None
    for line in source.splitlines():
        if found := re.fullmatch(r" {4}# --- (.*) ---", line):
            title = found[1]
        elif found := re.fullmatch(r" {4}# (.*)", line):
            above.append(found[1])
            continue
        elif found := re.fullmatch(r" {4}(\w+): .*?(?:  # (.*))?", line):
            comments[found[1]] = found[2] or " ".join(above)
            if title is not None:
                titles[found[1]] = title
        above = []
    return comments, titles


def wrap(text: str, width: int | None = None) -> str:
    """Wraps the paragraphs and lists of a text; leaves indented lines as they are."""
    width = width or _width()
    return "\n\n".join(_wrap_block(block, width) for block in re.split(r"\n\s*\n", text.rstrip()))


def _wrap_block(block: str, width: int) -> str:
    if block.startswith("    "):
        return block
    lines = re.sub(r"\n(?!- )\s*", " ", block.strip()).splitlines()
    return "\n".join(
        textwrap.fill(
            line,
            width,
            subsequent_indent="  " if line.startswith("- ") else "",
            break_on_hyphens=False,
            break_long_words=False,
        )
        for line in lines
    )


def _width() -> int:
    return min(shutil.get_terminal_size().columns, _WIDEST) - 2


def _split_annotated(hint: Any) -> tuple[Any, Sequence[Any]]:
    """Returns a type and its `Annotated` extras."""
    if get_origin(hint) is not Annotated:
        return hint, ()
    given, *extras = get_args(hint)
    return given, extras


def _describe_type(given: Any) -> tuple[str | None, Sequence[str]]:
    """Returns the metavar of a type, and its choices if they are too long for the metavar."""
    if given is bool:
        return None, ()
    parts = get_args(given)
    if get_origin(given) in (Union, types.UnionType):
        described = [_describe_type(part) for part in parts if part is not type(None)]
        return "|".join(f"{name}" for name, _ in described), described[0][1]
    if get_origin(given) is Literal:
        choices = [f"{part}" for part in parts]
        listed = ",".join(choices)
        if len(listed) > _LONGEST:
            return "NAME", choices
        return (listed if len(choices) == 1 else f"{{{listed}}}"), ()
    if get_origin(given) is tuple:
        name, choices = _describe_type(parts[0])
        if parts[1:] == (...,):
            return f"{name} ...", choices
        return " ".join(f"{_describe_type(part)[0]}" for part in parts), choices
    return given.__name__.upper(), ()


def _split_default(comment: str) -> tuple[str, str]:
    """Splits off the default that a comment ends with, in parentheses."""
    found = re.fullmatch(r"(.*) (\(default: [^()]*\))", comment)
    return (found[1], found[2]) if found else (comment, "")


def _describe_default(default: Any) -> str:
    if default is _REQUIRED:
        return "(required)"
    if isinstance(default, bool):
        return "(default: on)" if default else "(default: off)"
    if isinstance(default, tuple):
        return f"(default: {' '.join(map(str, default))})"
    return f"(default: {default})"
