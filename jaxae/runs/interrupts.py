"""Interrupts, from Ctrl-C or SIGTERM: those that a library would lose, and those that can wait."""

import contextlib
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def keep_interrupts() -> Iterator[None]:
    """Raises an interrupt of the block again at its end, if the block has lost it.

    A library may ignore a KeyboardInterrupt, or turn it into another exception, as Matplotlib's C
    code does while it is imported. One that is lost in a finalizer is left to `sys.unraisablehook`.
    Handlers of signals run in the main thread alone; in another one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    raised: list[BaseException] = []
    with _remember_interrupts(raised):
        try:
            yield
        except Exception as error:
            if not raised:
                raise
            raise type(raised[0]) from error
    if raised:
        raise type(raised[0])


@contextlib.contextmanager
def defer_interrupts() -> Iterator[None]:
    """Handles signals that arrive during the block only after it, so that it is done whole or not.

    Handlers of signals run in the main thread alone; in another one this changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    arrived: list[Callable[[], None]] = []

    def deferred(handler: Any) -> Any:
        return lambda number, frame: arrived.append(lambda: handler(number, frame))

    with _replaced_handlers(deferred):
        yield
    for handle in arrived:
        handle()


@contextlib.contextmanager
def _remember_interrupts(raised: list[BaseException]) -> Iterator[None]:
    """Lists the interrupts that the handlers of signals raise, except those of finalizers."""
    hook = sys.unraisablehook

    def remembered(handler: Any) -> Any:
        def handle(number: int, frame: Any) -> None:
            try:
                handler(number, frame)
            except KeyboardInterrupt as interrupt:
                raised.append(interrupt)
                raise

        return handle

    def forget(unraisable: Any) -> None:
        raised[:] = [interrupt for interrupt in raised if interrupt is not unraisable.exc_value]
        hook(unraisable)

    sys.unraisablehook = forget
    try:
        with _replaced_handlers(remembered):
            yield
    finally:
        sys.unraisablehook = hook


@contextlib.contextmanager
def _replaced_handlers(replace: Callable[[Any], Any]) -> Iterator[None]:
    """Replaces the handlers of Ctrl-C and SIGTERM, where Python has some, until the block ends."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    callables = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number, handler in callables.items():
            signal.signal(number, replace(handler))
        yield
    finally:
        for number, handler in callables.items():
            signal.signal(number, handler)
