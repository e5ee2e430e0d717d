"""The GPU benchmark without a GPU: it runs to its end, counts correctly, and keeps its results."""

import argparse
import importlib.util
import json
import math
import subprocess
import sys

import pytest
from jax.profiler import ProfileData

import gpu
import gpu_correctness
import gpu_page
import gpu_parts
import gpu_profile
import gpu_rows
import gpu_sizes
from gpu_page import Report, Result
from jaxae import family
from support.commands import REPOSITORY, SECONDS, environment

TWO_GPUS = """
planes {
  name: "/host:CPU"
  lines { name: "Stream #1" timestamp_ns: 0 events { metadata_id: 1 duration_ps: 9000 } }
}
planes {
  name: "/device:GPU:0"
  lines {
    name: "Stream #13(Compute)"
    timestamp_ns: 100
    events { metadata_id: 1 offset_ps: 0 duration_ps: 10000 }
    events { metadata_id: 1 offset_ps: 30000 duration_ps: 10000 }
  }
  lines {
    name: "Stream #14(MemcpyD2D)"
    timestamp_ns: 100
    events { metadata_id: 1 offset_ps: 5000 duration_ps: 15000 }
  }
  lines { name: "XLA Ops" timestamp_ns: 0 events { metadata_id: 1 duration_ps: 90000 } }
}
planes {
  name: "/device:GPU:1"
  lines { name: "Stream #1" timestamp_ns: 0 events { metadata_id: 1 duration_ps: 9000 } }
}
"""


@pytest.mark.slow
def test_the_command_measures_all_parts_and_agrees_with_the_golden_losses(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "experiments/speed/gpu.py"),
            *("--tiny", "--minutes", "60"),
        ],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "results/speed/cpu.json").read_text())
    assert list(report["parts"]) == list(gpu_parts.PARTS)
    assert {part["state"] for part in report["parts"].values()} == {"done"}, done.stdout
    assert not [row for part in report["parts"].values() for row in part["rows"] if "failed" in row]
    correctness = {row["what"]: row for row in report["parts"]["correctness"]["rows"]}
    assert correctness.keys() == {*gpu_sizes.TINY.recipes, *gpu_sizes.TINY.members}
    for row in correctness.values():
        assert row["float32"] <= row["allowed"]
        assert "float32 is" not in row
        assert row["float32"] <= row["bf16"] < 0.1
    (fashion,) = report["parts"]["fashion"]["rows"]
    assert fashion["everything, s"] > fashion["training, s"] > 0
    assert all(row["kernels of the compiled step"] for row in report["parts"]["kernels"]["rows"])
    page = (tmp_path / "results/speed/cpu.md").read_text()
    assert page.count("\n## ") == len(gpu_parts.PARTS)
    assert page.startswith("# Speed on cpu\n")
    has_peer = importlib.util.find_spec("torch") is not None  # without it there are no ratios
    assert ("| fashion |" in page.partition("## ")[0]) == has_peer
    assert "| iwae |" in page
    assert "| published | IWAE, k = 5 |" in done.stdout


def test_golden_losses_are_those_of_all_networks():
    golden = json.loads(gpu_correctness.GOLDEN.read_text())
    sizes = gpu_sizes.Sizes()
    lengths = dict.fromkeys(sizes.recipes, sizes.recipe_losses)
    lengths |= dict.fromkeys(family.FAMILY, sizes.member_losses)
    assert {name: len(entry["losses"]) for name, entry in golden.items()} == lengths
    assert all(0 <= entry["sensitivity"] < 0.1 for entry in golden.values())


@pytest.mark.slow
def test_a_deviation_larger_than_a_perturbation_causes_is_called_wrong():
    golden = json.loads(gpu_correctness.GOLDEN.read_text())["fashion"]
    losses = [loss * (1 + 2 * gpu_correctness.tolerance(golden)) for loss in golden["losses"]]
    row = gpu_correctness.deviations("fashion", gpu_sizes.TINY, {**golden, "losses": losses})
    assert row["float32 is"] == "WRONG"
    assert "| WRONG |" in gpu_page.table([row])


def test_a_network_that_fails_is_named_and_the_part_goes_on(monkeypatch):
    def run_out_of_memory(name, sizes):
        if name == "fashion":
            raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory\nwhile ...")
        return {"jaxae, ms": 1.0}

    monkeypatch.setattr(gpu_parts, "compare", run_out_of_memory)
    first, second, *_ = gpu_parts.steps(gpu_sizes.Sizes())
    assert first == {
        "what": "fashion",
        "failed": "RuntimeError: RESOURCE_EXHAUSTED: Out of memory",
    }
    assert second["jaxae, ms"] == 1.0


@pytest.mark.parametrize(
    ("error", "words"), [(AssertionError(), "AssertionError"), (OSError("a\nb"), "OSError: a")]
)
def test_an_error_is_described_by_its_first_words(error, words):
    assert gpu_rows.describe(error) == words


def test_a_part_that_takes_too_long_is_stopped_and_reported(tmp_path):
    result = gpu.run_part("fashion", 0.1, tmp_path, tmp_path / "caches", ["--tiny"])
    assert result.state == "stopped after 0 s"
    assert result.rows == []
    page = gpu_page.page_text(Report(["a machine"]).with_result("fashion", result))
    assert "The part stopped after 0 s." in page
    assert "no device" in page


