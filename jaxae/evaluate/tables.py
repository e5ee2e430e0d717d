"""The tables of an evaluated run: its figures, what they mean, and what they compare with."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from jaxae.evaluate.decimals import format_row
from jaxae.evaluate.log_likelihood import LIKELIHOOD
from jaxae.pages import Row, Table

Results = Mapping[str, Any]
"""What evaluation.json holds."""

_RECONSTRUCTION = {
    "test_mse": ("MSE", "lower is better: mean squared error of {number}"),
    "test_psnr": ("PSNR, dB", "higher is better: peak signal-to-noise ratio, mean over images"),
    "test_ssim": ("SSIM", "higher is better, at most 1: structural similarity, mean over images"),
    "test_r_squared": ("R²", "higher is better, at most 1: share of each number's variance, mean"),
}
_CODES = {
    "negative_log_likelihood": (
        "Negative log-likelihood, nats",
        "lower is better: {samples} importance samples; {weighed:,} test {examples}; "
        "binarization: {binarization}",
    ),
    "active_units": ("Active units", "dimensions whose posterior mean has a variance above 0.01"),
    "codes_used": ("Codes used", "of the codebook's {codebook_size:.0f}, by the test {examples}"),
    "codebook_perplexity": (
        "Codebook perplexity",
        "number of evenly used codes with the same entropy",
    ),
}
_PROBES = {
    "linear_probe_accuracy": (
        "Linear probe",
        "higher is better: accuracy of a linear classifier that learned from {learned}",
    ),
    "neighbour_accuracy": (
        "Nearest neighbors",
        "higher is better: accuracy of a vote of five of these training {examples}",
    ),
}
_GENERATION = {
    "fid": ("{fid}", "lower is better: Fréchet distance to test {examples}"),
    "kid": ("{kid}", "closer to 0 is better: kernel distance to test {examples}"),
    "precision": (
        "Precision",
        "to be read with recall: share that lies among test {examples}, which may be 1 where all "
        "are alike",
    ),
    "recall": ("Recall", "higher is better: share of test {examples} that it covers"),
    "inception_score": (
        "Inception Score",
        "higher is better: clear and varied classes; at most their number",
    ),
}
_COST = {
    "parameters": ("Parameters", ""),
    "epochs": ("Epochs", ""),
    "training_seconds": ("Seconds of training", "all replicas, without evaluation"),
}

# Columns: the prefix of the figures' names, and the head. Those after the first are references.
_BASELINES = {"": "codes", "pca_": "PCA of the same size", "pixels_": "{numbers}"}
_RECONSTRUCTED = {"": "network", "pca_": "PCA of the same size"}
_COMPARED = {
    "": "generated",
    "mixture_": "from a mixture",
    "reconstruction_": "reconstructions",
    "training_": "training {examples}",
}


def make_tables(results: Results) -> tuple[Table, ...]:
    """Returns the tables of figures, without the rows, columns and tables that do not apply."""
    figures, settings, examples = (results[name] for name in ("figures", "settings", "examples"))
    known = {**figures, **results["references"], **results["cost"]}
    words = {
        **settings,
        "learned": _learned(results),
        "codebook_size": figures.get("codebook_size"),
        "binarization": results["binarization"],
        "examples": examples,
        "fid": "FID" if examples == "images" else "Fréchet distance",
        "kid": "KID" if examples == "images" else "Kernel distance",
        "numbers": "pixels" if examples == "images" else examples,
        "number": "a pixel in [0, 1]" if "test_psnr" in figures else "a number, after any scaling",
    }
    tables = (
        _make_table(
            "Reconstruction", _RECONSTRUCTION, _RECONSTRUCTED, known, words, _pca_note(results)
        ),
        _with_why_no_likelihood(
            _make_table("Likelihood and use of the code", _CODES, {"": ""}, known, words), results
        ),
        _make_table("Classes predicted from codes", _PROBES, _BASELINES, known, words),
        _make_table("Generated {examples}", _GENERATION, _COMPARED, known, words, _note(results)),
        _make_table("Cost", _COST, {"": ""}, known, words),
    )
    return tuple(table for table in tables if table.rows)


def _with_why_no_likelihood(table: Table, results: Results) -> Table:
    """Returns a table with a row that says why there is no likelihood, if there is none."""
    why = results["left_out"].get(LIKELIHOOD)
    if why is None:
        return table
    title, _ = _CODES["negative_log_likelihood"]
    row = Row(title, ("-",), f"there is none: {why}")
    return replace(table, head=table.head or ("",), rows=(row, *table.rows))


def make_seconds_table(seconds: Mapping[str, Any], replicas: int) -> Table:
    """Returns the table of the seconds of each stage, as mean ± std if each replica has it."""
    stages = [name for name in seconds if not name.endswith(("_std", "_replicas"))]
    total = sum(sum(seconds.get(f"{name}_replicas", [seconds[name]])) for name in stages)
    rows = [Row(name.capitalize(), (_seconds(seconds, name),)) for name in stages]
    each = ", mean of a replica" if replicas > 1 else ""
    return Table(f"Seconds{each}", ("",), (*rows, Row("All", (f"{total:.1f}",))))


def _seconds(seconds: Mapping[str, Any], name: str) -> str:
    """Returns the seconds of a stage as text."""
    deviation = seconds.get(f"{name}_std")
    return f"{seconds[name]:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def describe_epoch(results: Results) -> str:
    """Returns a sentence about the epoch that is evaluated, and whether it is the run's best."""
    why = {
        None: "",
        "validation": ", which has the lowest validation loss of the run",
        "test": ", which has the lowest test loss of the run: if it was chosen for that, its test "
        "figures are too good",
    }[results["lowest_loss_on"]]
    return f"Evaluated after epoch {results['epoch']:.4g}{why}."


