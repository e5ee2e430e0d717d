"""Attacks runs and prepared datasets for some minutes; not part of the test suite.

    python tests/programs/attack.py --minutes 10

Each try damages a copy of a trained run or of a prepared dataset and uses it, or kills a run and
resumes it. A try passes if its numbers equal those of the undamaged original, or if one UserError
explains why there are none. Any other outcome is printed with the seed that repeats it, and makes
the exit code 1.
"""

import argparse
import collections
import contextlib
import errno
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))  # for `support`, because this is started by hand

from jaxae import checkpoint, data, runs
from jaxae.checkpoint.reading import METADATA
from jaxae.data import load as load_prepared
from jaxae.errors import UserError
from support import handmade
from support.commands import SECONDS, command, environment
from support.damage import damaged_contents, damaged_descriptions
from support.small_run import go, lines_of, small_images

_Random = random.Random
_Use = Callable[[Path], Any]
"""A function that uses a folder, and returns numbers to compare."""

_FAILED = "FAILED"
_WHOLE, _OTHER, _FINGERPRINT = "whole", "other numbers", "other fingerprint"
_EPOCHS = 3
_KILLED = "--dataset mnist_mini --epochs 6 --batch-size 500"
_DOCUMENTS = ("config.json", "metrics.jsonl", "summary.json", METADATA)


@dataclass(frozen=True)
class _Attack:
    """A way to damage something, and a way to use it."""

    name: str
    source: Path  # the original of the damaged copies
    damage: Callable[[_Random, Path], str]  # returns what it did
    use: _Use
    compare: Callable[[Any, Any], str]  # result and expected result; _OTHER if they differ
    expected: Any
    during: Callable[[_Random], contextlib.AbstractContextManager] | None = None


@dataclass
class _Tally:
    """The outcomes of the tries of one attack."""

    outcomes: collections.Counter[str] = field(default_factory=collections.Counter)
    seconds: float = 0.0


