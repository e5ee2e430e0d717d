"""All that jaxae promises on one GPU, measured in eight minutes, beside PyTorch.

    python experiments/speed/gpu.py

Needs JAX, Flax, Optax, NumPy, SciPy and Pillow, and for the comparison PyTorch. Each part is a
process of its own that is stopped when its time is over; what it had by then stays. After each part
speed_gpu.json and speed_gpu.md are written anew into the folder --out; the first losses of all
networks on a CPU, which part 1 compares with, lie beside this file, written by --golden.
"""

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from gpu_page import Report, Result, page_text, summary_text
from gpu_parts import BEGUN, GOLDEN, PARTS, TINY, Row, Sizes, golden_losses
from machine import describe_machine

from jaxae.files import write_text


def main() -> None:
    """Measures all parts, or, as the process of one, that part."""
    options = parse()
    sizes = TINY if options.tiny else Sizes()
    if options.golden:
        write_text(GOLDEN, json.dumps(golden_losses(Sizes()), indent=1) + "\n")
    elif options.part:
        measure_part(options.part, sizes, options.rows)
    else:
        measure_all(options)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="the folder to write to")
    parser.add_argument("--minutes", type=float, default=8.0, help="for all parts together")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--tiny", action="store_true", help="small sizes, to try the command")
    parser.add_argument("--golden", action="store_true", help="write the CPU's losses, and end")
    parser.add_argument("--part", choices=PARTS, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.minutes > 0:
        parser.error(f"--minutes {options.minutes}: give a positive number")
    return options


def measure_part(name: str, sizes: Sizes, rows: Path) -> None:
    """Appends the rows of a part to a file, as they come; the first says where this is."""
    import jax

    with rows.open("a", encoding="utf-8") as file:
        device = jax.devices()[0]
        row: Row = {"device": f"{device.platform} {device.device_kind}", "jax": jax.__version__}
        print(json.dumps(row), file=file, flush=True)
        for row in PARTS[name].measure(sizes):
            print(json.dumps(row), file=file, flush=True)
            print(f"{name}: {json.dumps(row)}", flush=True)


def measure_all(options: argparse.Namespace) -> None:
    """Measures the parts one after the other, and writes the report after each."""
    options.out.mkdir(parents=True, exist_ok=True)
    report = Report(describe_machine(), {})
    started, share = time.monotonic(), 0.0
    for name in options.parts:
        share += PARTS[name].share
        left = 60 * options.minutes * share - (time.monotonic() - started)
        report = report.with_result(name, run_part(name, max(left, 1.0), tiny=options.tiny))
        results = {name: asdict(result) for name, result in report.results.items()}
        text = json.dumps({"machine": report.machine, "parts": results}, indent=1)
        write_text(options.out / "speed_gpu.json", text + "\n")
        write_text(options.out / "speed_gpu.md", page_text(report))
    print(summary_text(report))


def run_part(name: str, seconds: float, *, tiny: bool) -> Result:
    """A part's rows from its process, which is stopped after so many seconds."""
    with tempfile.TemporaryDirectory() as folder:
        rows = Path(folder) / "rows.jsonl"
        command = [sys.executable, str(Path(__file__)), "--part", name, "--rows", str(rows)]
        started = time.monotonic()
        with subprocess.Popen(
            command + ["--tiny"] * tiny,
            env=os.environ | flags_of(name) | {BEGUN: str(time.time())},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # what it has started is stopped with it
        ) as process:
            try:
                _, errors = process.communicate(timeout=seconds)
                state = "done" if process.returncode == 0 else last_line(errors, process.returncode)
            except subprocess.TimeoutExpired:
                state = f"stopped after {seconds:.0f} s"
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        device, found = read_rows(rows)
        return Result(state, time.monotonic() - started, device, found)


def flags_of(name: str) -> dict[str, str]:
    """A part's environment variables; its flags for XLA follow those that the user has set."""
    flags = PARTS[name].environment
    if "XLA_FLAGS" not in flags:
        return flags
    return flags | {"XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags['XLA_FLAGS']}".strip()}


def last_line(errors: str, code: int) -> str:
    """What a process that failed has said last."""
    lines = errors.strip().splitlines()
    return f"failed: {lines[-1][:200]}" if lines else f"failed with status {code}"


def read_rows(path: Path) -> tuple[Row, list[Row]]:
    """The device, and the rows that were written whole, those of one name as one."""
    if not path.exists():
        return {}, []
    device: Row = {}
    rows: dict[str, Row] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        with contextlib.suppress(json.JSONDecodeError):  # cut when the process was stopped
            row = json.loads(line)
            if "what" in row:
                rows.setdefault(row["what"], {}).update(row)
            else:
                device = row
    return device, list(rows.values())


if __name__ == "__main__":
    main()
