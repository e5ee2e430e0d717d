"""Describes the machine that is measured."""

import os
import platform
import re
from pathlib import Path

from jaxae.runs import git_commit


def describe_machine() -> list[str]:
    """Describes processor, system, commit and load, one line each, without starting a device."""
    commit = git_commit()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB of memory",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"commit {commit}" if commit else "no commit: not a git checkout",
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]


def _processor() -> str:
    """Returns the processor's name."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
