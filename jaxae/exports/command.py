"""Exports a trained run: its network in a format that others can load, with a model card.

    jaxae export results/family/RUN --format onnx

Writes a folder with README.md, the card, and

- safetensors: the variables, which `jaxae.load(FOLDER)` loads without the run's checkpoints
- npz: the same, for NumPy
- stablehlo: encoder, decoder and reconstruct as programs for JAX on CPUs, NVIDIA GPUs and TPUs
- onnx: the same three for ONNX Runtime and other programs

The functions take batches of any size. They read uint8 pixels, or the data's own numbers, and
return floats in [0, 1], or the data's own numbers. Takes seconds, for large convolutional networks
a minute. An existing export in the folder is replaced.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

import jaxae
from jaxae import evaluate, runs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.exports import arrays, onnx_models, stablehlo
from jaxae.exports.card import Subject, write_card
from jaxae.exports.contents import (
    CONTENTS_FILE,
    Contents,
    Format,
    digest,
    shared_config,
)
from jaxae.exports.folder import check_place, whole_folder
from jaxae.exports.signature import Input, signature_of
from jaxae.files import encode_json
from jaxae.network import Trained


@dataclass(frozen=True)
class Options:
    """Exports a trained run for sharing."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run to export

    # --- checkpoint ---
    # epoch of the checkpoint to export, or best for the lowest validation loss, or test loss if
    # the run has no validation images (default: the latest, or of a run with --patience the best)
    epoch: int | Literal["best"] | None = None
    replica: int = 0  # number of the replica to export, if the run has several

    # --- export ---
    format: Format = "safetensors"  # format of the network
    # type of the numbers that programs read: uint8 pixels, or floats (default: uint8 for images,
    # unless the data are floats that were scaled or standardized)
    input: Input | None = None
    pictures: bool = True  # copy a few pictures of the run into the card

    # --- output ---
    out: Path | None = None  # folder to write (default: RUN/export-FORMAT)


def main(options: Options) -> None:
    """Exports a run."""
    started = time.perf_counter()
    folder = export_run(options)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    seconds = time.perf_counter() - started
    print(f"done: {folder}, {size / 1e6:.1f} MB in {seconds:.0f} s; README.md says how to load it")


def export_run(
    options: Options,
    *,
    step: int | None = None,
    trained: Trained | None = None,
    name: str | None = None,
) -> Path:
    """Writes the export of a run, and returns its folder.

    Args:
      options: of the command.
      step: the step of the checkpoint, in place of the option.
      trained: the run's network at that step; by default it is loaded.
      name: OWNER/NAME of the repository on the Hub that the card names, if it is known.

    Raises:
      UserError: the run cannot be loaded, its network cannot be written in the format, a package is
        missing, or the folder is no export and not empty.
    """
    config = runs.read_config(options.run)
    folder = options.out or options.run / f"export-{options.format}"
    check_place(folder)
    if step is None:
        step = evaluate.choose_step(evaluate.Options(options.run, epoch=options.epoch))
    trained = trained or runs.load(options.run, step, replica=options.replica)
    shape = config.dataset.image_shape
    _check_input(options.input, trained, shape)
    contents = Contents(
        options.format,
        jaxae.__version__,
        step,
        step / config.steps_per_epoch,
        options.replica,
        config.options.run.replicas,
        {},
    )
    signature = signature_of(trained, shape, options.input)
    subject = Subject(options.run, config, trained, signature, contents)
    with whole_folder(folder) as place:
        description = shared_config(config)
        if options.format == "stablehlo":
            stablehlo.write(place, trained, signature)
        elif options.format == "onnx":
            onnx_models.write(place, trained, signature)
        else:
            metadata = {"format": "flax", "config": encode_json(description)}
            arrays.write(place, options.format, trained.variables, metadata)
        _write(place / runs.CONFIG_FILE, encode_json(description, indent=2))
        write_card(place, subject, pictures=options.pictures, name=name)
        written = sorted(path for path in place.rglob("*") if path.is_file())
        sums = {path.relative_to(place).as_posix(): digest(path) for path in written}
        listed = asdict(replace(contents, files=sums))
        _write(place / CONTENTS_FILE, encode_json(listed, indent=2))
    return folder


def _write(path: Path, text: str) -> None:
    """Writes a text file into the temporary folder of an export."""
    path.write_text(f"{text}\n", encoding="utf-8")


def _check_input(asked: Input | None, trained: Trained, shape: tuple[int, ...]) -> None:
    """Raises `UserError` if the network reads no pixels, but should."""
    if asked != "uint8":
        return
    if len(shape) == 1 or trained.scaling is not None or trained.standardized:
        raise UserError(
            "--input uint8 was given for a network that was trained on other numbers than pixels: "
            "leave it out, or give --input float32"
        )


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
