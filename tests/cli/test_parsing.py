"""Command lines: what they mean, how errors are reported, and how config.json restores them."""

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TextIO

import pytest

from jaxae import cli, data
from jaxae.errors import UserError
from jaxae.files import convert
from jaxae.runs import RunOptions, progress, records
from jaxae.terminal import LossyStream
from support.commands import SECONDS, environment, program
from support.experiments import options_of

COMMON_FLAGS = [
    *("dataset", "data-dir", "sources", "epochs", "batch-size", "learning-rate", "seed"),
    *("replicas", "out", "resume", "load", "tensorboard", "compilation-cache"),
]
# Every field of an experiment's own, away from its default.
OWN_FLAGS = {
    "conv": "--weight-decay 0.25",
    "deep": "--latent 7",
    "denoise": "--noise 0.25 --fixed-noise",
    "fashion": "--latent 7",
    "latent2d": "--latent 3 --images 64 --decay 0.5 --decay-epochs 2 --picture-steps 9",
    "latent3d": "--latent 4 --code 1 -2.5 3 4",
    "vae": "--latent 5 --beta 2 --kl-warmup 1.5 --binarization static --path 4 9",
}
NAMES = sorted(OWN_FLAGS)


def parse(name: str, line: str = "") -> Any:
    return cli.parse(options_of(name), line.split())


@pytest.fixture(scope="module")
def dataset() -> data.Dataset:
    return data.load("fashion_mnist_mini")


@pytest.fixture
def saved(tmp_path: Path, dataset: data.Dataset) -> Path:
    """The folder of a run of fashion.py, started without --dataset."""
    options = parse("fashion", "--latent 7 --epochs 3 --out elsewhere --replicas 2")
    folder = tmp_path / "saved"
    folder.mkdir()
    records.write_config(folder, "fashion", options, dataset, steps_per_epoch=10)
    return folder


@pytest.mark.parametrize(
    ("name", "epochs", "batch_size", "learning_rate", "own"),
    [
        ("fashion", 100, 512, 1e-3, {"latent": 20}),
        ("denoise", 50, 128, 1e-3, {"noise": 0.5, "fixed_noise": False}),
        (
            "latent2d",
            200,
            32,
            5e-4,
            {"latent": 2, "images": 1000, "decay": 1, "picture_steps": 100},
        ),
        ("latent3d", 100, 128, 1e-3, {"latent": 3, "code": None}),
        ("conv", 40, 128, 1e-3, {"weight_decay": 1e-5}),
        ("deep", 5, 150, 1e-2, {"latent": 196}),
        ("vae", 30, 128, 1e-3, {"latent": 20, "beta": 1, "binarization": "dynamic"}),
    ],
)
def test_no_flags_give_the_published_recipe(
    name: str, epochs: int, batch_size: int, learning_rate: float, own: dict[str, Any]
) -> None:
    options = parse(name)
    every = 10 if name == "latent2d" else 1  # its epochs have fewer images than its tests
    assert options.run == RunOptions(epochs, batch_size, learning_rate, evaluate_every=every)
    assert {field: getattr(options, field) for field in own} == own
    assert (options.run.seed, options.run.replicas, options.run.dataset) == (0, 1, None)


