"""One virtual environment per peer, made on demand from a list of names and versions.

Law: a peer runs with exactly the listed versions, or is shown as not available with the reason. An interpreter that
has them all already is used as it is.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LISTS, FOLDER = ROOT / "environments", ROOT / ".environments"
WHOLE = ("pgmax",)  # lists of all that is needed, where a package names much more that it does not import


class NotAvailableError(Exception):
    """A peer that cannot be installed here."""


def ignored_folder(folder: Path) -> Path:
    """Make a folder that version control leaves alone, wherever it is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").write_text("*\n")
    return folder


def requirements(name: str) -> dict[str, str]:
    """Names and versions of one environment.

    >>> requirements("blackjax")["blackjax"]
    '1.7.1'
    """
    lines = (LISTS / f"{name}.txt").read_text().split()
    return dict(line.split("==") for line in lines)


def satisfied_here(wanted: dict[str, str]) -> bool:
    """Whether the running interpreter has every distribution in the wanted version."""
    try:
        return all(importlib.metadata.version(name) == version for name, version in wanted.items())
    except importlib.metadata.PackageNotFoundError:
        return False


def interpreter(name: str | None) -> str:
    """Path of the Python that runs the environment, which is created if need be."""
    if name is None or satisfied_here(requirements(name)):
        return sys.executable
    folder = ignored_folder(FOLDER) / name
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = (LISTS / f"{name}.txt").read_text()
    installed = folder / "installed.txt"  # written last: a half-made environment is made again
    if not (installed.exists() and installed.read_text() == pins):
        print(f"  making the environment of {name} ({', '.join(pins.split())})", flush=True)
        venv.create(folder, with_pip=True, clear=True)
        command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(LISTS / f"{name}.txt")]
        command += ["--no-deps"] if name in WHOLE else []
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
            raise NotAvailableError(errors[-1].removeprefix("ERROR: ") if errors else "pip install failed")
        installed.write_text(pins)
    return str(python)
