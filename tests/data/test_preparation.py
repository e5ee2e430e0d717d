"""Sets that TFDS alone has prepared."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from jaxae import data
from jaxae.data import cache
from jaxae.data.prepared import preparation, sets, verified
from jaxae.errors import UserError
from support import tiny

small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)
source_root = pytest.fixture(tiny.source_root)


def prepare_other(
    data_dir: Path, sizes: list[int], features: str = "image label", splits: str = "train test"
) -> None:
    """Prepares a set 'cmaterdb' of color images with these side lengths, with TFDS alone."""
    import io

    import tensorflow_datasets as tfds
    from PIL import Image

    image_name, label_name = features.split()

    class Cmaterdb(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "cmaterdb"
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            side = sizes[0] if len(set(sizes)) == 1 else None
            return tfds.core.DatasetInfo(
                builder=self,
                features=tfds.features.FeaturesDict(
                    {
                        image_name: tfds.features.Image(shape=(side, side, 3)),
                        label_name: tfds.features.ClassLabel(names=["cat", "dog"]),
                    }
                ),
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples() for split in splits.split()}

        def _generate_examples(self):
            for index, side in enumerate(sizes):
                file = io.BytesIO()
                Image.fromarray(np.full((side, side, 3), (index, 1, 2), np.uint8)).save(file, "png")
                yield index, {image_name: io.BytesIO(file.getvalue()), label_name: index % 2}

    with preparation._quiet():
        Cmaterdb(data_dir=data_dir, file_format="array_record").download_and_prepare()


def test_another_prepared_set_loads(tmp_path: Path) -> None:
    prepare_other(tmp_path, sizes=[5] * 6)
    for _ in range(2):  # decoded, then cached
        dataset = data.load("cmaterdb", data_dir=tmp_path)
        assert dataset.train.images.shape == (6, 5, 5, 3)
        assert dataset.class_names == ("cat", "dog")
        indices = dataset.train.images[:, 0, 0, 0]
        assert sorted(indices) == list(range(6))
        np.testing.assert_array_equal(dataset.train.labels, indices % 2)
        np.testing.assert_array_equal(dataset.train.images[0, 0, 0, 1:], [1, 2])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sizes": [5, 6]}, "images of several sizes"),
        ({"sizes": [5], "splits": "train"}, "no split test, and .* only one example"),
        ({"sizes": [5], "splits": "dev test"}, r"no split train, only \['dev', 'test'\]"),
    ],
)
def test_unsuitable_sets_are_refused(tmp_path: Path, options: dict, message: str) -> None:
    prepare_other(tmp_path, **options)
    with pytest.raises(UserError, match=message):
        data.load("cmaterdb", data_dir=tmp_path)
    assert not list(tmp_path.rglob("*jaxae*"))


def test_a_configuration_must_be_named(tmp_path: Path) -> None:
    prepare_other(tmp_path / "root", sizes=[5])
    shutil.copytree(tmp_path / "root/cmaterdb", tmp_path / "cmaterdb/bangla")
    assert data.load("cmaterdb/bangla", data_dir=tmp_path).name == "cmaterdb/bangla"
    with pytest.raises(UserError, match="name one of cmaterdb/bangla"):
        data.load("cmaterdb", data_dir=tmp_path)


def test_a_set_in_tfrecord_format_is_refused(source_root: Path, tmp_path: Path) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    info = next(tmp_path.rglob(sets.DATASET_INFO))
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(UserError, match="stored as tfrecord, which only TensorFlow can read"):
        data.load("mnist", data_dir=tmp_path)


def test_a_prepared_set_with_other_content_is_refused(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    shutil.rmtree(next(tmp_path.rglob(cache.FOLDER)))
    other = tiny.original(tiny.arrays(seed=1))
    monkeypatch.setitem(verified.ARRAYS, "mnist", other)
    with pytest.raises(UserError, match=r"test split prepared in .* is not the original"):
        data.load("mnist", data_dir=tmp_path)


def test_a_damaged_prepared_set_is_an_error(source_root: Path, tmp_path: Path) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    records = next(tmp_path.rglob("*train.array_record*"))
    os.truncate(records, records.stat().st_size // 2)
    with pytest.raises(UserError, match="is damaged"):
        data.load("mnist", data_dir=tmp_path)
