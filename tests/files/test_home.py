"""A user without a home, as in a container: optional files go elsewhere, or are left out."""

import os
import pwd
import tempfile
from functools import partial
from pathlib import Path

import pytest

from jaxae import data, files
from jaxae.errors import UserError
from support import tiny
from support.tiny import assert_small_mnist

small_mnist = pytest.fixture(autouse=True)(tiny.small_mnist)
source_root = pytest.fixture(tiny.source_root)


@pytest.fixture(autouse=True)
def homeless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Removes the user's home, and provides an empty folder for temporary files."""

    def getpwuid(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", getpwuid)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return temporary


def test_a_temporary_folder_of_the_user_replaces_the_home(homeless: Path) -> None:
    place = homeless / f"jaxae-{os.getuid()}"
    assert files.user_folder() == files.user_folder() == place
    assert files.cache_folder() == place / "cache"
    assert place.stat().st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_write_to_is_not_used(homeless: Path) -> None:
    place = homeless / f"jaxae-{os.getuid()}"
    place.mkdir()
    place.chmod(0o777)
    others = [files.user_folder()]
    place.rmdir()
    place.symlink_to(others[0])
    others.append(files.user_folder())
    for other in others:
        assert other.parent == homeless
        assert other != place
        assert other.stat().st_mode & 0o777 == 0o700


def test_a_cache_that_is_named_needs_no_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/named")
    assert files.cache_folder() == Path("/named/jaxae")


def test_datasets_are_prepared_without_a_home(source_root: Path, homeless: Path) -> None:
    for _ in range(2):
        assert_small_mnist(data.load("mnist", sources=source_root))
    assert (homeless / f"jaxae-{os.getuid()}" / "tensorflow_datasets" / "mnist").is_dir()


def test_a_path_in_the_home_is_an_error() -> None:
    for load in (partial(data.load, data_dir="~/sets"), partial(data.load, sources="~/sources")):
        with pytest.raises(UserError, match=r"the home folder in ~/.* is unknown"):
            load("mnist")


def test_matplotlib_gets_a_folder_unless_it_has_one(
    homeless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MPLCONFIGDIR", "/told")
    files.settle_matplotlib()
    assert os.environ["MPLCONFIGDIR"] == "/told"
    monkeypatch.delenv("MPLCONFIGDIR")
    files.settle_matplotlib()
    assert Path(os.environ["MPLCONFIGDIR"]) == files.user_folder() / "matplotlib"
    monkeypatch.delenv("MPLCONFIGDIR")
    monkeypatch.setenv("HOME", "/a/home")
    files.settle_matplotlib()
    assert "MPLCONFIGDIR" not in os.environ
