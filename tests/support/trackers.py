"""Packages that track experiments, in place of the real ones: they list what they are told."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest


class Recorder:
    """Lists the calls of its functions, by name; `failing` are those that raise an error."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []
        self.failing: set[str] = set()

    def function(self, name: str, result: Any = None) -> Any:
        """Returns a function that lists its arguments, and returns the result."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            self.calls.append((name, arguments, keywords))
            if name in self.failing:
                raise ConnectionError(f"{name} has no\nnetwork")
            return result

        return call

    def of(self, name: str) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        """Returns the arguments of the calls of one function."""
        return [(arguments, keywords) for each, arguments, keywords in self.calls if each == name]


def inject(name: str, monkeypatch: pytest.MonkeyPatch) -> Recorder:
    """Puts the package of a tracker in place of the real one, and returns what it is told."""
    recorder = Recorder()
    modules = {"wandb": _wandb, "trackio": _trackio, "mlflow": _mlflow}[name](recorder)
    for path, attributes in modules.items():
        module = ModuleType(path)
        vars(module).update(attributes)
        monkeypatch.setitem(sys.modules, path, module)
    return recorder


def _wandb(recorder: Recorder) -> dict[str, dict[str, Any]]:
    run = SimpleNamespace(
        config=SimpleNamespace(update=recorder.function("config")),
        summary=SimpleNamespace(update=recorder.function("summary")),
        log=recorder.function("log"),
        finish=recorder.function("finish"),
    )
    settings = SimpleNamespace(settings=SimpleNamespace(mode="online"))
    return {
        "wandb": {
            "setup": lambda: settings,
            "login": recorder.function("login", result=True),
            "init": recorder.function("init", result=run),
            "Settings": SimpleNamespace,
            "Image": lambda picture, caption: (picture, caption),
        }
    }


def _trackio(recorder: Recorder) -> dict[str, dict[str, Any]]:
    run = SimpleNamespace(id="of trackio", log=recorder.function("log"))
    return {
        "trackio": {
            "init": recorder.function("init", result=run),
            "finish": recorder.function("finish"),
            "Image": lambda picture, caption: (picture, caption),
        }
    }


def _mlflow(recorder: Recorder) -> dict[str, dict[str, Any]]:
    created = SimpleNamespace(info=SimpleNamespace(run_id="of mlflow"))
    results = {"create_run": created, "create_experiment": "1"}
    names = ("get_experiment_by_name", "create_experiment", "create_run", "update_run")
    names += ("log_batch", "log_image", "set_terminated")
    client = SimpleNamespace(**{name: recorder.function(name, results.get(name)) for name in names})
    return {
        "mlflow": {
            "is_tracking_uri_set": lambda: True,
            "get_tracking_uri": lambda: "http://localhost:1",
            "MlflowClient": recorder.function("MlflowClient", client),
        },
        "mlflow.entities": {
            "Param": lambda key, value: (key, value),
            "Metric": lambda key, value, timestamp, step: (key, value, step),
        },
    }
