"""Finds the image and the label among the features of a prepared set, as features.json has them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from jaxae.errors import UserError
from jaxae.files import Least, Most, Quoted, convert, shorten, unfit

FILE = "features.json"
NAMES = ".labels.txt"  # ends the name of a file of class names

_TFDS = "tensorflow_datasets.core.features."
_IMAGE = _TFDS + "image_feature.Image"
_CLASS_LABEL = _TFDS + "class_label_feature.ClassLabel"
_SCALARS = (_TFDS + "scalar.Scalar", _TFDS + "tensor_feature.Tensor")
_DICTIONARY = _TFDS + "features_dict.FeaturesDict"

_DEFAULT_IMAGE = "image"
_DEFAULT_LABEL = "label"
_LABEL_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)*")  # a label's name is part of files' names
_WHOLE = re.compile(r"u?int(8|16|32|64)")

_MOST_CLASSES = 1_000_000
_MOST_PIXELS = 100_000  # on a side of an image


# The entries of features.json that this module reads, under TFDS's names.


@dataclass(frozen=True)
class _Shape:
    """The shape of an image or of a tensor."""

    dimensions: tuple[Annotated[int, Quoted(), Least(-1), Most(_MOST_PIXELS)], ...] = ()


@dataclass(frozen=True)
class _Array:
    """The shape and dtype of an image or of a tensor."""

    shape: _Shape
    dtype: str


@dataclass(frozen=True)
class _ClassLabel:
    """The number of classes of a label."""

    numClasses: Annotated[int, Quoted(), Least(1), Most(_MOST_CLASSES)]


@dataclass(frozen=True)
class _ImageFeature:
    image: _Array


@dataclass(frozen=True)
class _TensorFeature:
    tensor: _Array


@dataclass(frozen=True)
class _LabelFeature:
    classLabel: _ClassLabel


@dataclass(frozen=True)
class _FeaturesDict:
    """The features of a set by name."""

    features: dict[str, Any]


@dataclass(frozen=True)
class _Features:
    """features.json."""

    featuresDict: _FeaturesDict


@dataclass(frozen=True)
class _Feature:
    """Any feature."""

    pythonClassName: str


@dataclass(frozen=True)
class Label:
    """The feature that holds the labels.

    Attributes:
      name: its name, with a slash before the name of each inner feature.
      class_names: the names of the classes; None: any whole numbers, of which each is a class.
      numbers: the index of the class of each of those whole numbers; None: they are the indices.
    """

    name: str
    class_names: tuple[str, ...] | None
    numbers: Mapping[int, int] | None = None

    def number(self, values: set[int]) -> Label:
        """Returns the label with a class for each of these whole numbers, in ascending order."""
        ordered = sorted(values)
        numbers = {value: index for index, value in enumerate(ordered)}
        return replace(self, class_names=tuple(map(str, ordered)), numbers=numbers)

    def index_of(self, value: int) -> int:
        """Returns the index of a stored label's class, or -1 for TFDS's "no label".

        Raises `ValueError` if it is of no class.
        """
        assert self.class_names is not None  # `number` was called
        index = value if self.numbers is None else self.numbers.get(value, len(self.class_names))
        if not -1 <= index < len(self.class_names):
            raise ValueError(f"its label is {value}, of {len(self.class_names)} classes")
        return index


@dataclass(frozen=True)
class Features:
    """The features of a set, by name, as features.json has them; inner ones as "outer/inner"."""

    folder: Path
    features: Mapping[str, Any]

    def image(self) -> tuple[str, tuple[int | None, int | None, int]]:
        """Returns the name of the image feature, and its height, width and channels.

        It is "image", else the only one; a side that varies is None. Raises `UserError` if there is
        no such feature, or several, and for a shape or dtype that no image has.
        """
        names = [name for name in self.features if self._class_of(name) == _IMAGE]
        names = [name for name in names if "/" not in name]
        if _DEFAULT_IMAGE in names:  # others may be masks, say
            names = [_DEFAULT_IMAGE]
        if len(names) != 1:
            found = f"{len(names)} of them: {_list(names)}" if names else _list(self.features)
            raise UserError(
                f"an example of the set in {self.folder} must have one image, but it has {found}; "
                "give another dataset"
            )
        image = self._convert(_ImageFeature, names[0]).image
        sides = image.shape.dimensions
        if image.dtype != "uint8":
            raise UserError(
                f"the image in {self.folder / FILE} has pixels of type {shorten(image.dtype)}, but "
                "must have 8 bits (uint8); give another dataset"
            )
        if len(sides) != 3 or 0 in sides or sides[2] not in (1, 3, 4):
            raise UserError(
                f"the shape of an image in {self.folder / FILE} is {list(sides)}, but must be "
                f"height, width and 1, 3 or 4 channels: {remedy(self.folder)}"
            )
        height, width = (None if side < 0 else side for side in sides[:2])
        return names[0], (height, width, sides[2])

    def label(self, wanted: str | None) -> Label | None:
        """Returns the label: the one wanted, else "label", else the only class label, else None.

        Raises `UserError` if there is none of the name wanted, and if there are several to choose
        from.
        """
        possible = {name: label for name in self.features if (label := self._as_label(name))}
        classes = [name for name in possible if self._class_of(name) == _CLASS_LABEL]
        if wanted is not None and wanted not in possible:
            choice = f"give one of {_list(possible)}" if possible else "leave it out"
            raise UserError(
                f"--label {shorten(wanted)}: the set in {self.folder} has no such label; {choice}"
            )
        if wanted is None and _DEFAULT_LABEL in possible:
            wanted = _DEFAULT_LABEL
        if wanted is None and len(classes) > 1:
            raise UserError(
                f"the set in {self.folder} has several labels, {_list(classes)}: choose one "
                f"with --label, such as --label {min(classes)}"
            )
        wanted = wanted or next(iter(classes), None)
        if wanted is None:
            return None
        if self._class_of(wanted) == _CLASS_LABEL:
            return Label(wanted, self._class_names(wanted))
        return possible[wanted]

    def _as_label(self, name: str) -> Label | None:
        """Returns a feature as a label; None if it cannot be one."""
        if not _LABEL_NAME.fullmatch(name):
            return None
        if self._class_of(name) == _CLASS_LABEL:
            return Label(name, None)
        if self._class_of(name) not in _SCALARS:
            return None
        try:
            tensor = convert(_TensorFeature, self.features[name], name).tensor
        except ValueError:  # it may be of a kind that is not known here
            return None
        if tensor.shape.dimensions:
            return None
        if tensor.dtype == "bool":
            return Label(name, ("False", "True"))
        return Label(name, None) if _WHOLE.fullmatch(tensor.dtype) else None

    def _class_names(self, name: str) -> tuple[str, ...]:
        """Returns the names of the classes of a label, or their numbers if they have no names.

        Raises `UserError` if the file of names is unreadable or names another number of classes.
        """
        count = self._convert(_LabelFeature, name).classLabel.numClasses
        file = self.folder / f"{name.replace('/', '-')}{NAMES}"
        if not file.exists():
            return tuple(map(str, range(count)))
        try:
            lines = file.read_text(encoding="utf-8").split("\n")
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): {remedy(self.folder)}") from None
        names = tuple(line.strip() for line in lines if line.strip())
        if len(names) != count:
            raise UserError(
                f"{file} names {len(names)} classes, and {self.folder / FILE} has {count}: "
                f"{remedy(self.folder)}"
            )
        return names

    def _class_of(self, name: str) -> str:
        return self._convert(_Feature, name).pythonClassName

    def _convert(self, annotation: Any, name: str) -> Any:
        try:
            key = f"featuresDict.features.{name}"
            return convert(annotation, self.features[name], key)
        except ValueError as error:
            raise unfit(self.folder / FILE, error, remedy(self.folder)) from None


def _list(names: Iterable[str]) -> str:
    """Returns names as text: the first 20, each of at most 60 characters."""
    ordered = sorted(names)
    plain = [name if name.isprintable() and len(name) <= 60 else shorten(name) for name in ordered]
    return ", ".join(plain[:20]) + (", ..." if len(plain) > 20 else "")


def parse(folder: Path, described: Any) -> Features:
    """Returns the features in the JSON of features.json, those of inner dictionaries included.

    Raises `UserError` if it has another form.
    """
    try:
        found = dict(convert(_Features, described, "").featuresDict.features)
        dictionaries = list(found)
        while dictionaries:
            outer = dictionaries.pop()
            feature = convert(_Feature, found[outer], f"featuresDict.features.{outer}")
            if feature.pythonClassName == _DICTIONARY:
                inner = convert(_Features, found.pop(outer), outer).featuresDict.features
                found |= {f"{outer}/{name}": feature for name, feature in inner.items()}
                dictionaries += [f"{outer}/{name}" for name in inner]
    except ValueError as error:
        raise unfit(folder / FILE, error, remedy(folder)) from None
    return Features(folder, found)


def remedy(folder: Path) -> str:
    """Returns the advice for a damaged set."""
    return f"remove {folder} and prepare the set again"
