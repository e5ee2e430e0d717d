"""Folders of runs that were written and not trained, for tests of what reads many of them."""

import json
from pathlib import Path
from typing import Any

import numpy as np


def write_run(
    folder: Path,
    *,
    losses: tuple[float, ...] = (0.5,),
    seed: int = 0,
    finished: bool = True,
    objective: str | None = "vae",
    fingerprint: str = "a",
    evaluation: dict[str, Any] | None = None,
    summary: dict[str, Any] | None = None,
    command: str = "jaxae train --epochs 3",
    records: list[dict[str, Any]] | None = None,
    **options: Any,
) -> Path:
    """Writes the files of a run whose replicas have these test losses, without checkpoints.

    Its records are those given, or else one that has the losses.
    """
    (folder / "checkpoints").mkdir(parents=True)
    count = len(losses)
    config = {
        "experiment": "family" if objective else "fashion",
        "dataset": {
            "name": "mnist",
            "train_images": 60000,
            "test_images": 10000,
            "image_shape": [28, 28, 1],
            "fingerprint": fingerprint,
        },
        "options": {
            **({"objective": objective} if objective else {}),
            "latent": 20,
            "settings": options,  # a group, like those of a member
            "run": {"epochs": 3, "replicas": count, "seed": seed, "out": str(folder)},
        },
        "steps_per_epoch": 10,
        "command": command,
        "versions": {"jax": "0"},
        "devices": ["cpu cpu"],
    }
    (folder / "config.json").write_text(json.dumps(config))
    figures: dict[str, Any] = {"test_loss": float(np.mean(losses))}
    if count > 1:
        figures |= {
            "test_loss_std": float(np.std(losses, ddof=1)),
            "test_loss_replicas": list(losses),
        }
    record = {"epoch": 3 if finished else 1, "train_loss": 0.4, "seconds": 1.0, **figures}
    lines = [record] if records is None else records
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    if finished:
        whole = {**record, "parameters": 1000, "training_seconds": 3.0, **(summary or {})}
        (folder / "summary.json").write_text(json.dumps(whole))
    if evaluation is not None:
        written = {"figures": evaluation, "settings": {"prior": "normal"}}
        (folder / "evaluation.json").write_text(json.dumps(written))
    return folder
