"""Parameters of a mixture of trajectories: a tree with a leaf for each block, and the free vector behind it.

Law: `Model.size` is the number of free parameters, and `unpack` reaches every admissible tree from an unconstrained
vector of that length: covariances are C C' with C any lower triangle, no exponential on its diagonal, so that a
singular one is an ordinary point.

Arrays are cut into parts each once: the reverse pass joins what the parts get in one piece of work, where indexing
would scatter, or pad and add, for each part. The density of a class reads every entry of its small matrices by itself,
so this halves its gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .curves import Curve, curve_of

__all__ = ["Bounds", "Model", "Parameters", "Varying", "entries", "free_shape", "pack", "split", "triangle", "unpack"]

LARGEST_GATE = 20.0  # of a coefficient, for a covariate of standard deviation 1
LEAST_NOISE = 1e-6  # share of the variance of all outcomes
LEAST_SPREAD = 1e-2  # of a covariate in a class, given those before it, as a share of its standard deviation


class Varying(NamedTuple):
    """Parameters of time-varying covariates; leaves may have one more axis at the end, of persons.

    Attributes:
        effect: what one unit of a covariate adds to the outcome of the same wave (K, p_v).
        mean: of the covariates at each wave (K, p_v, J), and
        spread: their standard deviations, positive (K, p_v, J); both have J = 0 in the conditional variant.
    """

    effect: Any
    mean: Any
    spread: Any


class Parameters(NamedTuple):
    """The parameters of K classes; leaves may have one more axis at the end, of persons.

    With a random shape the growth factors are q + 1 and the person's shape comes first among them; else they are q.

    Attributes:
        gate: log odds of the classes (K, 1 + p_g), intercept first; the row of the reference class is 0.
        mean: of the growth factors of the curve's basis where growth and time-varying covariates are 0 (K, q).
        shape: shape parameter (K, 1), or (K, 0) for curves that have none.
        slope: of growth factors on growth covariates (K, Q, p_e).
        chol: C with Psi = C C', the residual covariance of growth factors (K, Q, Q).
        noise: residual variance of the outcome (K,).
        x_mean: of growth covariates (K, p_e), and
        x_chol: the factor of their covariance, its diagonal positive (K, p_e, p_e); both have p_e = 0 in the
            conditional variant.
        varying: of time-varying covariates, None where there are none.
    """

    gate: Any
    mean: Any
    shape: Any
    slope: Any
    chol: Any
    noise: Any
    x_mean: Any
    x_chol: Any
    varying: Varying | None = None


class Bounds(NamedTuple):
    """What a shape parameter stays between: a knot leaves the observed times only at the price of a slope."""

    low: Any
    high: Any


@dataclass(frozen=True)
class Model:
    """Which mixture of trajectories is meant: everything that decides the shapes of its parameters.

    Args:
        curve: short name of the curve.
        n_classes: number of classes K.
        p_gate: number of gate covariates.
        p_growth: number of growth covariates.
        intrinsic: whether persons have a shape of their own.
        exact: whether that is integrated out by quadrature, or followed to first order.
        joint: whether growth and time-varying covariates are modelled, class by class, or conditioned on.
        p_varying: number of time-varying covariates with direct effects.
        waves: number of waves J, which decides the moments of these in the joint variant.

    >>> Model("BLS", 2, 2, 2).size, Model("BLS", 2, 2, 2, intrinsic=True).size, Model("BLS", 1).size
    (47, 59, 11)
    >>> Model("BLS", 2, 2, 2, p_varying=1, waves=10).size - 47  # an effect, ten means and ten variances in each class
    42
    """

    curve: str
    n_classes: int
    p_gate: int = 0
    p_growth: int = 0
    intrinsic: bool = False
    exact: bool = False
    joint: bool = True
    p_varying: int = 0
    waves: int = 0

    @property
    def form(self) -> Curve:
        """The curve."""
        return curve_of(self.curve)

    @property
    def n_factors(self) -> int:
        """Number of growth factors Q, the shape among them where it is random."""
        return self.form.q + self.intrinsic

    @property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """The shape of each block of the free vector, in its order; lower triangles are flat."""
        k, q, factors = self.n_classes, self.form.q, self.n_factors
        p = self.p_growth if self.joint else 0
        return {
            "gate": (k - 1, 1 + self.p_gate),
            "mean": (k, q),
            "shape": (k, int(self.form.shape is not None)),
            "slope": (k, factors, self.p_growth),
            "chol": (k, factors * (factors + 1) // 2),
            "noise": (k,),
            "x_mean": (k, p),
            "x_chol": (k, p * (p + 1) // 2),
            "effect": (k, self.p_varying),
            "v_mean": (k, self.p_varying, self.waves * self.joint),
            "v_spread": (k, self.p_varying, self.waves * self.joint),
        }

    @property
    def size(self) -> int:
        """Number of free parameters."""
        return sum(int(np.prod(shape)) for shape in self.blocks.values())

    def places(self, block: str) -> np.ndarray:
        """Give where the entries of a block stand in the free vector, in the block's shape.

        >>> Model("BLS", 2).places("shape").tolist()
        [[7], [8]]
        """
        start = 0
        for name, shape in self.blocks.items():
            if name == block:
                return start + np.arange(int(np.prod(shape))).reshape(shape)
            start += int(np.prod(shape))
        raise KeyError(block)


@partial(jax.jit, static_argnames="model", inline=True)
def unpack(free: Any, model: Model, bounds: Bounds) -> Parameters:
    """Give the parameters at an unconstrained vector.

    Args:
        free: (P, ...): axes after the first are kept at the end of each leaf.
        model: whose parameters.
        bounds: of a knot; a rate is positive and an acceleration negative.

    Returns: the parameters, in the units of `Scaling`: one standard deviation of the outcome, one range of the times.
    """
    free = jnp.asarray(free)
    parts = split(free, [int(np.prod(shape)) for shape in model.blocks.values()])
    at = {
        name: part.reshape(shape + free.shape[1:])
        for (name, shape), part in zip(model.blocks.items(), parts, strict=True)
    }
    gate = LARGEST_GATE * jnp.tanh(at["gate"] / LARGEST_GATE)
    spread = triangle(at["x_chol"], model.p_growth if model.joint else 0)
    for row in spread:
        row[-1] = jnp.sqrt(row[-1] ** 2 + LEAST_SPREAD**2)
    return Parameters(
        gate=jnp.concatenate([jnp.zeros((1, *gate.shape[1:]), free.dtype), gate]),
        mean=at["mean"],
        shape=_shape(at["shape"], model, bounds),
        slope=at["slope"],
        chol=_stacked(triangle(at["chol"], model.n_factors), at["chol"]),
        noise=LEAST_NOISE + jnp.exp(2 * at["noise"]),
        x_mean=at["x_mean"],
        x_chol=_stacked(spread, at["x_chol"]),
        varying=Varying(at["effect"], at["v_mean"], jnp.sqrt(at["v_spread"] ** 2 + LEAST_SPREAD**2))
        if model.p_varying
        else None,
    )


@partial(jax.jit, static_argnames="model", inline=True)
def pack(parameters: Parameters, model: Model, bounds: Bounds) -> jax.Array:
    """Give the vector (P,) that `unpack` takes to the parameters; what is out of bounds is moved inside.

    >>> model, bounds = Model("LIN", 2, 1, 1), Bounds(jnp.zeros(()), jnp.ones(()))
    >>> free = jnp.linspace(-1.0, 1.0, model.size)
    >>> bool(jnp.allclose(pack(unpack(free, model, bounds), model, bounds), free, atol=1e-5))
    True
    """
    gate = jnp.clip((parameters.gate[1:] - parameters.gate[:1]) / LARGEST_GATE, -0.99, 0.99)
    p = parameters.x_chol.shape[1]
    inner = _unfloored(parameters.x_chol[:, np.arange(p), np.arange(p)])
    none = jnp.zeros((model.n_classes, 0))
    varying = parameters.varying or Varying(none, none, none)
    blocks = {
        "gate": LARGEST_GATE * jnp.arctanh(gate),
        "mean": parameters.mean,
        "shape": free_shape(parameters.shape, model, bounds, 1e-3),
        "slope": parameters.slope,
        "chol": parameters.chol[:, *np.tril_indices(model.n_factors)],
        "noise": 0.5 * jnp.log(jnp.maximum(parameters.noise - LEAST_NOISE, LEAST_NOISE)),
        "x_mean": parameters.x_mean,
        "x_chol": parameters.x_chol.at[:, np.arange(p), np.arange(p)].set(inner)[:, *np.tril_indices(p)],
        "effect": varying.effect,
        "v_mean": varying.mean,
        "v_spread": _unfloored(varying.spread),
    }
    return jnp.concatenate([blocks[name].reshape(-1) for name in model.blocks])


def _unfloored(spread: Any) -> jax.Array:
    return jnp.sqrt(jnp.maximum(spread**2 - LEAST_SPREAD**2, LEAST_SPREAD**2))


def _stacked(rows: list[list[jax.Array]], like: jax.Array) -> jax.Array:
    """Give lower triangles (k, p, p, ...) of their rows of entries (k, 1, ...)."""
    p = len(rows)
    if not p:
        return jnp.zeros((like.shape[0], 0, 0, *like.shape[2:]), like.dtype)
    zero = [jnp.zeros_like(rows[0][0])]
    return jnp.stack([jnp.concatenate(row + zero * (p - len(row)), axis=1) for row in rows], axis=1)


def _shape(free: jax.Array, model: Model, bounds: Bounds) -> jax.Array:
    if model.curve == "BLS":
        return bounds.low + (bounds.high - bounds.low) * jax.nn.sigmoid(free)
    return -jnp.exp(free) if model.curve == "JB" else jnp.exp(free)


def free_shape(shape: Any, model: Model, bounds: Bounds, edge: float = 1e-12) -> jax.Array:
    """Give the free coordinate of shape parameters that are admissible.

    Args:
        shape: shapes, like what is given back.
        model: which mixture.
        bounds: of a knot.
        edge: how near to its bounds a knot may be, as a share of their distance.

    >>> float(free_shape(0.5, Model("BLS", 1), Bounds(0.0, 1.0)))
    0.0
    """
    shape = jnp.asarray(shape, jnp.result_type(float))
    if model.curve == "BLS":
        share = jnp.clip((shape - bounds.low) / (bounds.high - bounds.low), edge, 1 - edge)
        return jnp.log(share) - jnp.log1p(-share)
    return jnp.log(jnp.maximum(jnp.abs(shape), 1e-6))


def split(x: jax.Array, sizes: Sequence[int], axis: int = 0) -> list[jax.Array]:
    """Cut along an axis into parts of given sizes.

    >>> import jax.numpy as jnp
    >>> [part.tolist() for part in split(jnp.arange(3), [2, 0, 1])]
    [[0, 1], [], [2]]
    """
    return list(jax.lax.split(x, tuple(sizes), axis=axis))


def entries(x: jax.Array) -> list[jax.Array]:
    """Give the entries along the first axis.

    >>> import jax.numpy as jnp
    >>> [entry.tolist() for entry in entries(jnp.arange(4).reshape(2, 2))]
    [[0, 1], [2, 3]]
    """
    return [jax.lax.squeeze(part, (0,)) for part in split(x, (1,) * len(x))] if len(x) else []


def triangle(flat: jax.Array, p: int) -> list[list[jax.Array]]:
    """Give the rows of entries (k, 1, ...) of lower triangles that are written row by row (k, p (p + 1) / 2, ...).

    >>> import jax.numpy as jnp
    >>> [[float(entry[0, 0]) for entry in row] for row in triangle(jnp.arange(3.0)[None], 2)]
    [[0.0], [1.0, 2.0]]
    """
    parts = iter(split(flat, (1,) * flat.shape[1], axis=1) if flat.shape[1] else [])
    return [[next(parts) for _ in range(a + 1)] for a in range(p)]
