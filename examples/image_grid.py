"""Clean a small noisy image: each pixel of a grid prefers the states of its neighbours.

    python examples/image_grid.py

A picture of smooth areas in a few grey levels is seen through normal noise. The posterior of the pixels is a Potts
grid: its marginals are found by belief propagation, and, since the image is narrow enough, exactly. The state of
largest marginal at every pixel has the smallest expected error rate of all guesses, so the exact marginals say how much
of the error is the noise's; what belief propagation adds is its own. The picture goes to `out/image_grid.png`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from lawful.inference import graphs
from lawful.inference.graphs import Beliefs, FactorGraph


class Image(NamedTuple):
    """The grey level of each pixel (rows, columns), and what was seen there."""

    truth: np.ndarray
    seen: np.ndarray


def image(rows: int, columns: int, levels: int, noise: float, seed: int) -> Image:
    """Cut a smooth random field into areas of equal size, one for each level, and add noise."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(rows, columns)), 2.5, mode="nearest")
    truth = np.searchsorted(np.quantile(field, np.arange(1, levels) / levels), field)
    return Image(truth, truth + noise * rng.normal(size=truth.shape))


def posterior(seen: np.ndarray, levels: int, noise: float, attraction: float) -> FactorGraph:
    """Give the graph of the levels, given what was seen; equal neighbours score `attraction`."""
    graph = FactorGraph()
    scores = -0.5 * ((seen[..., None] - np.arange(levels)) / noise) ** 2
    pixel = graph.variables("pixel", seen.shape, levels, scores)
    same = attraction * np.eye(levels)
    graph.factors("down", [pixel[:-1], pixel[1:]], same)
    graph.factors("right", [pixel[:, :-1], pixel[:, 1:]], same)
    return graph


def error_rate(truth: np.ndarray, guess: np.ndarray) -> float:
    """Share of the pixels that are wrong."""
    return float(np.mean(truth != guess))


def draw(picture: Image, loopy: Beliefs, exact: Beliefs, rates: dict[str, float], out: Path) -> None:
    """Draw truth, image, guess, doubt, and how belief propagation went."""
    belief, marginal = np.asarray(loopy.beliefs["pixel"]), np.asarray(exact.beliefs["pixel"])
    levels = belief.shape[-1]
    figure, axes = plt.subplots(3, 2, figsize=(10, 6), layout="constrained")
    grey = {"cmap": "gray", "vmin": 0, "vmax": levels - 1}
    panels = (
        ("truth", picture.truth, grey),
        (f"seen; nearest level wrong {rates['nearest level']:.1%}", picture.seen, grey),
        (f"largest belief; wrong {rates['loopy']:.1%}", belief.argmax(axis=-1), grey),
        ("doubt: 1 - largest belief", 1 - belief.max(axis=-1), {"cmap": "viridis", "vmin": 0}),
        ("largest error of a belief", np.abs(belief - marginal).max(axis=-1), {"cmap": "viridis", "vmin": 0}),
    )
    for axis, (title, values, look) in zip(axes.flat, panels, strict=False):
        shown = axis.imshow(values, interpolation="nearest", **look)
        axis.set(title=title, xticks=[], yticks=[])
        if look is not grey:
            figure.colorbar(shown, ax=axis, shrink=0.8)
    trace = np.asarray(loopy.info["residuals"])
    trace = trace[np.isfinite(trace)]
    axes[2, 1].semilogy(10 * (1 + np.arange(len(trace))), trace, marker="o")
    axes[2, 1].set(title=f"verdict: {loopy.verdict}, certificate: {loopy.certificate}")
    axes[2, 1].set(xlabel="sweeps", ylabel="change of a message")
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)
    plt.close(figure)


def main(given: Sequence[str] | None = None) -> dict[str, float]:
    """Make the image, clean it twice, compare, draw; gives the error rates."""
    parser = argparse.ArgumentParser(description="Clean a small noisy image by belief propagation.")
    parser.add_argument("--rows", type=int, default=12, help="exact marginals take levels ** rows entries")
    parser.add_argument("--columns", type=int, default=48)
    parser.add_argument("--levels", type=int, default=2)
    parser.add_argument("--noise", type=float, default=0.8, help="standard deviation, in levels")
    parser.add_argument("--attraction", type=float, default=1.2, help="score of two equal neighbours")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("out") / "image_grid.png")
    options = parser.parse_args(given)
    jax.config.update("jax_enable_x64", True)
    picture = image(options.rows, options.columns, options.levels, options.noise, options.seed)
    graph = posterior(picture.seen, options.levels, options.noise, options.attraction)
    print(graph.summary())
    start = time.perf_counter()
    exact = graphs.infer(graph, "exact", compiled=False)
    middle = time.perf_counter()
    loopy = graphs.infer(graph, "loopy")
    print(f"exact in {middle - start:.2f} s; loopy, compilation included, in {time.perf_counter() - middle:.2f} s")
    print(loopy)
    guesses = {
        "nearest level": np.clip(np.round(picture.seen), 0, options.levels - 1),
        "loopy": np.asarray(loopy.beliefs["pixel"]).argmax(axis=-1),
        "exact": np.asarray(exact.beliefs["pixel"]).argmax(axis=-1),
    }
    rates = {name: error_rate(picture.truth, guess) for name, guess in guesses.items()}
    rates["expected of exact"] = float(np.mean(1 - np.asarray(exact.beliefs["pixel"]).max(axis=-1)))
    for name, rate in rates.items():
        print(f"  wrong pixels, {name}: {rate:.2%}")
    gap = np.abs(np.asarray(loopy.beliefs["pixel"]) - np.asarray(exact.beliefs["pixel"])).max()
    print(f"largest error of a belief {gap:.4f}; log Z {float(exact.log_z):.4f}, Bethe {float(loopy.log_z):.4f}")
    draw(picture, loopy, exact, rates, options.out)
    print(f"picture in {options.out}")
    return rates


if __name__ == "__main__":
    main()