@pytest.mark.slow
def test_without_a_gpu_only_the_tiny_sizes_are_measured(tmp_path, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    result = gpu.run_part("fashion", SECONDS, tmp_path, tmp_path / "caches", [])
    assert result.state == "failed: there is no GPU: give --tiny to try the command on a CPU"


def test_a_part_that_fails_reports_the_error_and_not_jaxs_note_on_tracebacks(tmp_path):
    log = tmp_path / "part.log"
    log.write_text(
        "Traceback (most recent call last):\n  ...\n"
        "jax.errors.JaxRuntimeError: INTERNAL: no cuDNN\n"
        "--------------------\nFor simplicity, JAX has removed its internal frames ...\n"
    )
    assert gpu.failed_state(log, 1) == "failed: jax.errors.JaxRuntimeError: INTERNAL: no cuDNN"
    log.write_text("")
    assert gpu.failed_state(log, -9) == "failed with status -9"


def test_chosen_parts_share_all_the_time_and_keep_the_results_of_others(
    tmp_path, monkeypatch, capsys
):
    limits = {}

    def pretend(name: str, seconds: float, *_: object) -> Result:
        limits[name] = seconds
        return Result("done", seconds, {"device": "gpu X", "jax": "1"}, [{"what": name}])

    monkeypatch.setattr(gpu, "run_part", pretend)
    options = argparse.Namespace(out=tmp_path, machine="gpu", minutes=8.0, tiny=True, only=[])
    for parts in (["fashion", "memory"], ["memory"]):
        gpu.measure_all(argparse.Namespace(**vars(options), parts=parts))
    shares = {name: gpu_parts.PARTS[name].share for name in ("fashion", "memory")}
    assert limits["memory"] == pytest.approx(480, abs=30)
    assert limits["fashion"] == pytest.approx(
        480 * shares["fashion"] / sum(shares.values()), abs=30
    )
    parts = json.loads((tmp_path / "gpu.json").read_text())["parts"]
    assert list(parts) == ["fashion", "memory"]
    assert capsys.readouterr().out.count("| fashion | fashion |") == 2


def test_only_some_networks_are_measured_and_the_rows_of_others_stay(tmp_path, monkeypatch):
    asked = []

    def pretend(name: str, seconds: float, *places: object) -> Result:
        asked.append(places[-1])
        rows = [{"what": network, "ms": len(asked)} for network in ("fashion", "conv")]
        return Result("done", seconds, {"device": "gpu X"}, rows if len(asked) == 1 else rows[1:])

    monkeypatch.setattr(gpu, "run_part", pretend)
    for networks in ([], ["conv"]):
        gpu.measure_all(
            argparse.Namespace(
                out=tmp_path,
                machine="gpu",
                minutes=8.0,
                tiny=False,
                parts=["steps"],
                only=networks,
            )
        )
    assert asked == [[], ["--only", "conv"]]
    rows = json.loads((tmp_path / "gpu.json").read_text())["parts"]["steps"]["rows"]
    assert rows == [{"what": "fashion", "ms": 1}, {"what": "conv", "ms": 2}]
    sizes = gpu_sizes.only(gpu_sizes.Sizes(), {"conv", "vae"})
    assert (sizes.recipes, sizes.members, sizes.growing) == (("conv",), ("vae",), ("conv",))


def test_rows_of_one_name_are_merged_and_a_cut_row_is_left_out(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"device": "gpu", "jax": "1"}\n{"what": "a", "x": 1}\n{"what": "b", "x": 2}\n')
    with file.open("a") as rows:
        rows.write('{"what": "a", "y": 3}\n{"what": "b", "y"')
    device, rows = gpu.read_rows(file)
    assert device == {"device": "gpu", "jax": "1"}
    assert rows == [{"what": "a", "x": 1, "y": 3}, {"what": "b", "x": 2}]


def test_a_profile_counts_the_first_gpus_kernels_and_its_idle_time():
    serialized = ProfileData.text_proto_to_serialized_xspace(TWO_GPUS)
    found = gpu_profile.summarize(ProfileData.from_serialized_xspace(serialized))
    assert found is not None
    assert found.kernels == 3
    assert found.idle == pytest.approx(0.25)  # 10 of 40 ns, between 20 and 30


def test_a_profile_without_a_gpu_is_none():
    serialized = ProfileData.text_proto_to_serialized_xspace('planes { name: "/host:CPU" }')
    assert gpu_profile.summarize(ProfileData.from_serialized_xspace(serialized)) is None


def test_the_summary_names_the_worst_and_has_at_most_forty_lines():
    sizes = gpu_sizes.Sizes()
    rows = [{"what": name, "float32": 1e-7} for name in (*sizes.recipes, *sizes.members)]
    rows[3] |= {"float32": 2e-5}
    rows[-1] |= {"float32": math.nan}
    recipes = [{"what": name, "jaxae, ms": 1.0} for name in sizes.recipes]
    growing = [{"what": name, "1 replica": 1.0} for name in sizes.growing]
    names = [workload.label for workload in gpu_parts.workloads_of(sizes)]
    parts = {
        "correctness": rows,
        "steps": recipes,
        "fashion": [{"what": "100 epochs"}],
        "growth": growing,
        "kernels": recipes,
        "published": [{"what": "VAE"}, {"what": "IWAE"}],
        "memory": [{"what": name, "device, MB": 1000.0} for name in names],
    }
    report = Report(["a machine"])
    for name, some in parts.items():
        report = report.with_result(name, Result("failed: x", 1.0, {}, some))
    lines = gpu_page.summary_text(report).splitlines()
    assert len(lines) <= 40
    assert f"| correctness | recipes | float32 2e-05 ({sizes.recipes[3]}) |" in lines
    assert f"| correctness | members | float32 nan ({sizes.members[-1]}) |" in lines


def test_shares_of_the_parts_add_up_to_one():
    assert sum(part.share for part in gpu_parts.PARTS.values()) == pytest.approx(1)
