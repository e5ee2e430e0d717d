"""How Ctrl-C and SIGTERM end a command, alone or as one of several processes."""

import _thread
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxae import devices
from jaxae.cli.native_errors import one_line_at_a_peers_end
from jaxae.errors import Terminated
from jaxae.runs import RunOptions


@contextlib.contextmanager
def stop_once() -> Iterator[None]:
    """Raises Terminated on the first SIGTERM, or KeyboardInterrupt on the first Ctrl-C.

    Later ones are ignored, so that saving can finish. Python ignores exceptions in finalizers and
    in callbacks of the garbage collector, of which JAX has one. An interrupt that is lost there is
    raised again shortly after, in the main thread's Python code. Only the main thread can handle
    signals; in another one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
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
        # Not at once, because an exception raised in this hook is ignored, too.
        timer = threading.Timer(0.05, send_again, (number,))
        timer.daemon = True  # starting any other takes a lock, which may be held right now
        timer.start()
        timers.callback(timer.join)  # after the next line's cancel: callbacks run last to first
        timers.callback(timer.cancel)

    before = {
        number: signal.signal(number, stop)
        for number in (signal.SIGTERM, signal.SIGINT)
        if signal.getsignal(number) is not signal.SIG_IGN  # as it is in a script's background jobs
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
    """Joins the processes that train together, until the block ends; only the first one prints.

    JAX handles SIGTERM itself, so that all processes stop after the same step. Ctrl-C sends this
    process SIGTERM.
    """
    assert run.coordinator is not None
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if not ignored:  # while it waits for the others, in C++, there is nothing to save
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
            if not devices.is_first_process():  # the first process says how to go on
                print("interrupted, as all processes of this run are", file=sys.stderr)
            raise
