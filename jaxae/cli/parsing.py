"""Runs a command: reads its options with tyro, and turns errors into exit codes."""

import argparse
import contextlib
import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from jaxae import checkpoint, data, devices, files
from jaxae.cli import compilation
from jaxae.cli.help import default_of, describe_options, flag_of, format_help
from jaxae.cli.signals import join_processes, stop_once
from jaxae.errors import Terminated, UserError
from jaxae.files import convert
from jaxae.runs import (
    CONFIG_FILE,
    OptionsType,
    SavedDataset,
    check_options,
    check_same,
    own_path,
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
    """Parses the command line of a command that trains, and calls main.

    Exits with 2 after a `UserError`, 130 after Ctrl-C, 143 after SIGTERM, and otherwise with 1 if
    some of the output could not be written.

    Args:
      main: is called with the options.
      options_type: the class of the options.
      description: what the command does, with an example, for --help; None for the class's
        docstring.
      arguments: None for the process's own.
      program: the command's name in --help; None for the name of the process's file.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with _exit_codes():
        options = parse(options_type, arguments, description, program)
        compilation.use_cache(wanted=options.run.compilation_cache)
        files.settle_matplotlib()
        with join_processes(options.run) if options.run.coordinator else stop_once():
            devices.check_platforms()
            main(options)


@losing_output()
def run_tool(
    main: Callable[[_ToolOptions], None],
    options_type: type[_ToolOptions],
    *,
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> None:
    """Parses the command line of a command without training options, and calls main.

    Takes the arguments of `run_main`, and exits as it does; an OSError exits with 2, too.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with _exit_codes():
        try:
            options = _parse_flags(options_type, arguments, None, description, program)
            files.settle_matplotlib()
            with stop_once():
                devices.check_platforms()
                main(options)
        except OSError as error:
            place = error.filename or "a file"
            raise UserError(
                f"{place} cannot be read or written ({error.strerror or error}): give another place"
            ) from error


@contextlib.contextmanager
def _exit_codes() -> Iterator[None]:
    """Prints a `UserError` and exits with 2; exits with 130 after Ctrl-C, and 143 after SIGTERM."""
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        warnings.simplefilter("ignore")  # objects that a failed save leaves behind warn at exit
        sys.exit(2)
    except KeyboardInterrupt as stop:
        sys.exit(143 if isinstance(stop, Terminated) else 130)


def parse(
    options_type: type[OptionsType],
    arguments: Sequence[str],
    description: str | None = None,
    program: str | None = None,
) -> OptionsType:
    """Returns options from arguments; a run to resume or load gives their defaults.

    It gives none for --data-dir and --sources. With --continue, --out is the run to resume if it
    holds one.

    Raises:
      UserError: a value is out of range, an option differs that a resumed run cannot change, the
        run is an export, or its data are in a folder that the arguments do not name.
    """
    arguments = _resuming_words(arguments)
    found, _ = _peek(arguments)
    restored = found.resume or found.load
    if restored is None:
        options = _parse_flags(options_type, arguments, None, description, program)
        check_options(options.run)
        return options
    return restore_options(
        restored,
        options_type,
        lambda saved: _parse_flags(options_type, arguments, saved, description, program),
    )


def _resuming_words(arguments: Sequence[str]) -> Sequence[str]:
    """Returns arguments with --resume FOLDER in place of --out FOLDER --continue if it is a run."""
    found, others = _peek(arguments)
    if not getattr(found, "continue") or found.out is None or found.resume or found.load:
        return arguments
    if not (found.out / CONFIG_FILE).exists():
        return arguments
    return [*others, "--resume", str(found.out)]


def _peek(arguments: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    """Returns the options that say which run is meant, and the other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for name in ("resume", "load", "out"):  # tyro reports a missing value
        parser.add_argument(f"--{name}", type=Path, nargs="?")
    parser.add_argument("--continue", action=argparse.BooleanOptionalAction)
    return parser.parse_known_args([a for a in arguments if a not in ("-h", "--help")])


def restore_options(
    folder: Path,
    options_type: type[OptionsType],
    change: Callable[[OptionsType], OptionsType],
    *,
    in_memory: bool = False,
) -> OptionsType:
    """Returns the options of a run to resume or load, with the user's changes, checked.

    Args:
      folder: the run's folder.
      options_type: the class of the options.
      change: returns the saved options, which name no folder of data, with the user's changes.
      in_memory: whether the dataset is given as arrays, so that no option names it.

    Raises:
      UserError: as `parse` does.
    """
    checkpoint.check_not_export(folder)
    saved, trained_on = _read_options(folder, options_type)
    here = dataclasses.replace(saved.run, data_dir=None, sources=None)
    if trained_on.own or in_memory:
        here = dataclasses.replace(here, dataset=None)
    options = change(dataclasses.replace(saved, run=here))  # pyright: ignore[reportArgumentType, reportCallIssue]
    check_options(options.run)
    if in_memory:
        saved = _with_dataset(saved, None)
    elif trained_on.own:
        place = own_path(folder, trained_on, options.run.dataset)
        options, saved = (_with_dataset(each, place) for each in (options, saved))
    elif options.run.dataset is not None and options.run.dataset == saved.run.dataset:
        data.check_data_dir(folder, options.run.dataset, saved.run.data_dir, options.run.data_dir)
    if options.run.resume is not None:
        check_same(options, saved)
    return options


def _with_dataset(options: OptionsType, dataset: str | None) -> OptionsType:
    """Returns options with another dataset, or with none."""
    run = dataclasses.replace(options.run, dataset=dataset)
    return dataclasses.replace(options, run=run)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _parse_flags(
    options_type: type[_ToolOptions],
    arguments: Sequence[str],
    defaults: _ToolOptions | None,
    description: str | None,
    program: str | None,
) -> _ToolOptions:
    """Returns options from arguments; for --help, prints the help text and exits.

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
    """Returns rules that make tyro's errors show an option as the help text does."""
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
                    name=flag_of(field.name) if field.name.endswith("_") else None,
                    help=option.phrase,
                    metavar=option.metavar,
                    help_behavior_hint=option.default,
                )
                hint = Annotated[hint, shown]
            default = default_of(field, defaults)
            if default is dataclasses.MISSING:
                default = tyro.MISSING_NONPROP
            specs.append(StructFieldSpec(field.name, hint, default))
        return StructConstructorSpec(given.type, tuple(specs))

    return registry


def _read_options(
    folder: Path, options_type: type[OptionsType]
) -> tuple[OptionsType, SavedDataset]:
    """Returns the options in a run's config.json, except those of one start, and its dataset.

    Raises:
      UserError: the folder is not a run, or is a run of another experiment.
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
        continue_=False,
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
            f"{folder / CONFIG_FILE} holds an option out of its range: {error}"
        ) from None
    options = dataclasses.replace(options, run=run)  # pyright: ignore[reportArgumentType, reportCallIssue]
    return options, config.dataset
