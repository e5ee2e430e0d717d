"""The GPU benchmark where there is no GPU: it runs to its end, counts right, and loses nothing."""

import json
import math
import subprocess
import sys

import gpu
import gpu_page
import gpu_parts
import gpu_profile
import pytest
from commands import REPOSITORY, SECONDS, environment
from gpu_page import Report, Result
from jax.profiler import ProfileData

from jaxae import family

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


def test_the_command_measures_all_parts_and_agrees_with_the_golden_losses(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            str(REPOSITORY / "experiments/speed/gpu.py"),
            *("--tiny", "--minutes", "60", "--out", "results"),
        ],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "results/speed_gpu.json").read_text())
    assert list(report["parts"]) == list(gpu_parts.PARTS)
    assert {part["state"] for part in report["parts"].values()} == {"done"}, done.stdout
    correctness = {row["what"]: row for row in report["parts"]["correctness"]["rows"]}
    assert correctness.keys() == {*gpu_parts.TINY.recipes, *gpu_parts.TINY.members}
    for row in correctness.values():
        assert row["float32"] <= row["bf16"]
        assert row["float32"] < gpu_page.TOLERANCE / 10
        assert row["bf16"] < 0.1
    (fashion,) = report["parts"]["fashion"]["rows"]
    assert fashion["everything, s"] > fashion["training, s"] > 0
    page = (tmp_path / "results/speed_gpu.md").read_text()
    assert page.count("\n## ") == len(gpu_parts.PARTS)
    assert "| iwae |" in page
    assert "| published | IWAE, k = 5 |" in done.stdout


def test_golden_losses_are_those_of_all_networks():
    golden = json.loads(gpu_parts.GOLDEN.read_text())
    sizes = gpu_parts.Sizes()
    lengths = dict.fromkeys(sizes.recipes, sizes.recipe_losses)
    lengths |= dict.fromkeys(family.FAMILY, sizes.member_losses)
    assert {name: len(losses) for name, losses in golden.items()} == lengths


def test_a_part_that_takes_too_long_is_stopped_and_said_to_be():
    result = gpu.run_part("fashion", 0.1, tiny=True)
    assert result.state == "stopped after 0 s"
    assert result.rows == []
    page = gpu_page.page_text(Report(["a machine"]).with_result("fashion", result))
    assert "The part has stopped after 0 s." in page
    assert "no device" in page


def test_rows_of_one_name_are_one_and_a_cut_row_is_left_out(tmp_path):
    file = tmp_path / "rows.jsonl"
    file.write_text('{"device": "gpu", "jax": "1"}\n{"what": "a", "x": 1}\n{"what": "b", "x": 2}\n')
    with file.open("a") as rows:
        rows.write('{"what": "a", "y": 3}\n{"what": "b", "y"')
    device, rows = gpu.read_rows(file)
    assert device == {"device": "gpu", "jax": "1"}
    assert rows == [{"what": "a", "x": 1, "y": 3}, {"what": "b", "x": 2}]


def test_a_profile_counts_the_first_gpu_and_the_time_that_no_stream_is_busy():
    serialized = ProfileData.text_proto_to_serialized_xspace(TWO_GPUS)
    found = gpu_profile.summarize(ProfileData.from_serialized_xspace(serialized))
    assert found is not None
    assert found.kernels == 3
    assert found.idle == pytest.approx(0.25)  # 10 of 40 ns, between 20 and 30


def test_a_profile_without_a_gpu_is_none():
    serialized = ProfileData.text_proto_to_serialized_xspace('planes { name: "/host:CPU" }')
    assert gpu_profile.summarize(ProfileData.from_serialized_xspace(serialized)) is None


def test_the_summary_names_the_worst_and_has_at_most_forty_lines():
    sizes = gpu_parts.Sizes()
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


def test_shares_of_the_parts_are_of_the_whole():
    assert sum(part.share for part in gpu_parts.PARTS.values()) == pytest.approx(1)
