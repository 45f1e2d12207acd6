"""Style of pictures: axes where none are given, a colour for each class, rugs and labels.

Law: colours are those of Okabe and Ito (2008), told apart by colour-blind readers and in print; class k has the same
colour in every picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lawful.errors import LawfulError

from ... import pictures

__all__ = ["COLOURS", "GREY", "NORMAL_95", "axes_or_new", "blended", "class_colours", "new_row", "rug"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "0.55"
SIZE = (7.0, 4.5)
NORMAL_95 = 1.959963984540054


def axes_or_new(ax: Any, size: tuple[float, float] = SIZE) -> Any:
    """Give the axes, or new ones of the size of these pictures."""
    return pictures.axes_or_new(ax, size)


def new_row(axes: Any, count: int, asker: str, height: float = 3.8, **shared: Any) -> np.ndarray:
    """Give a row of axes (count,), new ones where none are given.

    Raises:
        LawfulError: another number was given.
    """
    if axes is None:
        size = (min(3.6 * count + 0.8, 14.0), height)
        axes = pictures.pyplot().subplots(1, count, figsize=size, layout="constrained", squeeze=False, **shared)[1][0]
    axes = np.atleast_1d(np.asarray(axes, object)).reshape(-1)
    if len(axes) != count:
        raise LawfulError(f"{asker}: {len(axes)} axes were given, expected {count}. Fix: give {count}, or none.")
    return axes


def class_colours(count: int) -> list[str]:
    """Give the colour of each class; beyond seven they come round again.

    >>> class_colours(2)
    ['#0072B2', '#D55E00']
    """
    return [COLOURS[k % len(COLOURS)] for k in range(count)]


def blended(probability: np.ndarray, colours: Sequence[str]) -> np.ndarray:
    """Mix colours by probabilities (n, K), in linear light: one who is sure has the colour of a class (n, 3).

    >>> blended(np.eye(2), ["#000000", "#ffffff"]).round(6).tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]
    """
    pictures.pyplot()
    from matplotlib.colors import to_rgb

    light = np.array([to_rgb(colour) for colour in colours]) ** 2.2
    return np.clip(probability @ light, 0.0, 1.0) ** (1 / 2.2)


def rug(ax: Any, at: np.ndarray, **looks: Any) -> None:
    """Mark places along the foot of the axes."""
    ax.plot(at, np.zeros(len(at)), "|", transform=ax.get_xaxis_transform(), clip_on=True,
            **{"color": "0.3", "markersize": 9, "alpha": 0.6, **looks})  # fmt: skip
