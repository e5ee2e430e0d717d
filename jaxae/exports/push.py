"""Uploads a run or an export to the Hugging Face Hub.

    jaxae push results/family/RUN OWNER/NAME --private

A run is exported as safetensors first, with its model card; an export is uploaded as it is.
`jaxae.load("hf:OWNER/NAME")` then loads the network anywhere, if the format is safetensors or npz;
the card says how to use the others. Creates the repository if it does not exist. The card has
a few pictures that the run drew of its data. Takes seconds, and the time of the upload.

Log in with `hf auth login` first, or set HF_TOKEN.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxae import runs
from jaxae.cli import run_tool
from jaxae.errors import UserError
from jaxae.exports import command, hub
from jaxae.exports.contents import is_export, read_contents, verify


@dataclass(frozen=True)
class Options:
    """Uploads a run or an export to the Hugging Face Hub."""

    run: Annotated[Path, tyro.conf.Positional]  # folder of the run, or of an export
    # repository on the Hub, OWNER/NAME: your user name or an organization, and its own name
    name: Annotated[str, tyro.conf.Positional]

    # --- checkpoint ---
    # epoch of the run's checkpoint, or best for the lowest validation loss, or test loss if the
    # run has no validation images (default: the latest, or of a run with --patience the best)
    epoch: int | Literal["best"] | None = None
    replica: int | None = None  # number of the replica, if the run has several (default: 0)

    # --- output ---
    private: bool = False  # make a new repository private
    pictures: bool = True  # copy a few pictures of the run into the card


def main(options: Options) -> None:
    """Uploads a folder."""
    name = hub.check_name(options.name)
    if is_export(options.run):
        _check_export(options)
        url = hub.upload(options.run, name, private=options.private)
    else:
        runs.read_config(options.run)
        hub.check_login()  # before the export takes its time
        url = _push_run(options, name)
    print(f"done: {url}")


def _check_export(options: Options) -> None:
    """Raises `UserError` if an export is damaged, or options are given that only a run has."""
    for flag in ("epoch", "replica"):
        if getattr(options, flag) is not None:
            raise UserError(
                f"--{flag} chooses what of a run is exported, and {options.run} is an export: "
                "leave it out, or give the run"
            )
    contents = read_contents(options.run)
    edited = "README.md"  # the user's to edit, to add a license
    verify(options.run, contents, [file for file in contents.files if file != edited])


def _push_run(options: Options, name: str) -> str:
    """Exports a run into a temporary folder, uploads that, and returns the repository's URL."""
    with tempfile.TemporaryDirectory(prefix="jaxae-") as place:
        out = Path(place) / "export"
        chosen = command.Options(
            options.run,
            epoch=options.epoch,
            replica=options.replica or 0,
            pictures=options.pictures,
            out=out,
        )
        command.export_run(chosen, name=name)
        return hub.upload(out, name, private=options.private)


def start(arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Runs the command on arguments, by default the process's own."""
    run_tool(main, Options, description=__doc__, arguments=arguments, program=program)
