"""Makes the page of an evaluated run: its tables, and the words around them."""

import json
from pathlib import Path

from jaxae.evaluate import pictures
from jaxae.evaluate.figures import NetworkEvaluation
from jaxae.evaluate.images import Images
from jaxae.evaluate.tables import Results, describe_epoch, make_tables
from jaxae.network import Trained
from jaxae.pages import Page
from jaxae.runs import Config, format_figure, portable, read_records

# Arrows point to the better side.
_HIGHLIGHTS = {
    "test_mse": "Test MSE ↓",
    "test_r_squared": "Test R² ↑",
    "negative_log_likelihood": "NLL, nats ↓",
    "fid": "FID, own features ↓",
    "linear_probe_accuracy": "Linear probe ↑",
}


def make_page(
    run: Path,
    config: Config,
    results: Results,
    trained: Trained,
    images: Images,
    evaluation: NetworkEvaluation,
    links: tuple[tuple[str, str], ...] = (),
) -> Page:
    """Returns the page of a run; `trained` and `evaluation` are those of its first replica."""
    figures = results["figures"]
    replicas = results["replicas"]
    several = f", mean ± standard deviation of {replicas} replicas" if replicas > 1 else ""
    pictured = "Pictures show the first replica." if replicas > 1 else ""
    seen = {
        "none": "as they are in the dataset",
        "static": "binarized once; so were the training images (static binarization)",
        "dynamic": "binarized once; training images anew at each step (dynamic binarization)",
    }[images.binarization]
    corrupted = config.corrupted_tests
    if corrupted is None:  # the run is older than this key
        corrupted = config.experiment == "denoise"
    clean = (
        " Inputs are clean; the run's own figures, such as its curves, are of corrupted ones."
        if corrupted
        else ""
    )
    held_out = results["validation_examples"]
    validation = (
        f" Nothing learned from {held_out:,} training {results['examples']} that the run held out "
        "for validation."
        if held_out
        else ""
    )
    count = len(images.test.images)
    left_out = (f"{what}: left out, because {why}." for what, why in results["left_out"].items())
    return Page(
        title=f"{config.label} on {results['dataset']}",
        subtitle=f"{results['epoch']:.4g} epoch{'' if results['epoch'] == 1 else 's'}{several}",
        highlights=tuple(
            (title, _highlight(results, name))
            for name, title in _HIGHLIGHTS.items()
            if name in figures and not (name == "fid" and images.are_vectors)  # has no features
        ),
        tables=make_tables(results),
        charts=pictures.make_charts(read_records(run), config.loss_unit),
        pictured=pictured,
        galleries=pictures.make_galleries(run, trained, images, evaluation.generated),
        scatter=pictures.make_scatter(trained, images),
        notes=(
            f"On {count:,} test {results['examples']}, {seen}.{clean}{validation}",
            describe_epoch(results),
            *left_out,
        ),
        config=json.dumps(config.values, indent=2, ensure_ascii=False),
        facts=_facts(config),
        links=links,
    )


def _highlight(results: Results, name: str) -> str:
    """Returns a figure as text; FID comes with that of training images, to compare with."""
    figure, reference = format_figure(results["figures"], name), results["references"]
    if name != "fid" or "training_fid" not in reference:
        return figure
    return f"{figure} (training images: {format_figure(reference, 'training_fid')})"


def _facts(config: Config) -> tuple[tuple[str, str], ...]:
    """Returns how a run was trained, in a few words each."""
    seed, replicas = config.values["options"]["run"].get("seed", 0), config.options.run.replicas
    seeds = f"{seed}" if replicas == 1 else f"{seed} to {seed + replicas - 1}"
    facts = {
        "Command": "; then ".join(map(portable, config.commands)),
        "Seed" if replicas == 1 else "Seeds": seeds,
        "Commit": config.git_commit or "unknown",
        "Trained with": f"JAX {config.versions.jax} on {config.device}",
    }
    return tuple(facts.items())


def experiment_name(config: Config) -> str:
    """Returns what a page calls a run: the member of the family, or the experiment."""
    return config.label
