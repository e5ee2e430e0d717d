"""The command line of a command: its options, read with tyro, and how errors end it."""

import argparse
import dataclasses
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from jaxae import data, devices, files
from jaxae.cli import compilation
from jaxae.cli.help import describe_options, format_help
from jaxae.cli.signals import join_processes, stop_once
from jaxae.errors import Terminated, UserError
from jaxae.files import convert
from jaxae.runs import (
    CONFIG_FILE,
    OptionsType,
    check_options,
    check_same,
    read_config,
)
from jaxae.terminal import losing_output

_ToolOptions = TypeVar("_ToolOptions")


@losing_output()
def run_main(
    main: Callable[[OptionsType], None],
    options_type: type[OptionsType],
    *,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> None:
    """Parses the command line, calls main, and exits.

    The code is 0, or 2 after a UserError, 130 after Ctrl-C, 143 after SIGTERM, else 1 where some of
    what was printed is lost.

    Args:
      main: what is called with the options.
      options_type: their class.
      description: says in --help what the command does, with an example; by default the class's
        docstring.
      arguments: by default the process's.
      program: the command's name in --help; by default that of the process's file.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = parse(options_type, arguments, description, program)
        compilation.use_cache(wanted=options.run.compilation_cache)
        files.settle_matplotlib()
        with join_processes(options.run) if options.run.coordinator else stop_once():
            devices.check_platforms()
            main(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        warnings.simplefilter("ignore")  # of what a failed save leaves, which says so at the end
        sys.exit(2)
    except KeyboardInterrupt as stop:
        sys.exit(143 if isinstance(stop, Terminated) else 130)


@losing_output()
def run_tool(
    main: Callable[[_ToolOptions], None],
    options_type: type[_ToolOptions],
    *,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> None:
    """Parses the command line of a command that trains nothing itself, calls main, and exits.

    The arguments and the code are those of `run_main`, and the code is 2 after an OSError, too.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = _parse_flags(options_type, arguments, None, description, program)
        files.settle_matplotlib()
        with stop_once():
            devices.check_platforms()
            main(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        place = error.filename or "a file"
        print(
            f"error: {place} cannot be read or written ({error.strerror or error}): give another "
            "place",
            file=sys.stderr,
        )
        sys.exit(2)
    except KeyboardInterrupt as stop:
        sys.exit(143 if isinstance(stop, Terminated) else 130)


def parse(
    options_type: type[OptionsType],
    arguments: Sequence[str],
    description: str | None = None,
    program: str | None = None,
) -> OptionsType:
    """Options from command-line arguments; a run to resume or to load gives the defaults.

    It gives none for where data are opened.

    Raises:
      UserError: a value is out of range, a resumed run is told to become another, or the run's
        data lie where the user has not named.
    """
    peek = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    peek.add_argument("--resume", type=Path, nargs="?")  # tyro will say that a value is missing
    peek.add_argument("--load", type=Path, nargs="?")
    found, _ = peek.parse_known_args([a for a in arguments if a not in ("-h", "--help")])
    restored = found.resume or found.load
    if restored is None:
        options = _parse_flags(options_type, arguments, None, description, program)
        check_options(options.run)
        return options
    saved = _read_options(restored, options_type)
    here = dataclasses.replace(saved.run, data_dir=None, sources=None)
    defaults = dataclasses.replace(saved, run=here)  # pyright: ignore[reportArgumentType, reportCallIssue]
    options = _parse_flags(options_type, arguments, defaults, description, program)
    check_options(options.run)
    if options.run.resume is not None:
        check_same(options, saved)
    if options.run.dataset is not None and options.run.dataset == saved.run.dataset:
        data.check_data_dir(restored, options.run.dataset, saved.run.data_dir, options.run.data_dir)
    return options


def _parse_flags(
    options_type: type[_ToolOptions],
    arguments: Sequence[str],
    defaults: _ToolOptions | None,
    description: str | None,
    program: str | None,
) -> _ToolOptions:
    """Options from arguments alone, or the help text and the end of the process.

    The flags of options in nested dataclasses have no prefix.
    """
    import tyro

    program = program or Path(sys.argv[0]).name
    if {"-h", "--help"} & set(arguments):
        text = description or options_type.__doc__ or ""
        print(format_help(program, text, options_type, defaults), end="")
        sys.exit(0)
    return tyro.cli(
        options_type,
        prog=program,
        args=arguments,
        default=tyro.MISSING_NONPROP if defaults is None else defaults,
        config=(tyro.conf.OmitArgPrefixes,),
        registry=_make_registry(),
    )


def _make_registry() -> Any:
    """Makes tyro's errors show an option as the help text does."""
    import tyro
    from tyro.constructors import (
        ConstructorRegistry,
        StructConstructorSpec,
        StructFieldSpec,
        StructTypeInfo,
    )

    registry = ConstructorRegistry()

    @registry.struct_rule
    def describe_dataclass(given: StructTypeInfo) -> StructConstructorSpec | None:
        if not dataclasses.is_dataclass(given.type):
            return None
        defaults = given.default if isinstance(given.default, given.type) else None
        hints = get_type_hints(given.type, include_extras=True)
        described = describe_options(given.type, defaults)
        specs = []
        for field in dataclasses.fields(given.type):
            hint: Any = hints[field.name]
            option = described.get(field.name)
            if option is not None:
                shown = tyro.conf.arg(
                    help=option.phrase, metavar=option.metavar, help_behavior_hint=option.default
                )
                hint = Annotated[hint, shown]
            default = field.default if defaults is None else getattr(defaults, field.name)
            if default is dataclasses.MISSING:
                default = tyro.MISSING_NONPROP
            specs.append(StructFieldSpec(field.name, hint, default))
        return StructConstructorSpec(given.type, tuple(specs))

    return registry


def _read_options(folder: Path, options_type: type[OptionsType]) -> OptionsType:
    """The options in a run's config.json, without the place it wrote to.

    Raises:
      UserError: the folder is not a run's, or is another experiment's.
    """
    config = read_config(folder)
    try:
        options = convert(options_type, config.values["options"], "", strict=True)
    except ValueError as error:
        raise UserError(
            f"{folder / CONFIG_FILE} does not hold the options of this experiment ({error}): "
            "give a run of the same experiment"
        ) from None
    run = dataclasses.replace(
        options.run,
        dataset=config.dataset.name,
        out=None,
        resume=None,
        restart=False,
        load=None,
        initial_epoch=None,
        devices=None,
        coordinator=None,
        processes=None,
        process=None,
        debug=False,
    )
    try:
        check_options(run)
    except UserError as error:
        raise UserError(
            f"{folder / CONFIG_FILE} holds an option that no run has: {error}"
        ) from None
    return dataclasses.replace(options, run=run)  # pyright: ignore[reportArgumentType, reportCallIssue]
