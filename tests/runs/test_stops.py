"""Stops of an experiment, by wrong flags or Ctrl-C, and resuming it to the same bits."""

import os
import pty
import re
import runpy
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxae import checkpoint, cli, models, runs
from jaxae.cli import parsing
from jaxae.commands import train
from jaxae.errors import Terminated, UserError
from jaxae.runs import training
from support.commands import REPOSITORY, SECONDS, Finished, command, environment, run_program, start


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("fashion", "--latent -1", "latent of -1"),
        ("latent2d", "--latent 0", "--latent 0"),
        ("latent2d", "--latent 1", "--latent 1"),
        ("latent2d", "--images 0", "--images 0"),
        ("latent2d", "--images 100000", "100000"),
        ("latent2d", "--decay-epochs 0", "--decay-epochs 0"),
        ("latent2d", "--decay 0", "--decay 0"),
        ("latent2d", "--decay 2", "--decay 2"),
        ("latent2d", "--picture-steps -1", "--picture-steps -1"),
        ("latent3d", "--code 1 2", "--code has 2 numbers, but --latent is 3"),
        ("vae", "--beta -1", "--beta -1"),
        ("vae", "--beta nan", "--beta nan"),
        ("vae", "--binarization often", "often"),
        ("vae", "--latent 0", "latent of 0"),
        ("vae", "--path 0 1000", "--path"),
        ("family", "--objective gan", "gan"),
        ("family", "--objective vae --beta 2", "it has none at all"),
        ("family", "--objective masking --rate 2", "--rate 2"),
        ("family", "--objective fsq --levels 8 1", "--levels"),
        ("family", "--objective vq --latent 6", "a multiple of 4"),
        ("family", "--objective top-k --latent 4", "largest of a code's 4"),
        ("family", "--latent 0", "--latent 0"),
        ("family", "--hidden 16 0", "--hidden"),
        ("family", "--weight-decay -1", "--weight-decay -1"),
        ("family", "--kl-warmup -1", "--kl-warmup -1: give a number of epochs, 0 or more"),
        ("family", "--kl-warmup nan", "--kl-warmup nan: give"),
        (
            "family",
            "--objective wae --kl-warmup 2",
            "wae has no KL term of a posterior",
        ),
        ("vae", "--kl-warmup inf", "--kl-warmup inf: give"),
        ("family", "--optimizer sgd", "sgd"),
        ("family", "--schedule linear", "linear"),
        ("family", "--schedule warmup-cosine --warmup 1", "--warmup 1"),
        ("family", "--warmup 0.1", "leave out --warmup"),
        ("family", "--clip 0", "--clip 0"),
        ("family", "--clip nan", "--clip nan"),
        ("family", "--ema 1", "--ema 1"),
        ("family", "--ema nan", "--ema nan"),
        ("family", "--optimizer schedule-free --ema 0.9", "leave out --ema"),
        ("family", "--optimizer schedule-free --schedule cosine", "leave out --schedule"),
        ("family", "--standard-deviation 0.2", "choose gaussian"),
        ("family", "--likelihood gaussian --standard-deviation 0", "standard deviation of 0"),
        ("family", "--likelihood gaussian_identity --binarization static", "--binarization static"),
        ("denoise", "--noise -1", "--noise -1"),
        ("denoise", "--noise nan", "--noise nan"),
        ("denoise", "--fixed-noise maybe", "maybe"),
        ("conv", "--weight-decay nan", "--weight-decay nan"),
        ("deep", "--latent 785", "785"),
        ("deep", "--batch-size 0", "--batch-size 0"),
        ("deep", "--batch-size 5001", "--batch-size 5001"),
        ("deep", "--resume nothing", "nothing is not a run"),
        ("deep", "--dataset mnits", "did you mean mnist"),
        ("deep", "--epochs many", "many"),
    ],
)
def test_a_wrong_flag_is_one_paragraph_and_no_folder(
    name: str,
    line: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "--dataset" not in line and "--resume" not in line:
        line = f"--dataset mnist_mini --epochs 1 {line}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "no_sets"))
    monkeypatch.setattr(sys, "argv", command(name, line)[1:])
    # A wrong flag must be refused before training starts.
    monkeypatch.setattr(training.train, "fit", lambda *args, **named: pytest.fail("trains"))
    with pytest.raises(SystemExit) as end:
        runpy.run_path(sys.argv[0], run_name="__main__")
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert words in said
    assert "\n\n" not in said.strip()
    assert list(tmp_path.glob("results/*/*")) == []


@pytest.mark.slow
def test_a_wrong_flag_as_a_user_meets_it(tmp_path: Path) -> None:
    process = start("fashion", "--dataset fashion_mnist_mini --latent -1", tmp_path)
    assert process.returncode == 2
    assert process.stderr == "error: a latent of -1 was given: a code has 1 or more dimensions\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def read_until(terminal: int, words: bytes | None) -> bytes:
    """Returns what a process writes to a terminal, until it writes these words or ends."""
    seen = b""
    while words is None or words not in seen:
        try:
            more = os.read(terminal, 4096)
        except OSError:  # Linux raises this if the other end is closed
            break
        if not more:
            break
        seen += more
    return seen


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_on_a_terminal_then_resumed(number: int, code: int, tmp_path: Path) -> None:
    terminal, other_end = pty.openpty()
    termios.tcsetwinsize(other_end, (24, 120))
    line = "--dataset mnist_mini --epochs 300 --batch-size 500 --out run"
    with subprocess.Popen(
        command("fashion", line),
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=other_end,
    ) as process:
        os.close(other_end)
        # The read may stop within a character.
        bar = read_until(terminal, b"epoch 3/300").decode(errors="replace")
        process.send_signal(number)
        said = read_until(terminal, None).decode(errors="replace")
    os.close(terminal)
    assert process.returncode == code
    assert re.search(r"epoch 2/300: .*images/s, loss 0\.\d+", bar)
    assert re.search(r"state is saved in run\b", said)
    assert re.search(r"python \S*fashion.py --resume run\r?$", said, re.MULTILINE)
    assert "Traceback" not in said

    epoch = checkpoint.steps(tmp_path / "run" / "checkpoints")[-1] // 10
    resumed = start("fashion", f"--resume run --epochs {epoch + 1}", tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run = Finished("fashion", resumed, tmp_path / "run")
    assert [line["epoch"] for line in run.metrics()] == list(range(1, epoch + 2))
    assert f"epoch {epoch + 1}/{epoch + 1}" in resumed.stdout


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_stop_that_python_ignores_is_raised_again(number: int, error: type) -> None:
    came = []

    class Finalized:
        def __del__(self) -> None:
            try:
                signal.raise_signal(number)
                came.append("not to be reached")
            finally:
                signal.raise_signal(number)  # a second one changes nothing

    def stopped() -> None:
        with parsing.stop_once():
            Finalized()  # freed at once, which calls __del__
            for _ in range(100 * SECONDS):
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt) as raised:
        stopped()
    assert raised.type is error
    assert came == []


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup and in scripts
    try:
        with parsing.stop_once():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_resumed_is_uninterrupted_bit_for_bit_on_one_core(tmp_path: Path) -> None:
    if not hasattr(os, "sched_setaffinity"):
        pytest.skip("needs os.sched_setaffinity, to run on one core")
    experiment = str(REPOSITORY / "experiments" / "fashion.py")
    common = "--dataset mnist_mini --batch-size 300 --out"
    lines = [f"{common} whole --epochs 2", f"{common} part --epochs 1", "--resume part --epochs 2"]
    process = run_program(
        "run_on_one_core",
        *(experiment, *lines),
        folder=tmp_path,
        variables=environment(tmp_path),
    )
    assert process.returncode == 0, process.stderr
    whole, part = (tmp_path / name / "checkpoints" for name in ("whole", "part"))
    assert checkpoint.steps(whole) == checkpoint.steps(part) == [17, 34]
    model = models.fashion((28, 28, 1), 20)
    state = runs.seeded_state(0, model=model, optimizer=optax.adam(1e-3), shape=(28, 28, 1))
    names = ("loss", "reconstruction", "weight", "skipped_steps")
    like = {
        "state": state,
        "totals": dict.fromkeys(names, jnp.zeros(())),
    }
    for step in (17, 34):
        trees = [checkpoint.restore(folder, like, step) for folder in (whole, part)]
        whole_state, part_state = (tree["state"] for tree in trees)
        jax.tree.map(np.testing.assert_array_equal, whole_state.params, part_state.params)
        assert whole_state.key == part_state.key


@pytest.mark.slow
def test_a_cosine_schedule_is_not_resumed_with_other_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    line = "--schedule cosine --dataset mnist_mini --batch-size 500 --epochs 1 --out run"
    train.main(cli.parse(train.Options, line.split()))
    with pytest.raises(UserError, match="falls to 0 at epoch 1"):
        train.main(cli.parse(train.Options, ["--resume", "run", "--epochs", "2"]))
    train.main(cli.parse(train.Options, ["--resume", "run"]))
