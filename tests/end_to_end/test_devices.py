"""One program on one device, on several and in several processes: the same numbers."""

import contextlib
import json
import queue
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxae import checkpoint, devices
from jaxae.cli import native_errors
from jaxae.errors import UserError
from support.commands import SECONDS, Finished, command, environment, run_program, start


def with_devices(folder: Path, count: int) -> dict[str, str]:
    """The environment of a command that has that many virtual devices."""
    # With a proxy in its environment, a process would contact its peers through it.
    plain = {name: value for name, value in environment(folder).items() if "proxy" not in name}
    flags = f"{plain['XLA_FLAGS']} --xla_force_host_platform_device_count={count}"
    return plain | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}


@pytest.mark.parametrize(
    ("dtype", "what", "tolerance"),
    [("float64", "networks", 1e-12), ("float32", "family", 1e-4)],
)
@pytest.mark.slow
def test_sharded_equals_single(dtype: str, what: str, tolerance: float, tmp_path: Path) -> None:
    process = run_program("compare_devices", dtype, what, variables=with_devices(tmp_path, 8))
    assert process.returncode == 0, process.stderr
    result = json.loads(process.stdout)
    print(result)
    counts = result.pop("gathers", None)
    assert max(result.values()) <= tolerance
    if counts is not None:  # gradients are added up, and no batch is put together again
        assert counts["all-reduce"] > 0
        assert counts["all-gather"] == counts["all-to-all"] == 0


def test_a_mesh_has_the_available_devices() -> None:
    assert devices.data_mesh().shape == {"data": 1}
    for count in (0, 2):
        with pytest.raises(
            UserError, match=rf"{count} devices were asked for: there are 1 \(cpu\)"
        ):
            devices.data_mesh(count)


def test_a_missing_platform_gives_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    found, platforms = jax.devices(), jax.config.values["jax_platforms"]

    def find() -> list[Any]:
        assert jax.config.values["jax_platforms"] != "cuda"  # so JAX says that a plugin is missing
        return found

    monkeypatch.setattr(jax, "devices", find)
    jax.config.update("jax_platforms", "cuda")
    try:
        with pytest.raises(UserError, match=r"JAX_PLATFORMS=cuda: .* unset JAX_PLATFORMS .* cpu"):
            devices.check_platforms()
        devices.check_platforms()
    finally:
        jax.config.update("jax_platforms", platforms)


LINE = "--dataset mnist_mini --batch-size 300"


def losses(folder: Path) -> list[tuple[float, float]]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [(line["train_loss"], line["test_loss"]) for line in lines]


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[float, float]]:
    """The losses of two epochs on one device."""
    folder = tmp_path_factory.mktemp("single")
    process = start("fashion", f"{LINE} --epochs 2 --out run", folder)
    assert process.returncode == 0, process.stderr
    return losses(folder / "run")


