"""Original archives: bad ones are refused, and downloads work or fail with a reason."""

import functools
import gzip
import http.server
import os
import shutil
import threading
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from jaxae import data
from jaxae.data import connection
from jaxae.data.prepared import archives, preparation, verified
from jaxae.errors import UserError
from support import tiny
from support.commands import SECONDS
from support.tiny import ARRAYS, assert_small_mnist, left_over

small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)
source_root = pytest.fixture(tiny.source_root)


# Bad archives: an error for a named set and for a default one, and no files are left.


def assert_archives_refused(source_root: Path, tmp_path: Path, message: str) -> None:
    for load in (data.load, data.load_default):
        with pytest.raises(UserError, match=message) as caught:
            load("mnist", data_dir=tmp_path / "data", sources=source_root)
        assert "\n" not in str(caught.value)
        assert left_over(tmp_path / "data") == []


@pytest.mark.slow
def test_wrong_checksum(source_root: Path, tmp_path: Path) -> None:
    changed = ARRAYS[verified.TRAIN_IMAGES].copy()
    changed[3, 3, 3] ^= 1
    (source_root / "mnist" / verified.TRAIN_IMAGES).write_bytes(gzip.compress(tiny.idx(changed)))
    assert_archives_refused(source_root, tmp_path, "train-images.* has the wrong checksum")


def test_archives_of_another_set(
    source_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion = tiny.arrays(seed=1)
    monkeypatch.setitem(verified.ARRAYS, "fashion_mnist", tiny.original(fashion))
    shutil.rmtree(source_root / "mnist")
    tiny.write(source_root / "mnist", fashion)
    assert_archives_refused(source_root, tmp_path, "wrong checksum.*that of fashion_mnist")


def test_truncated_archive(source_root: Path, tmp_path: Path) -> None:
    os.truncate(source_root / "mnist" / verified.TEST_IMAGES, 5000)
    assert_archives_refused(source_root, tmp_path, "t10k-images.*not a whole gzip file")


def test_archive_that_is_not_gzip(source_root: Path, tmp_path: Path) -> None:
    (source_root / "mnist" / verified.TEST_LABELS).write_text("<html>")
    assert_archives_refused(source_root, tmp_path, "t10k-labels.*not a whole gzip file")


@pytest.mark.parametrize("change", ["short", "long", "shape", "type", "empty"])
def test_idx_header_contradicts_the_content(source_root: Path, tmp_path: Path, change: str) -> None:
    content = tiny.idx(ARRAYS[verified.TRAIN_IMAGES])
    changed, message = {
        "short": (content[:-1], "decompresses to 31375 bytes.* promises 31376"),
        "long": (content + b"\0", "decompresses to more than 31376 bytes.* promises 31376"),
        "shape": (tiny.idx(ARRAYS[verified.TRAIN_IMAGES].reshape(40, 56, 14)), "IDX header of"),
        "type": (b"\0\0\x0d" + content[3:], "IDX header of"),
        "empty": (b"", "IDX header of"),
    }[change]
    (source_root / "mnist" / verified.TRAIN_IMAGES).write_bytes(gzip.compress(changed))
    assert_archives_refused(source_root, tmp_path, message)


def test_an_archive_that_unpacks_to_far_more_is_not_read_whole(
    source_root: Path, tmp_path: Path
) -> None:
    archive = source_root / "mnist" / verified.TRAIN_IMAGES
    archive.write_bytes(gzip.compress(tiny.idx(ARRAYS[verified.TRAIN_IMAGES]) + bytes(2**26)))
    tracemalloc.start()
    assert_archives_refused(source_root, tmp_path, "decompresses to more than 31376 bytes")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**24


def test_missing_archive(source_root: Path, tmp_path: Path) -> None:
    (source_root / "mnist" / verified.TRAIN_LABELS).unlink()
    assert_archives_refused(source_root, tmp_path, "mnist lacks train-labels-idx1-ubyte.gz")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without logging, and cuts the last `cut` bytes off each file."""

    cut = 0

    def log_message(self, format: str, *args: object) -> None:
        pass

    def copyfile(self, source, outputfile) -> None:
        content = source.read()
        outputfile.write(content[: len(content) - self.cut])


class TruncatingHandler(Handler):
    cut = 10


@pytest.fixture
def serve(source_root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator:
    """Returns a function that serves the small MNIST at the address TFDS downloads from."""
    servers = []

    def start(handler: type[Handler]) -> str:
        make = functools.partial(handler, directory=str(source_root / "mnist"))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), make)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}/"
        registered = {
            file: archives.Registered(url + file, (source_root / "mnist" / file).stat().st_size, "")
            for file in verified.ARRAYS["mnist"]
        }
        monkeypatch.setattr(preparation, "registered", lambda name: registered)
        return url

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_download(serve, tmp_path: Path) -> None:
    serve(Handler)
    assert_small_mnist(data.load("mnist", data_dir=tmp_path / "data"))
    assert not [path for path in left_over(tmp_path / "data") if "incomplete" in path]


def test_download_with_a_checksum_other_than_registered(
    serve,
    source_root: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tensorflow_datasets.core.download import checksums
    from tensorflow_datasets.core.utils import Size

    url = serve(Handler) + verified.TRAIN_LABELS
    size = (source_root / "mnist" / verified.TRAIN_LABELS).stat().st_size
    registered = checksums.UrlInfo(Size(size), "0" * 64, verified.TRAIN_LABELS)
    monkeypatch.setitem(checksums.get_all_url_infos(), url, registered)
    with pytest.raises(UserError, match=r"download of mnist has the wrong checksum"):
        data.load_default("mnist", data_dir=tmp_path / "data")
    assert left_over(tmp_path / "data") == []


def test_download_that_breaks_off(
    serve,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    serve(TruncatingHandler)
    with pytest.raises(UserError, match="broke off"):
        data.load("mnist", data_dir=tmp_path / "data")
    assert left_over(tmp_path / "data") == []
    assert data.load_default("mnist", data_dir=tmp_path / "data").name == "mnist_mini"
    assert "broke off" in capsys.readouterr().err


def test_the_probe_reports_what_answers(serve, source_root: Path) -> None:
    url = serve(Handler)
    size = (source_root / "mnist" / verified.TEST_LABELS).stat().st_size
    assert connection.why_unreachable(url + verified.TEST_LABELS, size) is None
    assert connection.why_unreachable(url + verified.TEST_LABELS, None) is None
    portal = connection.why_unreachable(url + verified.TEST_LABELS, size + 1)
    assert portal is not None
    assert f"answers with {size} bytes" in portal
    missing = connection.why_unreachable(url + "absent.gz", None)
    assert missing is not None
    assert "HTTP status 404" in missing


def test_the_probe_gives_up_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    over = threading.Event()
    monkeypatch.setattr(connection, "_probe", lambda *_: over.wait(SECONDS))
    problem = connection.why_unreachable("http://host.invalid/", None, seconds=0.2)
    over.set()
    assert problem == "no answer from http://host.invalid/ within 0.2 s"
