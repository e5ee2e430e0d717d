"""Interrupts that a library turns into other exceptions, or ignores, still stop a run."""

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from jaxae import checkpoint, runs, train
from jaxae.cli import parsing
from jaxae.errors import Terminated
from jaxae.runs import records
from jaxae.runs.interrupts import defer_interrupts, keep_interrupts
from support import small_run
from support.commands import SECONDS
from support.small_run import go, lines_of

compiled_once, small_data = small_run.compiled_once, small_run.small_data


def as_import_error(number: int) -> None:
    """Fails as Matplotlib's import does if its C code is interrupted."""
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)
    raise ImportError("initialization failed")


def as_os_error(number: int) -> None:
    try:
        signal.raise_signal(number)
    except KeyboardInterrupt as interrupt:
        raise OSError("cannot be read") from interrupt


def ignored(number: int) -> None:
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(number)


LOSSES = [as_import_error, as_os_error, ignored]


@contextlib.contextmanager
def pythons_own() -> Iterator[None]:
    """Handles Ctrl-C as Python does without jaxae's commands."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("lose", LOSSES)
@pytest.mark.parametrize(
    ("handled", "number", "error"),
    [
        (parsing.stop_once, signal.SIGINT, KeyboardInterrupt),
        (parsing.stop_once, signal.SIGTERM, Terminated),
        (pythons_own, signal.SIGINT, KeyboardInterrupt),
    ],
)
def test_a_picture_does_not_lose_an_interrupt(
    handled: Callable[[], contextlib.AbstractContextManager[None]],
    number: int,
    error: type,
    lose: Callable[[int], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    hook = sys.unraisablehook
    with handled():
        handler = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt) as raised, runs.skip_failed_picture("samples"):
            lose(number)
        assert signal.getsignal(number) is handler
    assert raised.type is error
    assert sys.unraisablehook is hook
    assert capsys.readouterr().err == ""


def test_without_an_interrupt_an_error_stays_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ImportError, match="no such module"), keep_interrupts():
        raise ImportError("no such module")
    with runs.skip_failed_picture("samples"):
        raise ImportError("no such module")
    assert "no picture samples: ImportError: no such module" in capsys.readouterr().err


def test_an_interrupt_lost_in_a_finalizer_is_raised_once() -> None:
    class Finalized:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    def lose_it() -> None:
        with keep_interrupts():
            Finalized()  # freed at once, which calls __del__
        wait(SECONDS)

    with parsing.stop_once():
        with pytest.raises(Terminated):
            lose_it()
        wait(0.2)  # it would be raised here a second time


def wait(seconds: float) -> None:
    """Waits in Python code, where an interrupt is raised."""
    for _ in range(round(100 * seconds)):
        time.sleep(0.01)


def test_other_threads_handle_no_signals() -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    failed = []

    def work() -> None:
        try:
            with parsing.stop_once(), keep_interrupts():
                pass
            with runs.skip_failed_picture("samples"):
                raise ImportError("no such module")
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failed == []
    assert {number: signal.getsignal(number) for number in before} == before


@pytest.mark.slow
@pytest.mark.parametrize("lose", LOSSES)
def test_a_run_interrupted_within_a_picture_stops_and_resumes(
    lose: Callable[[int], None], tmp_path: Path
) -> None:
    def draw(epoch: runs.Epoch) -> None:
        with runs.skip_failed_picture("reconstructions"):
            lose(signal.SIGTERM)

    folder = tmp_path / "run"
    with parsing.stop_once(), pytest.raises(Terminated):
        go(out=folder, on_epoch=draw)
    assert [line["epoch"] for line in lines_of(folder)] == [1]
    assert [epoch.number for epoch in go(resume=folder)] == [1, 2, 3]


@pytest.mark.slow
@pytest.mark.parametrize("lose", LOSSES)
def test_a_run_interrupted_within_a_chunk_saves_its_state(
    lose: Callable[[int], None], tmp_path: Path
) -> None:
    def interrupt(progress: train.Progress) -> None:
        if (progress.epoch, progress.steps) == (2, 5):
            lose(signal.SIGTERM)

    folder = tmp_path / "run"
    with parsing.stop_once(), pytest.raises(Terminated):
        go(out=folder, on_chunk=interrupt)
    assert [line["epoch"] for line in lines_of(folder)] == [1]
    reached = []
    go(resume=folder, on_chunk=lambda progress: reached.append((progress.epoch, progress.steps)))
    assert reached[0] == (2, 7 if lose is ignored else 5)  # ignored, the chunk came to its end


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_an_interrupt_waits_until_a_block_is_done(number: int, error: type) -> None:
    done = []

    def block() -> None:
        with defer_interrupts():
            signal.raise_signal(number)
            done.append("whole")

    with parsing.stop_once():
        handler = signal.getsignal(number)
        with pytest.raises(KeyboardInterrupt) as raised:
            block()
        assert signal.getsignal(number) is handler
    assert raised.type is error
    assert done == ["whole"]


def test_an_epoch_that_is_recorded_is_saved_although_the_run_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = records.append_record

    def interrupted(folder: Path, record: dict, trackers: Any) -> None:
        append(folder, record, trackers)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(records, "append_record", interrupted)
    with pythons_own(), pytest.raises(KeyboardInterrupt):
        go(out=tmp_path / "run")
    (line,) = lines_of(tmp_path / "run")
    steps_per_epoch = runs.read_config(tmp_path / "run").steps_per_epoch
    assert checkpoint.steps(tmp_path / "run" / "checkpoints") == [line["epoch"] * steps_per_epoch]