def test_flags_land_in_their_fields() -> None:
    line = (
        "--latent 7 --dataset mnist_mini --data-dir a --sources b --epochs 4 --batch-size 5 "
        "--learning-rate 0.5 --seed 6 --replicas 8 --out c --tensorboard"
    )
    options = parse("fashion", line)
    assert options.latent == 7
    assert options.run == RunOptions(
        epochs=4,
        batch_size=5,
        learning_rate=0.5,
        dataset="mnist_mini",
        data_dir=Path("a"),
        sources=Path("b"),
        seed=6,
        replicas=8,
        out=Path("c"),
        tensorboard=True,
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--epochs 0", "--epochs 0"),
        ("--epochs -1", "--epochs -1"),
        ("--batch-size 0", "--batch-size 0"),
        ("--batch-size -3", "--batch-size -3"),
        ("--replicas 0", "--replicas 0"),
        ("--learning-rate 0", "--learning-rate 0"),
        ("--learning-rate -1", "--learning-rate -1"),
        ("--learning-rate nan", "--learning-rate nan"),
        ("--learning-rate inf", "--learning-rate inf"),
        ("--seed -1", "--seed -1"),
        ("--seed 2147483647", "--seed 2147483647"),
        ("--initial-epoch 1", "--initial-epoch"),
        ("--resume {missing}", "missing is not a run"),
        ("--load {missing}", "missing is not a run"),
        ("--resume {saved} --load {saved}", "--resume .* --load"),
        ("--resume {saved} --out other", "leave out --out"),
        ("--resume {saved} --latent 8", "--latent 8: .* 7"),
        ("--resume {saved} --seed 1", "--seed 1: .* 0"),
        ("--resume {saved} --replicas 3", "--replicas 3: .* 2"),
        ("--resume {saved} --batch-size 9", "--batch-size 9: .* 512"),
        ("--resume {saved} --dataset mnist", "--dataset mnist: .* fashion_mnist_mini"),
        ("--resume {saved} --epochs 0", "--epochs 0"),
    ],
)
def test_a_value_out_of_range_is_refused_in_one_line(
    line: str, message: str, saved: Path, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message) as error:
        parse("fashion", line.format(saved=saved, missing=tmp_path / "missing"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["--resume", "--load"])
def test_a_run_with_other_options_is_refused(flag: str, saved: Path) -> None:
    with pytest.raises(UserError, match=r"does not hold the options of this experiment"):
        parse("conv", f"{flag} {saved}")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        *((text, r"is not a run: .*config.json") for text in ("", "{", "[]")),
        *(
            (text, r"config.json: .* restore a copy of it, or give another run")
            for text in ("{}", '{"options": {}}', '{"options": 3}')
        ),
    ],
)
def test_a_broken_config_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=message):
        parse("fashion", f"--resume {tmp_path}")


def test_a_config_without_a_dataset_is_refused(saved: Path) -> None:
    path = saved / "config.json"
    config = json.loads(path.read_text())
    del config["dataset"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"config.json"):
        parse("fashion", f"--resume {saved}")


@pytest.mark.parametrize("name", NAMES)
def test_options_survive_json(name: str) -> None:
    line = f"{OWN_FLAGS[name]} --epochs 7 --data-dir a/b --sources c --seed 3 --tensorboard"
    options = parse(name, line)
    default = parse(name)
    unchanged = [
        field.name
        for field in dataclasses.fields(options)
        if getattr(options, field.name) == getattr(default, field.name)
    ]
    assert unchanged == []
    stored = json.loads(json.dumps(dataclasses.asdict(options), default=str))
    assert convert(options_of(name), stored, "", strict=True) == options


def test_a_resumed_run_has_its_saved_options_and_dataset(saved: Path) -> None:
    options = parse("fashion", f"--resume {saved}")
    assert options.latent == 7
    assert options.run == RunOptions(
        epochs=3,
        batch_size=512,
        learning_rate=1e-3,
        dataset="fashion_mnist_mini",
        replicas=2,
        resume=saved,
    )
    assert options.run.restored == saved


def test_a_resumed_run_may_train_longer_on_data_in_another_folder(saved: Path) -> None:
    line = f"--resume {saved} --epochs 9 --initial-epoch 2 --data-dir d --tensorboard"
    run = parse("fashion", line).run
    assert (run.epochs, run.initial_epoch, run.data_dir) == (9, 2, Path("d"))
    assert run.tensorboard


def test_one_flag_starts_or_continues_a_run(saved: Path, tmp_path: Path) -> None:
    new = parse("fashion", f"--out {tmp_path / 'new'} --continue --epochs 9").run
    assert (new.out, new.resume, new.epochs) == (tmp_path / "new", None, 9)
    for line in (f"--out {saved} --continue", f"--continue --out={saved}"):
        run = parse("fashion", f"{line} --epochs 9").run
        assert (run.out, run.resume, run.continue_, run.epochs) == (None, saved, False, 9)
        assert run == parse("fashion", f"--resume {saved} --epochs 9").run
    assert parse("fashion", f"--out {saved} --no-continue").run.out == saved
    with pytest.raises(UserError, match=r"--batch-size 3.*was started with 512"):
        parse("fashion", f"--out {saved} --continue --batch-size 3")
    with pytest.raises(UserError, match="give --out, and leave out --resume"):
        parse("fashion", f"--continue --resume {saved}")


def test_a_loaded_run_may_be_evaluated_on_other_data(saved: Path) -> None:
    run = parse("fashion", f"--load {saved} --dataset mnist --out there").run
    assert (run.dataset, run.out, run.restored) == ("mnist", Path("there"), saved)


