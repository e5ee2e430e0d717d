"""Exports on the Hugging Face Hub: a folder stands in for it, and a server that refuses."""

import fnmatch
import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
from huggingface_hub import constants

import jaxae
from jaxae import data
from jaxae.errors import UserError
from jaxae.exports import hub, push
from support import small_run
from support.missing import hide
from support.small_fit import DIGITS, LABELS, OPTIONS

compiled_once = small_run.compiled_once
pytestmark = pytest.mark.slow

SET = data.from_arrays(np.rint(DIGITS * 15).astype(np.uint8)[..., None], LABELS, name="digits")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> jaxae.TrainedRun:
    return jaxae.fit(SET, "vae", out=tmp_path_factory.mktemp("hub") / "run", **OPTIONS)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replaces the Hub by a folder of repositories, and returns the folder."""
    repositories = tmp_path / "repositories"

    class Api:
        def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
            (repositories / name).mkdir(parents=True, exist_ok=exist_ok)
            (repositories / f"{name} is private").write_text(str(private), encoding="utf-8")
            return f"https://hub/{name}"

        def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
            assert commit_message
            shutil.copytree(folder_path, repositories / repo_id, dirs_exist_ok=True)

    def fetch(name: str, *, allow_patterns: list[str]) -> str:
        target = tmp_path / "fetched" / name
        target.mkdir(parents=True)
        for path in (repositories / name).iterdir():
            if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                shutil.copyfile(path, target / path.name)
        return str(target)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    return repositories


def pushed(*line: object) -> None:
    push.start([str(word) for word in line], program="jaxae push")


def test_a_pushed_run_is_loaded_from_its_name(
    run: jaxae.TrainedRun, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed(run.folder, "somebody/digits", "--private")
    assert capsys.readouterr().out == "done: https://hub/somebody/digits\n"
    assert (place / "somebody/digits is private").read_text(encoding="utf-8") == "True"
    card = (place / "somebody/digits/README.md").read_text(encoding="utf-8")
    assert 'jaxae.load("hf:somebody/digits")' in card
    assert (place / "somebody/digits/pictures/epoch_002.png").exists()
    loaded = jaxae.load("hf:somebody/digits")
    assert sorted(path.name for path in loaded.folder.iterdir()) == [
        "config.json",
        "export.json",
        "model.safetensors",
    ]
    images = SET.test.images[:4]
    np.testing.assert_array_equal(loaded.reconstruct(images), run.reconstruct(images))
    np.testing.assert_array_equal(loaded.sample(2), run.sample(2))


def test_an_export_is_pushed_as_it_is(
    run: jaxae.TrainedRun, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run.export("onnx", out=tmp_path / "export")
    with (folder / "README.md").open("a", encoding="utf-8") as card:
        card.write("My license.\n")
    pushed(folder, "somebody/program")
    assert (place / "somebody/program is private").read_text(encoding="utf-8") == "False"
    for path in (path for path in folder.rglob("*") if path.is_file()):
        copy = place / "somebody/program" / path.relative_to(folder)
        assert copy.read_bytes() == path.read_bytes()
    page = f"{constants.ENDPOINT}/somebody/program"
    with pytest.raises(UserError, match=f"hf:somebody/program is an export as onnx.*: {page} says"):
        jaxae.load("hf:somebody/program")
    (folder / "encoder.onnx").write_bytes(b"")
    with pytest.raises(SystemExit):
        pushed(folder, "somebody/program")
    assert "encoder.onnx is not the file that was exported" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pushed(folder, "somebody/program", "--epoch", "1")
    assert "--epoch chooses what of a run is exported" in capsys.readouterr().err


def test_other_repositories_and_names_are_errors(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "somebody/else").mkdir(parents=True)
    with pytest.raises(UserError, match=r"somebody/else is no export of jaxae, because it has no"):
        jaxae.load("hf:somebody/else")
    for name in ("digits", "a/b/c", "../etc", "a/..\\b", ""):
        with pytest.raises(UserError, match="cannot be a repository's name"):
            jaxae.load(f"hf:{name}")
    with pytest.raises(SystemExit):
        pushed(tmp_path, "digits")
    assert "give OWNER/NAME" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        pushed(tmp_path, "somebody/digits")
    assert "is not a run" in capsys.readouterr().err


def test_nobody_is_logged_in(
    run: jaxae.TrainedRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(SystemExit):
        pushed(run.folder, "somebody/digits")
    assert "you are not logged in to the Hugging Face Hub: run `hf auth" in capsys.readouterr().err


def test_the_package_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path])
    for name in [name for name in sys.modules if name.partition(".")[0] == "huggingface_hub"]:
        monkeypatch.delitem(sys.modules, name)
    hide(["huggingface_hub"])
    with pytest.raises(UserError, match=r"needs the package huggingface_hub.*\.\[export\]"):
        jaxae.load("hf:somebody/digits")


class _Refusing(http.server.BaseHTTPRequestHandler):
    """Answers every request with the status and the code of its server."""

    def _answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server: Any = self.server
        self.send_response(server.status)
        if server.code is not None:
            self.send_header("X-Error-Code", server.code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_POST = _answer

    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Serves in place of the Hub."""
    found: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{found.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_of_nobody")
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "RepoNotFound", "hf:somebody/digits does not exist, or is private"),
        (403, "GatedRepo", "hf:somebody/digits is gated"),
        (403, None, "cannot be fetched, because the Hub refuses your token"),
        (400, None, r"cannot be fetched \(HTTP status 400"),
    ],
)
def test_a_refusal_gets_one_error(status: int, code: str, message: str, server: Any) -> None:
    server.status, server.code = status, code
    with pytest.raises(UserError, match=message):
        hub.fetch("hf:somebody/digits")


def test_a_token_that_may_not_write(server: Any, tmp_path: Path) -> None:
    server.status, server.code = 403, None
    with pytest.raises(UserError, match="cannot be written, because the Hub refuses your token"):
        hub.upload(tmp_path, "somebody/digits", private=False)


def test_a_local_file_that_cannot_be_read(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "model.safetensors")

    monkeypatch.setattr(shutil, "copytree", refuse)
    with pytest.raises(UserError, match=r"'model\.safetensors'\): correct that, and try again"):
        hub.upload(tmp_path, "somebody/digits", private=False)


def test_an_upload_without_a_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Any
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be written .*: connect to the network"):
        hub.upload(tmp_path, "somebody/digits", private=False)


def test_without_a_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Any) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UserError, match=r"cannot be fetched .*: connect to the network"):
        hub.fetch("hf:somebody/digits")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="unset HF_HUB_OFFLINE if it is set"):
        hub.fetch("hf:somebody/digits")
