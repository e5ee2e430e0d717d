"""Runs that a page needs: each is trained and evaluated by processes of its own, once."""

import itertools
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jaxae import runs
from jaxae.errors import UserError
from jaxae.runs import read_config


def train(program: Sequence[str], arguments: Sequence[str], folder: Path, epochs: int) -> None:
    """Starts or resumes a run of a Python program, unless it is finished.

    The arguments are those of a new run; a resumed run gets only its `places`. Raises `UserError`
    if the folder holds a run of other arguments or epochs. A process that fails ends this one with
    its exit code.
    """
    if not (folder / "config.json").exists():
        run([*program, *arguments, "--out", str(folder)])
        return
    _check_made_by(folder, arguments, epochs)
    if not (folder / "summary.json").exists():
        run([*program, "--resume", str(folder), *_places_in(arguments)])


def evaluate(folder: Path, arguments: Sequence[str]) -> Path:
    """Evaluates a run unless that is done; returns the folder of its evaluation.json.

    It is kept apart from a user's own evaluation, which lies in the run's folder.
    """
    judged = folder / "judged"
    if not (judged / "evaluation.json").exists():
        run(["-m", "jaxae", "evaluate", str(folder), "--out", str(judged), *arguments])
    return judged


def places(data_dir: Path | None, sources: Path | None) -> list[str]:
    """Returns the flags that tell a command where the data are."""
    flags = {"--data-dir": data_dir, "--sources": sources}
    return [part for flag, path in flags.items() if path for part in (flag, str(path))]


def _places_in(arguments: Sequence[str]) -> list[str]:
    """Returns those of the arguments that tell where the data are."""
    pairs = itertools.pairwise(arguments)
    return [word for pair in pairs if pair[0] in ("--data-dir", "--sources") for word in pair]


def _check_made_by(folder: Path, arguments: Sequence[str], epochs: int) -> None:
    """Raises `UserError` if the run in a folder has other arguments or epochs."""
    config = read_config(folder)
    command, trained = runs.portable(config.command), config.options.run.epochs
    _, given = runs.split_command(runs.words_of(command))
    if given != runs.words_of(runs.portable(shlex.join(arguments))) or trained != epochs:
        raise UserError(
            f"{folder} holds a run of another command ({command}, for {trained} epochs): give "
            "another --folder, or move that run away"
        )


def run(arguments: Sequence[str]) -> None:
    """Runs Python with arguments and shows its output; exits with its code if it fails."""
    print(f"+ {shlex.join(['python', *arguments])}", flush=True)
    with subprocess.Popen([sys.executable, *arguments]) as process:
        try:
            code = process.wait()
        except KeyboardInterrupt:
            process.terminate()  # so that it saves its state, even if it got no Ctrl-C
            process.wait()
            raise
    if code:
        sys.exit(code)
