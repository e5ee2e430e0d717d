"""Measures jaxae on one GPU in about twelve minutes, and compares it with PyTorch.

    python experiments/speed/gpu.py
    python experiments/speed/gpu.py --parts steps growth --only denoise latent2d conv

Needs JAX, jaxtyping, Flax, Optax, NumPy, SciPy and Pillow, and PyTorch for the comparison. If jaxae
is not installed, put PYTHONPATH=. before the command. Each part is a process of its own, which is
stopped when its time is over. Its rows up to then are kept, and so are the parts of an earlier run
that --parts leaves out. After each part the command rewrites GPU.json and GPU.md in results/speed,
where GPU is the GPU's name; a folder of that name holds the output of each part. Part 1 compares
the first losses of all networks with those of a CPU, which --golden writes to a file beside this
one.
"""

import argparse
import contextlib
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from gpu_correctness import GOLDEN, golden_losses
from gpu_page import Report, Result, page_text, summary_text
from gpu_parts import BEGUN, PARTS
from gpu_rows import Row
from gpu_sizes import RECIPES, TINY, Sizes, only
from jaxae import family
from jaxae.cli import wrap
from jaxae.files import write_text
from jaxae.runs import git_commit
from jaxae.terminal import losing_output
from speed_machine import describe_machine, device_name, slug
from speed_processes import last_error

_PACKAGES = ("jax", "jaxlib", "flax", "torch")


@losing_output()
def main() -> None:
    """Measures all parts; with --part, measures that part in this process."""
    options = _parse()
    if options.golden:
        write_text(GOLDEN, json.dumps(golden_losses(), indent=1) + "\n")
    elif options.part:
        _measure_part(options.part, options.rows, _sizes_of(options), tiny=options.tiny)
    else:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and kills the part's process
        measure_all(options)


def _parse() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        usage="gpu.py [OPTIONS]",
        description=wrap(__doc__ or ""),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    measurement = parser.add_argument_group("measurement")
    measurement.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=list(PARTS),
        metavar="PART",
        help=f"parts to measure: {', '.join(PARTS)} (default: all)",
    )
    measurement.add_argument(
        "--only",
        nargs="+",
        choices=(*RECIPES, *family.FAMILY),
        default=[],
        metavar="NETWORK",
        help="networks to measure in the parts that have a row for each (default: all)",
    )
    measurement.add_argument(
        "--minutes",
        type=float,
        default=12.0,
        metavar="FLOAT",
        help="number of minutes for all parts together (default: 12)",
    )
    measurement.add_argument(
        "--tiny", action="store_true", help="measure small sizes; runs on a CPU"
    )
    output = parser.add_argument_group("output")
    output.add_argument(
        "--out",
        type=Path,
        default=Path("results/speed"),
        metavar="PATH",
        help="folder to write to (default: results/speed)",
    )
    output.add_argument(
        "--machine",
        metavar="NAME",
        help="name of the page, without a suffix (default: the GPU's name)",
    )
    output.add_argument(
        "--golden",
        action="store_true",
        help="write the losses of this CPU to compare with, and exit",
    )
    last = parser.add_argument_group("help")
    last.add_argument("-h", "--help", action="help", help="show this help and exit")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes}: give a positive number")
    return options


def _sizes_of(options: argparse.Namespace) -> Sizes:
    """Returns the sizes that the command line asks for."""
    sizes = TINY if options.tiny else Sizes()
    return only(sizes, options.only) if options.only else sizes


def _measure_part(name: str, rows: Path, sizes: Sizes, *, tiny: bool) -> None:
    """Measures a part and appends its rows to a file; the first line names the device."""
    import jax

    device = jax.devices()[0]
    if device.platform == "cpu" and not tiny:
        sys.exit("there is no GPU: give --tiny to try the command on a CPU")
    with rows.open("a", encoding="utf-8") as file:
        row: Row = {"device": f"{device.platform} {device.device_kind}", **_versions()}
        print(json.dumps(row), file=file, flush=True)
        for row in PARTS[name].measure(sizes):
            print(json.dumps(row), file=file, flush=True)
            print(f"{name}: {json.dumps(row)}", flush=True)


