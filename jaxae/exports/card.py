"""The README.md of an export: a model card as the Hugging Face Hub reads it."""

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from jaxae import data, likelihoods, pages, plots, runs
from jaxae.evaluate import experiment_name
from jaxae.exports.contents import Contents, Format
from jaxae.exports.signature import Signature, describe_batch, describe_images
from jaxae.models import count_parameters
from jaxae.network import Trained

_PICTURES = (("samples", "samples_*"), ("traversal",), ("curves",), ("interpolations",))
"""Names of pictures after that of reconstructions; of several alike the first is taken."""

_UNSHOWN = ("_std", "_replicas", "_steps", "images_per_second", "seconds")  # ends of figures' names


@dataclass(frozen=True)
class Subject:
    """What is exported: a run's network, and what a card says of it."""

    run: Path
    config: runs.Config
    trained: Trained
    signature: Signature
    contents: Contents


def write_card(folder: Path, subject: Subject, *, pictures: bool, name: str | None) -> None:
    """Writes README.md, and copies pictures of the run beside it.

    Args:
      folder: the export's folder.
      subject: what is exported.
      pictures: whether to copy pictures.
      name: OWNER/NAME of the repository on the Hub, if it is known.
    """
    copied = _copy_pictures(subject, folder) if pictures else []
    sections = [
        _front_matter(subject),
        f"# {experiment_name(subject.config)} on {subject.config.dataset.name}",
        _summary(subject),
        "## Use it",
        _usage(subject, name),
        "## Data",
        _describe_data(subject.config),
        "## Figures",
        _figures(subject),
        "## Training",
        _training(subject),
    ]
    if copied:
        shown = [f"![{caption}](pictures/{path.name})\n\n{caption}" for path, caption in copied]
        sections += ["## Pictures", *shown]
    (folder / "README.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")


def _front_matter(subject: Subject) -> str:
    """Returns the YAML that the Hub reads, whose strings are those of JSON."""
    tags = ["autoencoder", "jax", "flax", subject.contents.format]
    if subject.config.options.objective is not None:
        tags.append(subject.config.options.objective)
    lines = [
        "---",
        "library_name: jaxae",
        "tags:",
        *(f"- {json.dumps(tag)}" for tag in tags),
        "# license: choose one, such as apache-2.0",
        "---",
    ]
    return "\n".join(lines)


def _summary(subject: Subject) -> str:
    trained, contents = subject.trained, subject.contents
    likelihood = likelihoods.name_of(trained.network.likelihood) or "of its author"
    parts = [
        f"{type(trained.network.model).__name__} with {count_parameters(trained.variables):,} "
        f"parameters, trained with jaxae {subject.config.values['versions'].get('jaxae', '')}",
        f"codes {describe_batch(subject.signature.code_shape)}, likelihood {likelihood}",
        f"after {contents.epoch:.4g} of {subject.config.options.run.epochs} epochs",
    ]
    if contents.replicas > 1:
        parts.append(_describe_replica(contents))
    return "; ".join(parts).replace("  ", " ") + "."


def _describe_replica(contents: Contents) -> str:
    """Says which replica of several is exported."""
    return f"replica {contents.replica} of {contents.replicas}, counted from 0"


def _usage(subject: Subject, name: str | None) -> str:
    """Returns how to install what the export needs, and how to load it in a few lines of Python."""
    signature, chosen = subject.signature, subject.contents.format
    classes = signature.classes
    labeled = classes is not None
    example = f"np.zeros((2, {', '.join(map(str, signature.shape))}), np.{signature.input})"
    given = ", labels" if labeled else ""
    lines = _LINES[chosen]
    place = f"hf:{name}" if name is not None and chosen in ("safetensors", "npz") else "FOLDER"
    code = lines.format(
        noun=signature.noun,
        example=example,
        labels="labels = np.zeros(2, np.int32)\n" if labeled else "",
        given=given,
        fed=', "labels": labels' if labeled else "",
        place=place,
    )
    notes = [
        f"The network {describe_images(signature, subject.trained)}. Codes are float32 "
        f"{describe_batch(signature.code_shape)}.",
        *([f"Labels are int32 [N], from 0 to {classes - 1}."] if classes is not None else []),
        _NOTES[chosen],
        "`FOLDER` is the folder of this file." if "FOLDER" in code else "",
    ]
    return f"{_INSTALLED[chosen]}\n\n```python\n{code}```\n\n{' '.join(filter(None, notes))}"


_INSTALLED: dict[Format, str] = {
    "safetensors": "In a clone of jaxae, run `pip install -e '.[export]'`.",
    "npz": "In a clone of jaxae, run `pip install -e .`.",
    "stablehlo": "Run `pip install jax flatbuffers`.",
    "onnx": "Run `pip install onnxruntime`.",
}


_LINES: dict[Format, str] = {
    "safetensors": """\
import jaxae
import numpy as np

run = jaxae.load("{place}")
{noun} = {example}
{labels}codes = run.encode({noun}{given})
again = run.decode(codes{given})
""",
    "stablehlo": """\
from pathlib import Path

import numpy as np
from jax import export

reconstruct = export.deserialize(bytearray(Path("{place}/reconstruct.stablehlo").read_bytes()))
{noun} = {example}
{labels}again = reconstruct.call({noun}{given})
""",
    "onnx": """\
import numpy as np
import onnxruntime

reconstruct = onnxruntime.InferenceSession("{place}/reconstruct.onnx")
{noun} = {example}
{labels}(again,) = reconstruct.run(None, {{"{noun}": {noun}{fed}}})
""",
}
_LINES["npz"] = _LINES["safetensors"]