def main() -> None:
    """Attacks for the given time, and prints the outcomes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0, help="of each attack's first try")
    parser.add_argument("--only", default="", help="attacks with this in their name")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, small_images():
        jax.config.update("jax_compilation_cache_dir", f"{scratch}/compiled")
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        attacks = [each for each in _make_attacks(Path(scratch)) if options.only in each.name]
        tallies = {attack.name: _Tally() for attack in attacks}
        deadline = time.monotonic() + 60 * options.minutes
        while time.monotonic() < deadline:
            attack = min(attacks, key=lambda each: tallies[each.name].seconds)
            tally, started = tallies[attack.name], time.monotonic()
            seed = options.seed + tally.outcomes.total()
            outcome = _attempt(attack, seed, Path(scratch) / "copy")
            tally.outcomes[outcome.split(":")[0]] += 1
            tally.seconds += time.monotonic() - started
            if outcome.startswith(_FAILED):
                print(f"--only {attack.name!r} --seed {seed}: {outcome}", flush=True)
    for name, tally in tallies.items():
        counts = ", ".join(f"{count} {outcome}" for outcome, count in tally.outcomes.items())
        print(f"{name}: {tally.outcomes.total()} tries: {counts}")
    sys.exit(any(tally.outcomes[_FAILED] for tally in tallies.values()))


def _make_attacks(scratch: Path) -> list[_Attack]:
    """Returns all attacks, each with the result of an undamaged copy."""
    run, sets, killed = scratch / "run", scratch / "sets", scratch / "killed"
    with _quiet():
        go(out=run, epochs=_EPOCHS)
    shades = [handmade.gray(shade) for shade in range(0, 250, 5)]
    handmade.write(sets, shades, [index % 2 for index in range(len(shades))])
    cached = scratch / "cached"
    shutil.copytree(sets, cached)
    _load_set(cached)  # leaves its cache there
    killed.mkdir()
    whole = scratch / "whole"
    whole.mkdir()
    steps = _load_steps(run)
    resumed, finished = lines_of(run)[-1], _kill_and_resume(whole, kill_after=None)
    byte = partial(_damage_file, pattern="*")
    arrays = partial(_damage_file, pattern="checkpoints/*/state/**/*")
    return [
        _Attack("a run's file, resumed", run, byte, _resume, _compare_losses, resumed),
        _Attack("a run's file, loaded", run, byte, _load_run, _compare_images, steps),
        _Attack("a checkpoint's file, resumed", run, arrays, _resume, _compare_losses, resumed),
        _Attack(
            "a value of a run's JSON, resumed", run, _damage_json, _resume, _compare_losses, resumed
        ),
        _Attack(
            "a value of a run's JSON, loaded", run, _damage_json, _load_run, _compare_images, steps
        ),
        _Attack(
            "reads that fail, resumed",
            run,
            _nothing,
            _resume,
            _compare_losses,
            resumed,
            _failing_reads,
        ),
        _Attack(
            "reads that fail, loaded",
            run,
            _nothing,
            _load_run,
            _compare_images,
            steps,
            _failing_reads,
        ),
        _Attack("a prepared set's file", sets, byte, _load_set, _compare_data, _load_set(sets)),
        _Attack("a cached set's file", cached, byte, _load_set, _compare_data, _load_set(sets)),
        _Attack("a kill", killed, _choose_moment, _kill_at_moment, _compare_arrays, finished),
    ]


def _attempt(attack: _Attack, seed: int, copy: Path) -> str:
    """Returns the outcome of one try: whole, refused, or FAILED with a reason."""
    chance = _Random(f"{attack.name} {seed}")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(attack.source, copy)
    did = attack.damage(chance, copy)
    kept = _count_arrays(copy)
    during = attack.during(chance) if attack.during else contextlib.nullcontext()
    try:
        with _quiet() as said, during:
            numbers = attack.use(copy)
    except UserError as error:
        lost = _count_arrays(copy) < kept
        if lost or "\n" in str(error):
            return f"{_FAILED}: {did}: {'lost a checkpoint' if lost else 'several lines'}: {error}"
        return "refused"
    except BaseException as error:  # anything that gets through
        if isinstance(error, KeyboardInterrupt):
            raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{_FAILED}: {did}: {error!r} at {where.filename}:{where.lineno}"
    outcome = attack.compare(numbers, attack.expected)
    if _count_arrays(copy) < kept:
        outcome = "lost a checkpoint"
    elif "starts anew" in said.getvalue():
        outcome = "started anew"
    return outcome if outcome in (_WHOLE, _FINGERPRINT) else f"{_FAILED}: {did}: {outcome}"


def _count_arrays(folder: Path) -> int:
    """Counts the checkpoints in a folder that hold arrays, including those set aside."""
    return len(list(folder.glob("checkpoints/*/state/d")))


# Damages.


def _nothing(chance: _Random, folder: Path) -> str:
    """Damages nothing."""
    return "nothing"


def _damage_file(chance: _Random, folder: Path, *, pattern: str) -> str:
    """Flips a bit of a random file, cuts it, fills it with other bytes, or removes it."""
    files = sorted(path for path in folder.rglob(pattern) if path.is_file())
    path = chance.choice(files)
    content = bytearray(path.read_bytes())
    way = chance.choice(("flip", "flip", "cut", "fill", "remove"))
    place = chance.randrange(max(1, len(content)))
    if way == "flip" and content:
        content[place] ^= 1 << chance.randrange(8)
    elif way == "cut":
        del content[place:]
    elif way == "fill":
        content[place : place + 64] = chance.randbytes(64)
    path.write_bytes(content)
    if way == "remove":
        path.unlink()
    return f"{way} {path.relative_to(folder)} at {place}"


def _damage_json(chance: _Random, folder: Path) -> str:
    """Damages a random value of a random document of a run."""
    files = sorted(path for path in folder.rglob("*") if path.name in _DOCUMENTS)
    path = chance.choice(files)
    lines = [path.read_bytes()]
    if path.suffix == ".jsonl":
        lines = lines[0].splitlines(keepends=True)
    number = chance.randrange(len(lines))
    damages = damaged_descriptions if path.name == METADATA else damaged_contents
    said, lines[number] = chance.choice(list(damages(lines[number])))
    path.write_bytes(b"".join(lines))
    return f"{path.relative_to(folder)}: {said}"


@contextlib.contextmanager
def _failing_reads(chance: _Random) -> Iterator[None]:
    """Makes one in five reads of whole files fail, as on a network disk."""
    read = Path.read_bytes

    def fail(path: Path) -> bytes:
        if chance.random() < 0.2:
            raise OSError(chance.choice((errno.EIO, errno.ESTALE, errno.EMFILE)), "attacked")
        return read(path)

    with mock.patch.object(Path, "read_bytes", fail):
        yield


def _choose_moment(chance: _Random, folder: Path) -> str:
    """Chooses the moment when a run is killed."""
    seconds = chance.uniform(0, 12)
    (folder / "moment").write_text(str(seconds))
    return f"after {seconds:.3f} s"


# Uses.


def _resume(folder: Path) -> dict[str, Any]:
    """Resumes the run, which trains if needed, and returns its last record."""
    go(resume=folder, epochs=_EPOCHS)
    return lines_of(folder)[-1]


def _load_run(folder: Path) -> np.ndarray:
    """Returns the reconstructions of some images by the run's network."""
    images = data.load("mnist_mini").test.images[:4]
    return np.asarray(runs.load(folder).reconstruct(images))