@pytest.mark.parametrize("name", NAMES)
def test_help_explains_every_common_flag(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as end:
        parse(name, "--help")
    assert end.value.code == 0
    text = " ".join(re.sub(r"[^\x20-\x7e]", " ", capsys.readouterr().out).split())
    for flag in COMMON_FLAGS:
        found = re.search(rf"--{flag} (?:[A-Z]+|\{{None\}}\|[A-Z]+|, --no-{flag})?(.*?)\(", text)
        found = found or re.search(rf"--{flag}, --no-{flag}(.*?)\(", text)
        assert found, f"--{flag} is not in the help"
        assert re.search(r"\w", found[1]), f"--{flag} has no explanation"


@pytest.mark.parametrize(
    ("problem", "code", "words"),
    [
        (None, 0, ""),
        (UserError("no such thing: give another"), 2, "error: no such thing: give another\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_run_main_exits_with_a_code_and_prints_errors(
    problem: BaseException | None,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def main(options: Any) -> None:
        assert options.latent == 9
        if problem is not None:
            raise problem

    monkeypatch.setattr(sys, "argv", ["fashion.py", "--latent", "9"])
    try:
        cli.run_main(main, options_of("fashion"))
        ended = 0
    except SystemExit as end:
        ended = end.code
    assert ended == code
    assert capsys.readouterr().err == words


@dataclasses.dataclass(frozen=True)
class Unusual:
    """Options of types that jaxae itself does not use."""

    counts: list[int]
    power: Literal[1, 2]
    anything: Any = None


def test_options_of_any_type_are_converted() -> None:
    options = convert(Unusual, {"counts": [3, 4], "power": 2, "anything": {"x": 1}}, "")
    assert options == Unusual((3, 4), 2, {"x": 1})  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="power is True; expected one of 1, 2"):
        convert(Unusual, {"counts": [], "power": True}, "")


def test_run_main_reports_a_wrong_flag_without_calling_main(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["fashion.py", "--epochs", "0"])
    with pytest.raises(SystemExit) as end:
        cli.run_main(lambda options: pytest.fail("main was called"), options_of("fashion"))
    assert end.value.code == 2
    assert capsys.readouterr().err.startswith("error: --epochs 0")


def broken_pipe() -> TextIO:
    """A stream whose reader has gone."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    return os.fdopen(write_end, "w")


def full_disk() -> TextIO:
    """A stream to a full disk."""
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    return Path("/dev/full").open("w")


@pytest.mark.parametrize("make_stream", [broken_pipe, full_disk])
@pytest.mark.parametrize(("lost", "kept"), [("stdout", "err"), ("stderr", "out")])
def test_a_run_goes_on_without_a_stream_and_reports_it_at_the_end(
    lost: str,
    kept: str,
    make_stream: Callable[[], TextIO],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    came = []

    def main(options: Any) -> None:
        for _ in range(3):
            progress.show_line("an epoch")
            print("a warning", file=sys.stderr)
            came.append(options)

    with make_stream() as stream:
        monkeypatch.setattr(sys, lost, stream)
        with pytest.raises(SystemExit) as end:
            cli.run_main(main, options_of("fashion"), arguments=[])
        assert getattr(sys, lost) is stream
        # Closing it, as Python does when it exits, is no error either.
    assert end.value.code == 1
    assert len(came) == 3
    *lines, last = getattr(capsys.readouterr(), kept).splitlines()
    assert len(lines) == 3
    assert re.match(r"error: standard \w+ cannot be written \(.*\), so part of it is lost", last)


def test_characters_that_an_encoding_lacks_are_escaped() -> None:
    file = io.BytesIO()
    stream = LossyStream("standard output", io.TextIOWrapper(file, encoding="ascii"), 1)
    print("ünï \udcff", file=stream, flush=True)  # pyright: ignore[reportArgumentType]
    assert file.getvalue().decode() == f"\\xfcn\\xef \\udcff{os.linesep}"
    assert stream.problem is None


def test_an_error_that_cannot_be_printed_keeps_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with broken_pipe() as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with pytest.raises(SystemExit) as end:
            cli.run_main(print, options_of("fashion"), arguments=["--epochs", "0"])
    assert end.value.code == 2
    assert "standard error" in capsys.readouterr().out


def test_closing_the_pipe_of_help_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with broken_pipe() as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as end:
            cli.run_main(print, options_of("fashion"), arguments=["--help"])
    assert end.value.code == 0
    assert capsys.readouterr().err == ""


def test_a_command_whose_streams_are_closed_opens_no_file_in_their_place(tmp_path: Path) -> None:
    line = program("write_with_closed_streams", str(tmp_path / "file"))
    process = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- 2>&-', "sh", *line],
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert process.returncode == 1
    assert process.stdout.startswith("error: standard error cannot be written")
    assert (tmp_path / "file").read_text() == "kept"
