"""Prepared datasets in the layout of TFDS, written file by file so that tests can damage each."""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAME = "cmaterdb"  # a dataset of TFDS without original archives in jaxae
SIDE = 5

_TFDS = "tensorflow_datasets.core.features."
IMAGE = {
    "image": {"dtype": "uint8", "shape": {"dimensions": [str(SIDE), str(SIDE), "1"]}},
    "pythonClassName": _TFDS + "image_feature.Image",
}
LABEL = {
    "classLabel": {"numClasses": "2"},
    "pythonClassName": _TFDS + "class_label_feature.ClassLabel",
}


def features(**fields: Any) -> dict[str, Any]:
    """Returns the JSON of features.json, with further fields."""
    return {
        "featuresDict": {"features": {"image": IMAGE, "label": LABEL, **fields}},
        "pythonClassName": _TFDS + "features_dict.FeaturesDict",
    }


def info(count: int) -> dict[str, Any]:
    """Returns the JSON of dataset_info.json for `count` images in each split."""
    return {
        "name": NAME,
        "fileFormat": "array_record",
        "splits": [{"name": split, "shardLengths": [str(count)]} for split in ("train", "test")],
        "version": "1.0.0",
    }


def gray(value: int) -> bytes:
    """Returns a PNG of one shade."""
    return png(np.full((SIDE, SIDE), value, np.uint8))


def png(pixels: np.ndarray, **options: Any) -> bytes:
    """Encodes pixels as a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png", **options)
    return file.getvalue()


def write(data_dir: Path, images: Sequence[bytes], labels: Sequence[int] | None = None) -> Path:
    """Writes a dataset with these encoded images in both splits; returns its folder."""
    folder = data_dir / NAME / "1.0.0"
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(info(len(images))))
    (folder / "features.json").write_text(json.dumps(features()))
    labels = [0] * len(images) if labels is None else labels
    for split in ("train", "test"):
        write_shard(shard(folder, split), images, labels)
    return folder


def shard(folder: Path, split: str) -> Path:
    """Returns the path of a split's only file."""
    return folder / f"{NAME}-{split}.array_record-00000-of-00001"


def write_shard(
    file: Path, images: Sequence[bytes], labels: Sequence[int], image_name: str = "image"
) -> None:
    """Writes records of encoded images and labels."""
    from array_record.python.array_record_module import ArrayRecordWriter
    from tensorflow_datasets.proto import tf_example_pb2

    proto: Any = tf_example_pb2
    writer = ArrayRecordWriter(str(file), "group_size:1")
    for image, label in zip(images, labels, strict=True):
        example = proto.Example()
        example.features.feature[image_name].bytes_list.value.append(image)
        example.features.feature["label"].int64_list.value.append(label)
        writer.write(example.SerializeToString())
    writer.close()
