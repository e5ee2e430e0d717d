"""Describes and names the machine that is measured."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from jaxae import devices
from jaxae.runs import git_commit

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_VECTORS = ("avx", "avx2", "avx512f", "avx512_bf16", "amx_bf16", "asimd", "sve")
_NAMES = {"asimd": "NEON"}


def describe_machine() -> list[str]:
    """Describes hardware, commit and load, one line each, without starting a device."""
    commit = git_commit()
    return [
        *describe_hardware(),
        f"commit {commit}" if commit else "no commit: not a git checkout",
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]


def describe_hardware() -> list[str]:
    """Describes processor, threads, caches, vector units and system, one line each."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = [
        f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB of memory",
        f"threads: {devices.cores()}, one for each core that the process may use",
        f"caches: {', '.join(caches_of(_CACHES))}",
        f"vector units: {', '.join(vector_units(_read(Path('/proc/cpuinfo'))))}",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
    ]
    return [line for line in lines if not line.endswith(": ")]


def machine_name() -> str:
    """Returns the name of this machine's page: processor, cores and any GPU.

    For example, "intel-xeon-2-cores". Starts a process that asks JAX for a GPU.
    """
    name = f"{slug(_processor())}-{os.cpu_count()}-cores"
    device = device_name()
    return name if device == "cpu" else f"{name}-{slug(device)}"


def device_name() -> str:
    """Returns the kind of JAX's first device, "cpu" for a processor, from a process of its own."""
    program = "import jax; print(jax.devices()[0].device_kind)"
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.splitlines()[-1]


def slug(name: str) -> str:
    """Returns a name in lower case with hyphens, without trademarks, clock rates and fillers."""
    words = re.sub(r"\((?:r|tm)\)|@.*|\b(?:processor|cpu)\b", " ", name, flags=re.IGNORECASE)
    return re.sub(r"[^a-z0-9]+", "-", (words.strip() or name).lower()).strip("-")


def caches_of(folder: Path) -> list[str]:
    """Describes the caches of a core from their folder in Linux's /sys, as in "L2 2 MiB"."""
    found = []
    for index in sorted(folder.glob("index*")):
        level, kind, size = (_read(index / name).strip() for name in ("level", "type", "size"))
        if kind in ("Data", "Unified") and size:
            found.append(f"L{level} {_in_bytes(size)}")
    return found


def _in_bytes(size: str) -> str:
    """Formats a size such as "2048K" in KiB or MiB."""
    kibibytes = int(size.removesuffix("K"))
    return f"{kibibytes} KiB" if kibibytes < 1024 else f"{kibibytes / 1024:.3g} MiB"


def vector_units(cpuinfo: str) -> list[str]:
    """Returns the vector units among the features in the text of /proc/cpuinfo."""
    features = re.search(r"^(?:flags|Features)\s*: (.+)$", cpuinfo, re.MULTILINE)
    having = features[1].split() if features else []
    return [_NAMES.get(unit, unit) for unit in _VECTORS if unit in having]


def _processor() -> str:
    """Returns the processor's name."""
    model = re.search(r"^model name\s*: (.+)$", _read(Path("/proc/cpuinfo")), re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()


def _read(file: Path) -> str:
    """Returns the text of a file, empty if there is none."""
    return file.read_text() if file.exists() else ""