def run_on(
    count: int, line: str, folder: Path, experiment: str = "fashion"
) -> subprocess.CompletedProcess[str]:
    process = subprocess.run(
        command(experiment, line),
        cwd=folder,
        env=with_devices(folder, count),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.returncode == 0, process.stderr
    return process


@pytest.mark.slow
def test_a_checkpoint_of_eight_devices_resumes_on_one_and_on_two(
    single: list[tuple[float, float]], tmp_path: Path
) -> None:
    run_on(8, f"{LINE} --epochs 1 --out eight", tmp_path)
    run_on(1, "--load eight --out loaded", tmp_path)
    config = json.loads((tmp_path / "eight" / "config.json").read_text())
    assert len(config["devices"]) == 8
    run_on(2, "--resume eight --epochs 2", tmp_path)
    np.testing.assert_allclose(losses(tmp_path / "eight"), single, rtol=1e-4)
    summary = json.loads((tmp_path / "loaded" / "summary.json").read_text())
    np.testing.assert_allclose(summary["test_loss"], single[0][1], rtol=1e-4)


@pytest.mark.slow
def test_debug_names_the_operation_on_several_devices(tmp_path: Path) -> None:
    process = subprocess.run(
        command("fashion", f"{LINE} --epochs 1 --learning-rate 1e30 --debug --out run"),
        cwd=tmp_path,
        env=with_devices(tmp_path, 2),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.returncode == 2
    assert re.search(r"in 1 step, from epoch 1, step 2 on.*operation", process.stderr)
    assert process.stderr.count("\n") <= 3  # checkify also names where it is


@contextlib.contextmanager
def start_two(
    line: str, folder: Path, experiment: str = "fashion"
) -> Iterator[list[subprocess.Popen[str]]]:
    """Starts two processes of two devices each for one experiment; kills them at the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = f"{line} --coordinator 127.0.0.1:{port} --processes 2"
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    command(experiment, f"{together} --process {number}"),
                    cwd=folder,
                    env=with_devices(folder, 2),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                )
            )
            for number in range(2)
        ]
        for process in processes:
            stack.callback(process.kill)
        yield processes


@pytest.mark.slow
def test_two_processes_train_together_and_one_resumes(
    tmp_path: Path,
) -> None:
    """The objective has noise, so equal losses mean that each example was used once."""
    alone = start("vae", f"{LINE} --epochs 2 --out single", tmp_path)
    assert alone.returncode == 0, alone.stderr
    with start_two(f"{LINE} --epochs 1 --out run", tmp_path, "vae") as processes:
        said = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], said
    assert "epoch 1/1" in said[0][0]
    assert "epoch" not in said[1][0]
    run = Finished("vae", subprocess.CompletedProcess([], 0), tmp_path / "run")
    assert len(run.metrics()) == 1
    assert run.picture("samples").size
    run_on(1, "--resume run --epochs 2", tmp_path, "vae")
    np.testing.assert_allclose(losses(tmp_path / "run"), losses(tmp_path / "single"), rtol=1e-4)


def wait_for_training(folder: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Waits until two processes have trained an epoch together."""
    deadline = time.monotonic() + SECONDS
    while not (folder / "metrics.jsonl").exists() and time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes)
        time.sleep(0.1)


@pytest.mark.slow
def test_ctrl_c_at_one_of_two_processes_stops_both(tmp_path: Path) -> None:
    """Ctrl-C becomes a SIGTERM, for which JAX stops both after the same step."""
    with start_two(f"{LINE} --epochs 2000 --out run", tmp_path) as processes:
        wait_for_training(tmp_path / "run", processes)
        processes[1].send_signal(signal.SIGINT)
        said = [process.communicate(timeout=SECONDS) for process in processes]
    assert [process.returncode for process in processes] == [143, 143], said
    assert "--resume run" in said[0][1]
    assert said[1][1] == "interrupted, as all processes of this run are\n"
    (*_, step) = checkpoint.steps(tmp_path / "run" / "checkpoints")
    epochs = -(-step // 17)
    run_on(1, f"--resume run --epochs {epochs + 1}", tmp_path)
    assert len(losses(tmp_path / "run")) == epochs + 1


@pytest.mark.slow
def test_a_process_ends_with_one_line_if_the_other_is_killed(tmp_path: Path) -> None:
    with start_two(f"{LINE} --epochs 2000 --out run", tmp_path) as processes:
        wait_for_training(tmp_path / "run", processes)
        processes[0].kill()
        _, said = processes[1].communicate(timeout=SECONDS)
    assert processes[1].returncode != 0
    assert said == native_errors.ENDED


def test_only_a_fatal_error_is_shortened() -> None:
    suspicious = [
        "W1128 00:28:28.2 491 preemption_sync_manager.cc:147] Failed to retrieve: UNAVAILABLE\n",
        "Additional GRPC error information\n",
    ]
    fatal = [f"F1128 client.h:80] Terminating process because the {native_errors.FATAL}.\n", "@\n"]
    other = ["E1128 cuda_dnn.cc:5] out of memory\n"]
    assert list(native_errors.shorten(other + suspicious + fatal)) == [*other, native_errors.ENDED]
    assert list(native_errors.shorten(other + suspicious + other)) == other + suspicious + other
    own = ["error: runs/x cannot be written\n"]
    found = list(native_errors.shorten([*suspicious, *own, *fatal]))
    assert found == [*own, native_errors.ENDED]
    passed = iter(native_errors.shorten([*suspicious, *native_errors.MOST_HELD * own, *fatal]))
    assert next(passed) == suspicious[0]


@pytest.mark.parametrize(
    ("error", "code", "waits"),
    [
        (UserError("a latent of -1 was given"), 2, False),
        (RuntimeError("Gloo AllGather failed: Connection closed by peer"), 1, True),
    ],
)
def test_an_error_ends_a_process_that_would_wait_for_the_others(
    error: Exception, code: int, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, waited = queue.SimpleQueue(), []
    monkeypatch.setattr(devices, "LEAVE_SECONDS", 0.0)
    monkeypatch.setattr(devices.time, "sleep", waited.append)
    monkeypatch.setattr(devices.os, "_exit", ended.put)
    with pytest.raises(type(error)), devices.leave_on_error():
        raise error
    assert ended.get(timeout=SECONDS) == code
    assert bool(waited) == waits