def _load_steps(folder: Path) -> list[np.ndarray]:
    """Returns the reconstructions by each checkpoint: a damaged one gives way to an older one."""
    with _quiet():
        return [
            np.asarray(
                runs.load(folder, step=step).reconstruct(data.load("mnist_mini").test.images[:4])
            )
            for step in checkpoint.steps(folder / "checkpoints")
        ]


def _load_set(folder: Path) -> data.Dataset:
    """Loads the prepared dataset."""
    with _quiet():
        return load_prepared(handmade.NAME, data_dir=folder)


def _kill_at_moment(folder: Path) -> np.ndarray:
    """Kills a run at its moment, resumes it, and returns its checksums."""
    return _kill_and_resume(folder, kill_after=float((folder / "moment").read_text()))


def _kill_and_resume(folder: Path, *, kill_after: float | None) -> np.ndarray:
    """Returns the checksums of a run's last checkpoint.

    The run uses one core, because CPUs guarantee the same bits only there.
    """
    core = min(os.sched_getaffinity(0))

    def run(line: str, seconds: float | None) -> int:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command("fashion", line)],
            cwd=folder,
            env=environment(folder),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            return process.wait(seconds or SECONDS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            return process.wait()

    code = run(f"{_KILLED} --out run", kill_after)
    if code == -signal.SIGKILL:
        begun = (folder / "run/config.json").exists()
        code = run("--resume run" if begun else f"{_KILLED} --out run", None)
    if code:
        raise RuntimeError(f"the run ended with {code}")
    folder = folder / "run/checkpoints"
    described = json.loads((folder / str(checkpoint.steps(folder)[-1]) / METADATA).read_text())
    leaves = described["custom_metadata"]["leaves"]
    return np.array([leaves[name]["crc32"] for name in sorted(leaves)])


@contextlib.contextmanager
def _quiet() -> Iterator[io.StringIO]:
    """Captures all output, and yields it."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        yield said


# Comparisons.


def _compare_losses(line: dict[str, Any], expected: dict[str, Any]) -> str:
    """Compares the last losses of a run, which may have trained its last epoch again."""
    names = ("train_loss", "test_loss")
    return _verdict(all(np.allclose(line[name], expected[name], rtol=1e-4) for name in names))


def _compare_images(images: np.ndarray, expected: list[np.ndarray]) -> str:
    """Compares images with the reconstructions by each checkpoint; any of them may match."""
    return _verdict(any(np.allclose(images, each, atol=1e-5) for each in expected))


def _compare_data(found: data.Dataset, expected: data.Dataset) -> str:
    """Compares two datasets; another fingerprint is fine, because a run refuses it."""
    if found.fingerprint != expected.fingerprint:
        return _FINGERPRINT
    pairs = [(found.train, expected.train), (found.test, expected.test)]
    same = found.class_names == expected.class_names and all(
        np.array_equal(one.images, other.images) and np.array_equal(_labels(one), _labels(other))
        for one, other in pairs
    )
    return _verdict(same)


def _compare_arrays(checksums: np.ndarray, expected: np.ndarray) -> str:
    """Compares the checksums of arrays."""
    return _verdict(np.array_equal(checksums, expected))


def _labels(split: data.Split) -> np.ndarray:
    """Returns a split's labels; of one without labels, none."""
    return np.zeros(0) if split.labels is None else split.labels


def _verdict(same: bool) -> str:
    """Returns the outcome for equal or other numbers."""
    return _WHOLE if same else _OTHER


if __name__ == "__main__":
    main()