_NOTES: dict[Format, str] = {
    "safetensors": "`run.reconstruct` and `run.sample` are there, too. The arrays of "
    "`model.safetensors` have the names of Flax's variables.",
    "npz": "`run.reconstruct` and `run.sample` are there, too. `np.load` reads the arrays of "
    "`variables.npz`, which have the names of Flax's variables; `config.json` describes the "
    "network.",
    "stablehlo": "`encoder.stablehlo` takes the same input; `decoder.stablehlo` takes codes in "
    "place of it. They need JAX and flatbuffers, but not jaxae, and run on CPUs, NVIDIA GPUs and "
    "TPUs.",
    "onnx": "`encoder.onnx` takes the same input; `decoder.onnx` takes `codes` in place of it.",
}


def _describe_data(config: runs.Config) -> str:
    known = config.dataset
    noun = "vectors" if len(known.image_shape) == 1 else "images"
    sentences = [
        f"Trained on {known.train_images:,} {noun} of {known.name}, "
        f"{data.sides_of(known.image_shape)}; tested on {known.test_images:,}.",
    ]
    if known.validation_images:
        sentences.append(f"{known.validation_images:,} more were held out for validation.")
    if known.classes:
        sentences.append(f"They have {known.classes} classes.")
    if config.options.binarization != "none":
        sentences.append(f"Their pixels were binarized ({config.options.binarization}).")
    sentences.append(f"The SHA-256 of the dataset's content is `{known.fingerprint}`.")
    return " ".join(sentences)


def _figures(subject: Subject) -> str:
    """Returns what the run recorded at the exported epoch, and what was evaluated there."""
    rows = _rows(_recorded(subject), "training", subject)
    if (subject.run / "evaluation.json").exists():
        evaluation = runs.read_evaluation(subject.run)
        if evaluation.step == subject.contents.step:
            rows += _rows(evaluation.figures, "evaluation", subject)
    if not rows:
        return "The run has recorded none for this epoch."
    table = pages.markdown_table(["figure", "value", "measured in"], rows)
    several = subject.contents.replicas > 1
    return f"Of {_describe_replica(subject.contents)}:\n\n{table}" if several else table


def _recorded(subject: Subject) -> dict[str, Any]:
    """Returns the line of metrics.jsonl of the exported epoch; nothing without one."""
    lines = runs.read_records(subject.run)
    return next((line for line in lines if line["epoch"] == subject.contents.epoch), {})


def _rows(figures: dict[str, Any], source: str, subject: Subject) -> list[list[str]]:
    """Returns a row for each finite figure, of several replicas for that of the exported one."""
    own = _of_replica(figures, subject.contents.replica)
    return [
        [_label(name, subject.config.loss_unit), runs.format_figure(own, name), source]
        for name, value in own.items()
        if isinstance(value, float) and math.isfinite(value) and not name.endswith(_UNSHOWN)
    ]


def _label(name: str, loss_unit: str) -> str:
    """Returns a figure's name in words, that of a loss with its unit if it is known."""
    words = runs.spell_out(name)
    return f"{words}, {loss_unit}" if loss_unit and name.endswith("_loss") else words


def _of_replica(figures: dict[str, Any], replica: int) -> dict[str, Any]:
    """Returns figures in which a replica's own numbers replace means and standard deviations."""
    own = dict(figures)
    for name in figures:
        numbers = figures.get(f"{name}_replicas")
        if numbers is not None:
            own[name] = numbers[replica] if replica < len(numbers) else math.nan
            own.pop(f"{name}_std", None)
    return own


def _training(subject: Subject) -> str:
    config = subject.config
    versions = config.values["versions"]
    packages = ", ".join(f"{name} {version}" for name, version in versions.items())
    lines = [*(f"    {runs.portable(command)}" for command in config.commands), ""]
    if config.git_commit is not None:
        lines.append(f"Commit of jaxae: `{config.git_commit}`.")
    return "\n".join([*lines, f"Device: {config.device}. Versions: {packages}."])


def _copy_pictures(subject: Subject, folder: Path) -> list[tuple[Path, str]]:
    """Copies a few small pictures of the run; returns their copies and captions."""
    copied = []
    for path in _choose_pictures(subject):
        try:
            with Image.open(path) as image:
                caption = " ".join(str(image.info.get("Description", path.stem)).split())
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            print(f"warning: {path} cannot be read ({error}), and is left out", file=sys.stderr)
            continue
        copy = folder / "pictures" / path.name
        plots.copy_small(path, copy)
        copied.append((copy, caption.replace("[", "(").replace("]", ")")))
    return copied


def _choose_pictures(subject: Subject) -> list[Path]:
    """Returns pictures of the run that show the exported replica.

    Runs draw the images of replica 0 only, and of others there are the curves of all.
    """
    folder = subject.run / "pictures"
    if subject.contents.replica > 0:
        return [path for path in [folder / "curves.png"] if path.exists()]
    drawn = runs.pictures_by_epoch(subject.run)
    chosen = [path for epoch, path in drawn.items() if epoch <= subject.contents.epoch][-1:]
    for alike in _PICTURES:
        found = [path for name in alike for path in sorted(folder.glob(f"{name}.png"))]
        chosen += found[:1]
    return chosen
