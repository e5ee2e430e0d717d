"""TFDS's own builders, which prepare a test's examples, or read a test's archives."""

import gzip
import sys
import tarfile
import types
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from jaxae.data.prepared import preparation


def prepare(data_dir: Path, name: str, splits: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
    """Prepares examples as a set of TFDS, with its builder's own features and writer."""
    import tensorflow_datasets as tfds

    base, _, config = name.partition("/")
    parent = tfds.builder_cls(base)
    members = {
        "name": base,
        "__module__": parent.__module__,
        "_split_generators": lambda self, _: {
            split: enumerate(examples) for split, examples in splits.items()
        },
    }
    derived: Any = types.new_class(
        "Builder", (parent,), {"skip_registration": True}, lambda body: body.update(members)
    )
    builder = derived(data_dir=data_dir, config=config or None, file_format="array_record")
    with preparation._quiet():
        builder.download_and_prepare()


class _Downloads:
    """Stands for TFDS's download manager: finds archives in a folder, and unpacks them there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def download(self, urls: Any) -> Any:
        """Returns the path of each archive, by its URL's last part."""
        if isinstance(urls, dict):
            return {key: self.download(url) for key, url in urls.items()}
        return str(self.folder / urls.rpartition("/")[2])

    def extract(self, paths: Any) -> Any:
        """Returns the path of what each archive holds."""
        if isinstance(paths, dict):
            return {key: self.extract(path) for key, path in paths.items()}
        target = Path(f"{paths}.unpacked")
        if paths.endswith(".zip"):
            with zipfile.ZipFile(paths) as archive:
                archive.extractall(target)
        elif paths.endswith(".tar.gz"):
            with tarfile.open(paths) as archive:
                archive.extractall(target, filter="data")
        else:
            target.write_bytes(gzip.decompress(Path(paths).read_bytes()))
        return str(target)

    def download_and_extract(self, urls: Any) -> Any:
        """Returns the path of what each archive holds, by its URL's last part."""
        return self.extract(self.download(urls))


def read_with_tfds(
    name: str, folder: Path, counts: Mapping[str, int], patch: pytest.MonkeyPatch
) -> dict[str, dict]:
    """Returns the examples that TFDS's own builder reads from archives, by split and by key.

    `counts` are the numbers of examples that the builder expects in MNIST's splits and its like.
    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.image_classification import mnist

    base, _, config = name.partition("/")
    builder: Any = tfds.builder(base, config=config or None, data_dir=folder / "unused")
    tensorflow = mock.Mock()  # TFDS needs it to open files
    tensorflow.io.gfile.GFile = open
    for parent in type(builder).__mro__:
        if not parent.__module__.startswith(("tensorflow_datasets.core", "builtins", "abc")):
            patch.setattr(sys.modules[parent.__module__], "tf", tensorflow, raising=False)
    patch.setattr(mnist, "_TRAIN_EXAMPLES", counts["train"])
    patch.setattr(mnist, "_TEST_EXAMPLES", counts["test"])
    if config:
        patch.setattr(builder.builder_config, "train_examples", counts["train"])
        patch.setattr(builder.builder_config, "test_examples", counts["test"])
    splits = builder._split_generators(_Downloads(folder))
    if not isinstance(splits, dict):
        splits = {s.name: builder._generate_examples(**s.gen_kwargs) for s in splits}
    return {str(split): dict(examples) for split, examples in splits.items()}
