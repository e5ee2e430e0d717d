"""Loading by name: prepared, cached, bundled and default sets; wrong names and folders."""

import errno
import gzip
import os
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxae import data
from jaxae.data import cache, connection, decoded
from jaxae.data.prepared import archives, decoding, verified
from jaxae.data.reading import Reading
from jaxae.errors import UserError
from support import tiny
from support.commands import environment, run_program
from support.tiny import ARRAYS, assert_small_mnist, left_over

small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)
source_root = pytest.fixture(tiny.source_root)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "why_unreachable", lambda url, size: "no network in this test")


# What works.


def test_load_prepares_from_archives_then_reads_the_cache(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = data.load("mnist", data_dir=tmp_path / "data", sources=source_root)
    assert_small_mnist(first)
    assert first.train.labels is not None
    assert first.train.labels.dtype == np.int32
    monkeypatch.setattr(decoding, "decode", None)  # the second load must not decode
    second = data.load("mnist", data_dir=tmp_path / "data")
    assert_small_mnist(second)
    assert isinstance(second.train.images, np.memmap)
    assert second.fingerprint == first.fingerprint
    for dataset in (first, second):
        with pytest.raises(ValueError, match="read-only"):
            dataset.train.images[0] = 0


def test_folders_come_from_the_environment(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JAXAE_SOURCES", str(source_root))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "data"))
    assert_small_mnist(data.load("mnist"))
    assert (tmp_path / "data/mnist").is_dir()


def test_tfds_alone_reads_what_is_prepared(source_root: Path, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds

    data.load("mnist", data_dir=tmp_path, sources=source_root)
    decoders = {"image": tfds.decode.SkipDecoding()}  # decoding warns of a missing OpenCV
    builder = tfds.builder("mnist", data_dir=tmp_path)
    splits: Any = builder.as_data_source(decoders=decoders)
    assert (len(splits["train"]), len(splits["test"])) == (40, 20)
    assert str(builder.version) == "3.0.1"
    assert splits["train"][0]["image"].startswith(b"\x89PNG")


@pytest.mark.slow
def test_fast_path_does_not_import_tfds(source_root: Path, tmp_path: Path) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    process = run_program("load_sets", str(tmp_path))
    assert process.returncode == 0, process.stderr
    imported = process.stdout.split()
    assert "jaxae.data" in imported
    assert "tensorflow_datasets" not in imported


def test_remains_of_a_killed_preparation_do_no_harm(source_root: Path, tmp_path: Path) -> None:
    for stale in (".mnist.incomplete/mnist/incomplete.ABC_3.0.1", "mnist/incomplete.XYZ_3.0.1"):
        (tmp_path / stale).mkdir(parents=True)
        (tmp_path / stale / "half").write_text("")
    assert_small_mnist(data.load("mnist", data_dir=tmp_path, sources=source_root))
    assert not (tmp_path / ".mnist.incomplete").exists()


@pytest.mark.slow
def test_two_processes_prepare_once(source_root: Path, tmp_path: Path) -> None:
    arguments = [str(tmp_path / "data"), str(source_root)]
    with ThreadPoolExecutor(2) as pool:
        both = pool.map(lambda _: run_program("prepare_mnist", *arguments), range(2))
        processes = list(both)
    assert [process.returncode for process in processes] == [0, 0], processes
    assert processes[0].stdout == processes[1].stdout != ""
    assert sum("preparing it in" in process.stderr for process in processes) == 1


def test_recompressed_archives_are_accepted(source_root: Path, tmp_path: Path) -> None:
    for file, array in ARRAYS.items():
        (source_root / "mnist" / file).write_bytes(gzip.compress(tiny.idx(array), 1, mtime=7))
    assert_small_mnist(data.load("mnist", data_dir=tmp_path, sources=source_root))


def test_find_looks_in_debians_folder(tmp_path: Path) -> None:
    contents = tiny.arrays(seed=1)
    folder = tiny.write(tmp_path / "fashion-mnist", contents)
    assert archives.find("fashion_mnist", None, system=tmp_path) == folder
    assert archives.find("fashion_mnist", tmp_path / "other", system=tmp_path) == folder
    (folder / verified.TEST_LABELS).unlink()
    assert archives.find("fashion_mnist", None, system=tmp_path) is None


@pytest.mark.parametrize("name", ["mnist_mini", "fashion_mnist_mini"])
def test_bundled_subsets(name: str) -> None:
    dataset = data.load(name, data_dir="/does/not/matter")
    assert dataset.name == name
    assert dataset.bundled
    assert dataset.train.images.shape == (5000, 28, 28, 1)
    assert dataset.test.images.shape == (1000, 28, 28, 1)
    assert dataset.train.labels is not None
    assert dataset.test.labels is not None
    assert dataset.train.labels.dtype == np.int32
    assert np.bincount(dataset.train.labels).tolist() == [500] * 10
    assert np.bincount(dataset.test.labels).tolist() == [100] * 10
    assert len(set(dataset.class_names)) == 10


def test_a_bundled_subset_has_no_other_label() -> None:
    with pytest.raises(UserError, match="--label does not apply to mnist_mini, a bundled subset"):
        data.load("mnist_mini", reading=Reading(label="coarse"))


def test_fingerprint_tells_contents_apart() -> None:
    mnist, fashion = data.load("mnist_mini"), data.load("fashion_mnist_mini")
    assert mnist.fingerprint == data.load("mnist_mini").fingerprint != fashion.fingerprint


# Names and folders that are wrong.


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mnits", "no dataset 'mnits'.*did you mean mnist"),
        ("fashion_mnist_min", "fashion_mnist_mini"),
        ("zzzzzz", "catalog"),
        ("../mnist", "--dataset ../mnist: there is no such file or folder"),
        ("", "no dataset"),
        ("cassava", "cassava is not prepared in .*pip install tensorflow"),
        ("cassava:0.1.0", "cassava:0.1.0 is not prepared in .*pip install tensorflow"),
        ("mnist:latest", "mnist:latest is not prepared in .*give mnist or mnist:3.0.1"),
    ],
)
def test_unknown_and_unprepared_names(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message) as caught:
        data.load(name, data_dir=tmp_path)
    assert "\n" not in str(caught.value)
    assert left_over(tmp_path) == []


def test_the_data_directory_is_a_file(source_root: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        data.load("mnist", data_dir=tmp_path / "file", sources=source_root)
    with pytest.raises(UserError, match=r"cannot be prepared in .*: Not a directory"):
        data.load_default("mnist", data_dir=tmp_path / "file/below", sources=source_root)


def test_a_remote_data_directory_is_refused() -> None:
    with pytest.raises(UserError, match="is remote"):
        data.load("mnist", data_dir="gs://bucket/data")


def test_the_source_folder_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        data.load_default("mnist", data_dir=tmp_path, sources=tmp_path / "nowhere")


def test_a_read_only_directory_is_an_error_unless_prepared(
    source_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    directory = tmp_path / "data"
    directory.mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
        with pytest.raises(UserError, match=r"Permission denied.*--data-dir"):
            data.load_default("mnist", data_dir=directory, sources=source_root)
    assert left_over(directory) == []
    data.load("mnist", data_dir=directory, sources=source_root)
    shutil.rmtree(next(directory.rglob(cache.FOLDER)))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert_small_mnist(data.load("mnist", data_dir=directory))
    assert not list(directory.rglob(cache.FOLDER))
    assert "(Permission denied): decoding mnist again" in capsys.readouterr().err


# No space.


def no_space(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_no_space_for_the_set_is_an_error(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter

    def disk_full(self: object, record: bytes) -> None:
        raise RuntimeError("write() failed: No space left on device; writing ...")

    for error in (no_space, disk_full):  # from Python, and as array_record reports it
        monkeypatch.setattr(ArrayRecordWriter, "write", error)
        with pytest.raises(UserError, match=r"No space left on device.*--data-dir"):
            data.load_default("mnist", data_dir=tmp_path / "data", sources=source_root)
        assert left_over(tmp_path / "data") == []


def test_no_space_for_the_cache_is_a_note(
    source_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cache.np, "save", no_space)
    assert_small_mnist(data.load("mnist", data_dir=tmp_path / "data", sources=source_root))
    assert "No space left on device" in capsys.readouterr().err
    assert not [path for path in left_over(tmp_path / "data") if "jaxae" in path]


# The network.


def test_without_network_a_named_set_is_an_error(tmp_path: Path, no_network: None) -> None:
    (tmp_path / "sources").mkdir()
    with pytest.raises(UserError, match=r"no subfolder mnist.*no network in this test"):
        data.load("mnist", data_dir=tmp_path / "data", sources=tmp_path / "sources")
    assert not (tmp_path / "data").exists()


def test_without_network_the_default_is_the_bundled_subset(
    tmp_path: Path, no_network: None, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = data.load_default("mnist", data_dir=tmp_path / "data")
    assert dataset.name == "mnist_mini"
    assert dataset.bundled
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "bundled subset mnist_mini" in lines[0]
    assert "no network in this test" in lines[0]
    assert not (tmp_path / "data").exists()


def test_a_prepared_or_sourced_set_is_the_default(
    source_root: Path, tmp_path: Path, no_network: None
) -> None:
    assert_small_mnist(data.load_default("mnist", data_dir=tmp_path, sources=source_root))
    assert_small_mnist(data.load_default("mnist", data_dir=tmp_path))


# Without array_record, as on Windows.


@pytest.fixture
def no_array_record(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "array_record.python.array_record_module", None)


def test_without_array_record_prepared_sets_are_an_error(
    source_root: Path, tmp_path: Path, no_array_record: None
) -> None:
    directory = tmp_path / "data"
    for name in ("mnist", "cifar10"):
        with pytest.raises(UserError, match=f"{name} cannot be loaded: .*array_record") as caught:
            data.load(name, data_dir=directory, sources=source_root)
        assert "--dataset mnist_mini or fashion_mnist_mini" in str(caught.value)
    with pytest.raises(UserError, match="no dataset 'mnits'"):
        data.load("mnits", data_dir=directory)
    assert left_over(tmp_path / "data") == []


def test_without_array_record_what_was_decoded_before_loads(
    source_root: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    data.load("mnist", data_dir=tmp_path, sources=source_root)
    request.getfixturevalue("no_array_record")
    assert_small_mnist(data.load("mnist", data_dir=tmp_path))
    assert len(data.load("mnist", data_dir=tmp_path, stream=True).train.images[:]) == 40
    shutil.rmtree(next(tmp_path.rglob(cache.FOLDER)))
    for stream in (False, True):
        with pytest.raises(UserError, match="array_record"):
            data.load("mnist", data_dir=tmp_path, stream=stream)


@pytest.mark.slow
def test_without_array_record_a_run_without_a_dataset_has_the_bundled_subset(
    tmp_path: Path,
) -> None:
    line = "--epochs 1 --hidden 16 --batch-size 500 --out run"
    process = run_program(
        "run_without_array_record",
        *("train", *line.split()),
        folder=tmp_path,
        variables=environment(tmp_path),
    )
    assert process.returncode == 0, process.stderr
    assert process.stdout.startswith("vae on mnist_mini")
    assert process.stderr.startswith("jaxae: NOT THE FULL DATASET: using the bundled subset")
    assert "needs the package array_record" in process.stderr
    assert process.stderr.count("\n") == 1


# The full archives.


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_full_set(
    sources: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = data.load(name, data_dir=tmp_path, sources=sources)
    assert dataset.train.images.shape == (60_000, 28, 28, 1)
    assert dataset.test.images.shape == (10_000, 28, 28, 1)
    assert dataset.train.labels is not None
    assert len(np.unique(dataset.train.labels)) == len(dataset.class_names) == 10
    # The second load maps the cache into memory and decodes nothing.
    monkeypatch.setattr(decoded, "_decode_and_cache", lambda *_: pytest.fail("decodes"))
    again = data.load(name, data_dir=tmp_path)
    assert isinstance(again.train.images, np.memmap)
    assert again.fingerprint == dataset.fingerprint
    # The bundled subset has the first images of each class, so both begin with the same images.
    mini = data.load(f"{name}_mini")
    assert mini.class_names == dataset.class_names
    np.testing.assert_array_equal(mini.train.images[:100], dataset.train.images[:100])
    assert mini.test.labels is not None
    assert dataset.test.labels is not None
    np.testing.assert_array_equal(mini.test.labels[:50], dataset.test.labels[:50])
