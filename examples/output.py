"""What the examples that explain themselves share: paragraphs on the screen, pictures in the folder out/."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt

plt.switch_backend("Agg")  # files only, no display


def say(text: str) -> None:
    """Print a paragraph, wrapped anew."""
    print("\n" + textwrap.fill(" ".join(text.split()), 112) + "\n", flush=True)


def place(name: str) -> Path:
    """Give the path of a file in out/, whose folder is made where it is missing."""
    path = Path("out") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def saved(figure: Any, name: str) -> Path:
    """Write a figure and close it."""
    path = place(name)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return path
