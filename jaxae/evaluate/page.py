"""Makes the page of an evaluated run: its tables, and the words around them."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxae.evaluate import pictures
from jaxae.evaluate.figures import EvaluationSettings, NetworkEvaluation
from jaxae.evaluate.images import Images
from jaxae.network import Trained
from jaxae.pages import Page, Row, Table
from jaxae.runs import Config, format_figure, read_records

_Results = Mapping[str, Any]  # as in evaluation.json

_RECONSTRUCTION = {
    "test_mse": ("MSE", "mean squared error of a pixel in [0, 1]"),
    "test_psnr": ("PSNR, dB", "peak signal-to-noise ratio, the mean over images"),
    "test_ssim": ("SSIM", "structural similarity, at most 1, the mean over images"),
    "reconstruction_fid": ("FID of reconstructions", "to the test images, on our features"),
}
_CODES = {
    "negative_log_likelihood": (
        "Negative log-likelihood, nats",
        "{samples} importance samples; {weighed:,} test images; binarization: {binarization}",
    ),
    "active_units": ("Active units", "dimensions whose posterior mean has a variance above 0.01"),
    "codes_used": ("Codes used", "of the codebook's {codebook_size:.0f}, by the test images"),
    "codebook_perplexity": (
        "Codebook perplexity",
        "number of evenly used codes with the same entropy",
    ),
}
_PROBES = {
    "linear_probe_accuracy": ("Linear probe", "accuracy of a logistic regression"),
    "neighbour_accuracy": ("Nearest neighbors", "accuracy of a vote of five"),
}
_GENERATION = {
    "fid": ("FID", "Fréchet distance to test images; 0 is best"),
    "kid": ("KID", "kernel distance to test images; 0 is best"),
    "precision": ("Precision", "share of a column's images among test images, by five neighbors"),
    "recall": ("Recall", "share of test images among a column's images"),
    "inception_score": (
        "Inception Score",
        "high for clear and varied classes; at most their number",
    ),
}
_COST = {
    "parameters": ("Parameters", ""),
    "epochs": ("Epochs", ""),
    "training_seconds": ("Seconds of training", "all replicas, without evaluation"),
}
_HIGHLIGHTS = {
    "test_mse": "Test MSE",
    "negative_log_likelihood": "NLL, nats",
    "fid": "FID, our features",
    "linear_probe_accuracy": "Linear probe",
}


def make_page(
    run: Path,
    config: Config,
    results: _Results,
    trained: Trained,
    images: Images,
    evaluation: NetworkEvaluation,
    settings: EvaluationSettings,
) -> Page:
    """Returns the page of a run; `trained` and `evaluation` are those of its first replica."""
    figures = results["figures"]
    replicas = results["replicas"]
    several = f", mean ± standard deviation of {replicas} replicas" if replicas > 1 else ""
    pictured = " Pictures show the first replica." if replicas > 1 else ""
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
    return Page(
        title=f"{experiment_name(config)} on {results['dataset']}",
        subtitle=f"{results['epoch']:.4g} epoch{'' if results['epoch'] == 1 else 's'}{several}",
        highlights=tuple(
            (title, format_figure(figures, name))
            for name, title in _HIGHLIGHTS.items()
            if name in figures
        ),
        tables=_make_tables(results, settings),
        charts=pictures.make_charts(read_records(run)),
        galleries=pictures.make_galleries(
            run, trained, images, evaluation.generated, settings.prior
        ),
        scatter=pictures.make_scatter(trained, images),
        notes=(f"On {len(images.test):,} test images, {seen}.{clean}{pictured}",),
        config=json.dumps(config.values, indent=2, ensure_ascii=False),
    )


def experiment_name(config: Config) -> str:
    """Returns the name of the experiment, with the member of the family if it has one."""
    objective = config.options.objective
    return config.experiment if objective is None else f"{config.experiment}: {objective}"


def _make_tables(results: _Results, settings: EvaluationSettings) -> tuple[Table, ...]:
    """Returns the tables of figures, without the rows and tables that do not apply."""
    figures, cost, judge = (results[name] for name in ("figures", "cost", "classifier"))
    known = {**figures, **results["references"], **cost}
    words = {**asdict(settings), "codebook_size": figures.get("codebook_size")}
    words |= {"binarization": results["binarization"]}
    features = (
        f"{judge['note']} The classifier's accuracy on the test images is "
        f"{judge['accuracy']:.4f}; its digest begins with {judge['digest'][:12]}. "
        f"{settings.generated:,} images of each kind are compared with the dataset's own images, "
        "which are not binarized even if the run's are."
    )
    heads = {"": "codes", "pca_": "PCA of the same size", "pixels_": "pixels"}
    probed = {prefix: heads[prefix] for prefix in heads if f"{prefix}neighbour_accuracy" in known}
    generated = {"": "generated", "mixture_": "from a mixture", "training_": "training images"}
    compared = {prefix: head for prefix, head in generated.items() if f"{prefix}fid" in known}
    tables = (
        _make_table("Reconstruction", _RECONSTRUCTION, {"": ""}, known, words),
        _make_table("Likelihood and use of the code", _CODES, {"": ""}, known, words),
        _make_table("Classes predicted from codes", _PROBES, probed, known, words),
        _make_table("Generated images", _GENERATION, compared, known, words, features),
        _make_table("Cost", _COST, {"": ""}, known, words),
    )
    return tuple(table for table in tables if table.rows)


def _make_table(
    title: str,
    names: Mapping[str, tuple[str, str]],
    columns: Mapping[str, str],
    known: Mapping[str, Any],
    words: Mapping[str, Any],
    note: str = "",
) -> Table:
    """Returns a table: a row per known figure, a column with a head per prefix of its name."""
    rows = [
        Row(
            row_title,
            tuple(format_figure(known, prefix + name) for prefix in columns),
            explanation.format(**words),
        )
        for name, (row_title, explanation) in names.items()
        if name in known
    ]
    return Table(title, tuple(columns.values()), tuple(rows), note)