def _versions() -> dict[str, str]:
    """Returns the commit of jaxae, if any, and the versions of the installed packages."""
    commit = git_commit()
    found = {"commit": commit} if commit else {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def measure_all(options: argparse.Namespace) -> None:
    """Measures the parts one after the other, and writes the report after each."""
    folder = options.out / (options.machine or slug(device_name()))
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".json")
    report = Report(describe_machine(), _read_results(file))
    whole = sum(PARTS[name].share for name in options.parts)
    started, share = time.monotonic(), 0.0
    with tempfile.TemporaryDirectory() as caches:
        for name in options.parts:
            share += PARTS[name].share
            left = 60 * options.minutes * share / whole - (time.monotonic() - started)
            arguments = [
                *["--tiny"] * options.tiny,
                *["--only", *options.only] * bool(options.only),
            ]
            result = run_part(name, max(left, 1.0), folder, Path(caches), arguments)
            if options.only and name in report.results:
                result = replace(result, rows=_merge(report.results[name].rows, result.rows))
            report = report.with_result(name, result)
            results = {name: asdict(result) for name, result in report.results.items()}
            text = json.dumps({"machine": report.machine, "parts": results}, indent=1)
            write_text(file, text + "\n")
            write_text(file.with_suffix(".md"), page_text(report))
    print(summary_text(report))


def _read_results(file: Path) -> dict[str, Result]:
    """Reads the parts of an earlier run; returns none if its file is missing or damaged."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        parts = json.loads(file.read_text(encoding="utf-8"))["parts"]
        return {name: Result(**parts[name]) for name in PARTS if name in parts}
    return {}


def run_part(
    name: str, seconds: float, folder: Path, caches: Path, arguments: Sequence[str]
) -> Result:
    """Runs a part in its own process, stops it after `seconds`, and returns its rows.

    The rows and the log go to `folder`. Parts share JAX's compilation cache in `caches`, except
    those that measure compilation or compile with other flags.
    """
    rows, log = folder / f"{name}.jsonl", folder / f"{name}.log"
    rows.unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__)), "--part", name, "--rows", str(rows)]
    started = time.monotonic()
    with (
        log.open("w", encoding="utf-8") as said,
        subprocess.Popen(
            [*command, *arguments],
            env=os.environ | _environment_of(name, caches),
            stderr=said,
            start_new_session=True,  # so that its children can be stopped with it
        ) as process,
    ):
        try:
            code = process.wait(timeout=seconds)
            state = "done" if code == 0 else failed_state(log, code)
        except subprocess.TimeoutExpired:
            state = f"stopped after {seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    device, found = read_rows(rows)
    return Result(state, time.monotonic() - started, device, found)


def _environment_of(name: str, caches: Path) -> dict[str, str]:
    """Returns the environment variables to add for a part's process."""
    told = {BEGUN: str(time.time()), "JAX_TRACEBACK_FILTERING": "off"} | PARTS[name].environment
    if "XLA_FLAGS" in told:
        told["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {told['XLA_FLAGS']}".strip()
    if PARTS[name].shares_programs and "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        told["JAX_COMPILATION_CACHE_DIR"] = str(caches)
        told["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return told


def failed_state(log: Path, code: int) -> str:
    """Describes how a process failed, from its log and its exit code."""
    error = last_error(log.read_text(encoding="utf-8", errors="replace"))
    return f"failed: {error}" if error else f"failed with status {code}"


def read_rows(path: Path) -> tuple[Row, list[Row]]:
    """Reads the device and the complete rows, and merges rows of one name."""
    if not path.exists():
        return {}, []
    device: Row = {}
    rows: list[Row] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # cut when the process was stopped
            row = json.loads(line)
            if "what" in row:
                rows.append(row)
            else:
                device = row
    return device, _merge([], rows)


def _merge(rows: Sequence[Row], others: Sequence[Row]) -> list[Row]:
    """Merges rows of one name; later numbers replace earlier ones."""
    merged: dict[str, Row] = {}
    for row in (*rows, *others):
        merged.setdefault(row["what"], {}).update(row)
    return list(merged.values())


if __name__ == "__main__":
    main()