def _pca_note(results: Results) -> str:
    """Returns in words what PCA is fitted to; nothing without PCA."""
    if not any(name.startswith("pca_") for name in results["references"]):
        return ""
    return f"PCA is fitted to {_learned(results)}."


def _learned(results: Results) -> str:
    """Returns in words how many training examples probes and PCA learn from, and which."""
    count, examples = results["settings"]["learned"], results["examples"]
    everything = results["training_examples"]
    if count == everything:
        return f"all {count:,} training {examples}"
    return f"{count:,} of the {everything:,} training {examples}, drawn at random"


def _note(results: Results) -> str:
    """Returns in words by which features generated examples are compared."""
    features, examples = results["features"], results["examples"]
    if features is None:
        return ""
    network = ""
    if "digest" in features:
        network = (
            f" Its accuracy in that, on test images, is {features['accuracy']:.4f}; its digest "
            f"begins with {features['digest'][:12]}."
        )
    return (
        f"{features['note']}{network} {results['settings']['generated']:,} {examples} of each kind "
        f"are compared with the dataset's own {examples}, which are not binarized even if the "
        "run's are."
    )


def _make_table(
    title: str,
    names: Mapping[str, tuple[str, str]],
    columns: Mapping[str, str],
    known: Mapping[str, Any],
    words: Mapping[str, Any],
    note: str = "",
) -> Table:
    """Returns a table of the known figures: rows and columns in which there is at least one."""
    kept = [prefix for prefix in columns if any(prefix + name in known for name in names)]
    rows = [
        Row(
            row_title.format(**words),
            format_row(known, [prefix + name for prefix in kept]),
            explanation.format(**words),
        )
        for name, (row_title, explanation) in names.items()
        if any(prefix + name in known for prefix in kept)
    ]
    heads = tuple(columns[prefix].format(**words) if len(kept) > 1 else "" for prefix in kept)
    return Table(title.format(**words), heads, tuple(rows), note)
