"""What machine the numbers are from."""

import os
import platform
import re
from pathlib import Path

from jaxae.runs import git_commit


def describe_machine() -> list[str]:
    """The processor, the system, and how busy the machine is, a line each; starts no device."""
    commit = git_commit()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return [
        f"{_processor()}, {os.cpu_count()} cores, {memory / 2**30:.0f} GiB of memory",
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        f"commit {commit}" if commit else "no commit: not a checkout of git",
        f"load average at the start {os.getloadavg()[0]:.2f}",
    ]


def _processor() -> str:
    """The processor's name."""
    information = Path("/proc/cpuinfo")
    text = information.read_text() if information.exists() else ""
    model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return model[1] if model else platform.processor() or platform.machine()
