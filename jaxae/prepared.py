"""A prepared set as its folder describes it.

TFDS would import whatever module a set's features.json names, and so run a stranger's code. Here
nothing is imported: the folder's JSON files are data, and each value of them is checked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from jaxae import documents
from jaxae.documents import Value
from jaxae.errors import UserError
from jaxae.typed import shorten

DATASET_INFO = "dataset_info.json"
FEATURES = "features.json"
LABELS = ".labels.txt"  # ends the name of a file of class names

TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
"""The name of a shard where a split gives none."""

IMAGE = "tensorflow_datasets.core.features.image_feature.Image"
CLASS_LABEL = "tensorflow_datasets.core.features.class_label_feature.ClassLabel"
ALLOWED = (
    IMAGE,
    CLASS_LABEL,
    "tensorflow_datasets.core.features.features_dict.FeaturesDict",
    "tensorflow_datasets.core.features.sequence_feature.Sequence",
    "tensorflow_datasets.core.features.tensor_feature.Tensor",
    "tensorflow_datasets.core.features.scalar.Scalar",
    "tensorflow_datasets.core.features.text_feature.Text",
    "tensorflow_datasets.core.features.bounding_boxes.BBoxFeature",
)
"""Classes that features may have: all TFDS's own. Only the image and the label are read."""

MOST_CLASSES = 1_000_000
MOST_PIXELS = 100_000  # on a side of an image
MOST_RECORDS = 2**31 - 1  # their indices are int32


@dataclass(frozen=True)
class Prepared:
    """What the folder of a prepared set says of the set."""

    folder: Path
    file_format: str
    shards: Mapping[str, Mapping[str, int]]  # of each split: the records in each file, by its name
    features: Value  # by name, as features.json has them

    def files(self) -> list[Path]:
        """The set's own files, in order of their names; not what else lies in its folder."""
        own = {DATASET_INFO, FEATURES, "metadata.json", "LICENSE"}.union(*self.shards.values())
        files = {path.name: path for path in self.folder.iterdir() if path.is_file()}
        return [
            files[name]
            for name in sorted(files)
            if name in own or (name.endswith(LABELS) and not name.startswith("."))
        ]

    def is_labelled(self) -> bool:
        """Whether this is a training and a test split of 8-bit images with labels."""
        fields = self.features.fields()
        if not {"image", "label"} <= set(fields) or not {"train", "test"} <= set(self.shards):
            return False
        image, label = fields["image"], fields["label"]
        return (
            image.get("pythonClassName").content == IMAGE
            and image.get("image").get("dtype").text() == "uint8"
            and label.get("pythonClassName").content == CLASS_LABEL
        )

    def image_shape(self) -> tuple[int | None, int | None, int]:
        """Height, width and channels of an image; None for a side that the set leaves open."""
        dimensions = self.features.get("image").get("image").get("shape").get("dimensions")
        sides = [side.integer(-1, MOST_PIXELS) for side in dimensions.items()]
        if len(sides) != 3 or 0 in sides or sides[2] not in (1, 3, 4):
            raise UserError(
                f"{dimensions.key} in {dimensions.file} is {sides}, where height, width and 1, 3 "
                f"or 4 channels are needed: {dimensions.remedy}"
            )
        height, width = (None if side < 0 else side for side in sides[:2])
        return height, width, sides[2]

    def class_names(self) -> tuple[str, ...]:
        """The names of the classes, or their numbers if they have no names."""
        number = self.features.get("label").get("classLabel").get("numClasses")
        count = number.integer(1, MOST_CLASSES)
        file = self.folder / f"label{LABELS}"
        if not file.exists():
            return tuple(map(str, range(count)))
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): {number.remedy}") from None
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) != count:
            number.refuse(f"{len(names)}, the number of class names in {file},")
        return names


def read(folder: Path) -> Prepared:
    """What the set prepared in `folder` consists of.

    Raises UserError where its files are damaged, or name a class that is not TFDS's own.
    """
    remedy = f"remove {folder} and prepare the set again"
    info = documents.read(folder / DATASET_INFO, remedy)
    features = documents.read(folder / FEATURES, remedy)
    for value in _classes(features):
        if value.content not in ALLOWED:
            allowed = ", ".join(name.rpartition(".")[2] for name in ALLOWED)
            raise UserError(
                f"{value.key} in {value.file} is {shorten(value.content)}, where a class "
                f"of TFDS itself ({allowed}) is needed, for any other would run code of the set's "
                "author: prepare the set again without it"
            )
    stored = info.get("fileFormat")
    file_format = "tfrecord" if stored.content is None else stored.text()
    dataset = info.get("name").text()
    return Prepared(
        folder,
        file_format,
        {
            split.get("name").text(): _shards(dataset, file_format, split)
            for split in info.get("splits").items()
        },
        features.get("featuresDict").get("features"),
    )


def fingerprint(files: list[Path], *, times: bool) -> str:
    """A digest of the names and sizes of files, and perhaps of when they were written."""
    stats = [(path.name, path.stat()) for path in files]
    states = [
        (name, stat.st_size, stat.st_mtime_ns) if times else (name, stat.st_size)
        for name, stat in stats
    ]
    return hashlib.sha256(repr(states).encode()).hexdigest()


def _classes(features: Value) -> Iterator[Value]:
    """The class names that features.json holds, at whatever depth."""
    open_values = [features]
    while open_values:
        value = open_values.pop()
        if isinstance(value.content, dict):
            if "pythonClassName" in value.content:
                yield value.get("pythonClassName")
            open_values += value.fields().values()
        elif isinstance(value.content, list):
            open_values += value.items()


def _shards(dataset: str, file_format: str, split: Value) -> dict[str, int]:
    """How many records each file of a split holds, by its name, as TFDS makes names."""
    template, lengths = split.get("filepathTemplate"), split.get("shardLengths")
    counts = [] if lengths.content is None else lengths.items()
    digits = max(5, len(str(len(counts))))
    shards = {}
    for index, count in enumerate(counts):
        name = TEMPLATE if template.content is None else template.text()
        number, total = f"{index:0{digits}}", f"{len(counts):0{digits}}"
        for variable, text in {
            "DATASET": dataset,
            "SPLIT": split.get("name").text(),
            "FILEFORMAT": file_format,
            "SHARD_X_OF_Y": f"{number}-of-{total}",
            "SHARD_INDEX": number,
            "NUM_SHARDS": total,
        }.items():
            name = name.replace(f"{{{variable}}}", text)
        if not re.fullmatch(r"[\w.%+-]{1,200}", name):
            raise UserError(
                f"{split.key} in {split.file} is stored in {shorten(name)}, where the "
                f"name of a file in the same folder is needed: {split.remedy}"
            )
        shards[name] = count.integer(0, MOST_RECORDS)
    return shards
