"""The command line of an experiment: its options, read with tyro, and how errors end it."""

import _thread
import argparse
import contextlib
import dataclasses
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from jaxae import compilation, data, devices, files
from jaxae.errors import Terminated, UserError
from jaxae.files import convert
from jaxae.native_errors import one_line_at_a_peers_end
from jaxae.runs import (
    CONFIG_FILE,
    Options,
    OptionsType,
    RunOptions,
    check_options,
    check_same,
    read_config,
)
from jaxae.terminal import losing_output

__all__ = ["Options", "RunOptions", "parse", "run_main", "run_tool"]

ToolOptions = TypeVar("ToolOptions")


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
      description: stands over the options in --help; by default the class's own.
      arguments: by default the process's.
      program: what --help calls the command; by default the process's file.
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
    main: Callable[[ToolOptions], None],
    options_type: type[ToolOptions],
    *,
    arguments: Sequence[str] | None = None,
    program: str | None = None,
) -> None:
    """Parses the command line of a command that trains nothing itself, calls main, and exits.

    The arguments and the code are those of `run_main`, and the code is 2 after an OSError, too.
    """
    import tyro

    try:
        options = tyro.cli(options_type, args=arguments, prog=program)
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


@contextlib.contextmanager
def stop_once() -> Iterator[None]:
    """Within it the first SIGTERM raises Terminated, and the first Ctrl-C KeyboardInterrupt.

    Any after it are ignored, so that saving can end. Where Python ignores what was raised, as in a
    finalizer or a callback of the garbage collector, of which JAX has one, it is raised again, at
    the main thread's next line of Python.
    """
    stopped, hook, main_thread = False, sys.unraisablehook, threading.main_thread()

    def stop(number: int, frame: Any) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Terminated if number == signal.SIGTERM else KeyboardInterrupt

    def send_again(number: signal.Signals) -> None:
        nonlocal stopped
        stopped = False
        _thread.interrupt_main(number)

    def report(unraisable: Any) -> None:
        error = unraisable.exc_value
        if not isinstance(error, KeyboardInterrupt) or threading.current_thread() != main_thread:
            hook(unraisable)
            return
        number = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        # Not at once, for what is raised in this hook is ignored, too.
        timer = threading.Timer(0.05, send_again, (number,))
        timer.daemon = True  # to start any other, Python takes a lock that may be held just now
        timer.start()
        timers.callback(timer.join)  # once it is cancelled, or has fired
        timers.callback(timer.cancel)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) is not signal.SIG_IGN  # as it is in the background of a script
    }
    sys.unraisablehook = report
    try:
        with contextlib.ExitStack() as timers:
            yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler or signal.SIG_DFL)


@contextlib.contextmanager
def join_processes(run: RunOptions) -> Iterator[None]:
    """Within it this process is one of several; only the first prints.

    JAX then looks after SIGTERM itself, so that all stop after the same step. Ctrl-C sends that.
    """
    assert run.coordinator is not None
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored:  # while it waits for the others, in C++, nothing is there to be saved
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_line_at_a_peers_end())
        devices.join(run.coordinator, run.processes, run.process)
        if not ignored:
            signal.signal(signal.SIGINT, lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        stack.enter_context(devices.leave_on_error())
        devices.check_platforms()
        if not devices.is_first_process():
            nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
            stack.enter_context(contextlib.redirect_stdout(nowhere))
        try:
            yield
        except Terminated:
            if not devices.is_first_process():  # which says how to go on
                print("interrupted, as all processes of this run are", file=sys.stderr)
            raise


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
        options = parse_flags(options_type, arguments, None, description, program)
        check_options(options.run)
        return options
    saved = read_options(restored, options_type)
    here = dataclasses.replace(saved.run, data_dir=None, sources=None)
    defaults = dataclasses.replace(saved, run=here)  # pyright: ignore[reportArgumentType, reportCallIssue]
    options = parse_flags(options_type, arguments, defaults, description, program)
    check_options(options.run)
    if options.run.resume is not None:
        check_same(options, saved)
    if options.run.dataset is not None and options.run.dataset == saved.run.dataset:
        data.check_data_dir(restored, options.run.dataset, saved.run.data_dir, options.run.data_dir)
    return options


def parse_flags(
    options_type: type[OptionsType],
    arguments: Sequence[str],
    default: OptionsType | None,
    description: str | None,
    program: str | None,
) -> OptionsType:
    """Options from arguments alone; the flags of the shared ones have no prefix."""
    import tyro

    parse_options = partial(
        tyro.cli,
        options_type,
        prog=program,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes,),
        description=description,
    )
    return parse_options() if default is None else parse_options(default=default)


def read_options(folder: Path, options_type: type[OptionsType]) -> OptionsType:
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
