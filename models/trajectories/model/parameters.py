"""Parameters of a mixture of trajectories: a tree with a leaf for each block, and the free vector behind it.

Law: `Model.size` is the number of free parameters, and `unpack` reaches every admissible tree from an unconstrained
vector of that length: covariances are C C' with C any lower triangle, no exponential on its diagonal, so that a
singular one is an ordinary point. What is equal in all classes stands once in that vector, what is fixed not at all; so
whatever is a function of it, as scores, errors, searches and the number of parameters, knows of both.

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

__all__ = [
    "ALIKE",
    "Bounds",
    "Model",
    "Parameters",
    "Varying",
    "entries",
    "free_shape",
    "pack",
    "shared",
    "split",
    "triangle",
    "unpack",
]

LARGEST_GATE = 20.0  # of a coefficient, for a covariate of standard deviation 1
LEAST_NOISE = 1e-6  # share of the variance of all outcomes
# What may be equal in all classes, and the blocks of the free vector that it is.
ALIKE = {
    "psi": ("chol",), "residual": ("noise",), "slope": ("slope",), "shape": ("shape",),
    "covariates": ("x_mean", "x_chol"), "kappa": ("effect",), "varying": ("v_mean", "v_spread"),
}  # fmt: skip
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
    """What a shape parameter stays between: a knot leaves the observed times only at the price of a slope.

    Where the shape is fixed, both are its value, whatever the curve.
    """

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
        equal: what is equal in all classes, of `ALIKE`.
        random: growth factors that differ between persons, of `factors`; None for all.
        fixed: whether the shape parameter is known, and the same in all classes.

    >>> Model("BLS", 2, 2, 2).size, Model("BLS", 2, 2, 2, intrinsic=True).size, Model("BLS", 1).size
    (47, 59, 11)
    >>> Model("BLS", 2, 2, 2, p_varying=1, waves=10).size - 47  # an effect, ten means and ten variances in each class
    42
    >>> Model("BLS", 2, equal=("psi", "residual")).size, Model("LIN", 2, random=()).size
    (16, 7)
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
    equal: tuple[str, ...] = ()
    random: tuple[str, ...] | None = None
    fixed: bool = False

    @property
    def form(self) -> Curve:
        """The curve."""
        return curve_of(self.curve)

    @property
    def n_factors(self) -> int:
        """Number of growth factors Q, the shape among them where it is random."""
        return self.form.q + self.intrinsic

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the growth factors (Q,), a random shape first."""
        return (*((str(self.form.shape),) if self.intrinsic else ()), *self.form.factors)

    @property
    def random_places(self) -> np.ndarray:
        """Which growth factors differ between persons, of `factors`, from 0 (r,)."""
        return np.array([i for i, name in enumerate(self.factors) if self.random is None or name in self.random], int)

    @property
    def alike(self) -> frozenset[str]:
        """Blocks of the free vector that stand once for all classes."""
        return frozenset(block for name in self.equal for block in ALIKE[name])

    @property
    def constrained(self) -> bool:
        """Whether anything is equal in all classes, or fixed."""
        return bool(self.equal or self.random is not None or self.fixed)

    @property
    def blocks(self) -> dict[str, tuple[int, ...]]:
        """The shape of each block of the free vector, in its order; lower triangles are flat."""
        k, q, factors, random = self.n_classes, self.form.q, self.n_factors, len(self.random_places)
        p = self.p_growth if self.joint else 0
        shapes: dict[str, tuple[int, ...]] = {
            "gate": (k - 1, 1 + self.p_gate),
            "mean": (k, q),
            "shape": (k, int(self.form.shape is not None and not self.fixed)),
            "slope": (k, factors, self.p_growth),
            "chol": (k, random * (random + 1) // 2),
            "noise": (k,),
            "x_mean": (k, p),
            "x_chol": (k, p * (p + 1) // 2),
            "effect": (k, self.p_varying),
            "v_mean": (k, self.p_varying, self.waves * self.joint),
            "v_spread": (k, self.p_varying, self.waves * self.joint),
        }
        return {name: (1, *shape[1:]) if name in self.alike else shape for name, shape in shapes.items()}

    @property
    def size(self) -> int:
        """Number of free parameters."""
        return sum(int(np.prod(shape)) for shape in self.blocks.values())

    def places(self, block: str) -> np.ndarray:
        """Give where the entries of a block stand in the free vector, class by class, in the block's shape.

        >>> Model("BLS", 2).places("shape").tolist()
        [[7], [8]]
        >>> Model("BLS", 2, equal=("shape",)).places("shape").tolist()
        [[7], [7]]
        """
        start = 0
        for name, shape in self.blocks.items():
            if name == block:
                own = start + np.arange(int(np.prod(shape))).reshape(shape)
                return np.broadcast_to(own, (self.n_classes, *shape[1:])) if name in self.alike else own
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
    for name in model.alike:
        at[name] = jnp.broadcast_to(at[name], (model.n_classes, *at[name].shape[1:]))
    gate = LARGEST_GATE * jnp.tanh(at["gate"] / LARGEST_GATE)
    spread = triangle(at["x_chol"], model.p_growth if model.joint else 0)
    for row in spread:
        row[-1] = jnp.sqrt(row[-1] ** 2 + LEAST_SPREAD**2)
    return Parameters(
        gate=jnp.concatenate([jnp.zeros((1, *gate.shape[1:]), free.dtype), gate]),
        mean=at["mean"],
        shape=_shape(at["shape"], model, bounds),
        slope=at["slope"],
        chol=_stacked(_with_still(at["chol"], model), at["chol"]),
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
    places = model.random_places
    rows, columns = np.tril_indices(len(places))
    blocks = {
        "gate": LARGEST_GATE * jnp.arctanh(gate),
        "mean": parameters.mean,
        "shape": jnp.zeros(0) if model.fixed else free_shape(parameters.shape, model, bounds, 1e-3),
        "slope": parameters.slope,
        "chol": parameters.chol[:, places[rows], places[columns]],
        "noise": 0.5 * jnp.log(jnp.maximum(parameters.noise - LEAST_NOISE, LEAST_NOISE)),
        "x_mean": parameters.x_mean,
        "x_chol": parameters.x_chol.at[:, np.arange(p), np.arange(p)].set(inner)[:, *np.tril_indices(p)],
        "effect": varying.effect,
        "v_mean": varying.mean,
        "v_spread": _unfloored(varying.spread),
    }
    for name in model.alike:
        blocks[name] = shared(blocks[name])
    return jnp.concatenate([blocks[name].reshape(-1) for name in model.blocks])


def shared(x: jax.Array, axis: int = 0) -> jax.Array:
    """Give the mean over classes, the axis kept: what they have in common where they are alike, to the last bit.

    >>> shared(jnp.array([0.1, 0.1, 0.1])).tolist() == jnp.array([0.1]).tolist()
    True
    """
    first = jax.lax.slice_in_dim(x, 0, min(1, x.shape[axis]), axis=axis)
    return first + jnp.mean(x - first, axis=axis, keepdims=True)


def _with_still(chol: jax.Array, model: Model) -> list[list[jax.Array]]:
    """Give the rows of entries of the factor of Psi, with zeros for growth factors that all persons share."""
    places = model.random_places.tolist()
    own = triangle(chol, len(places))
    if len(places) == model.n_factors:
        return own
    zero = jnp.zeros((model.n_classes, 1, *chol.shape[2:]), chol.dtype)
    return [
        [own[places.index(a)][places.index(b)] if a in places and b in places else zero for b in range(a + 1)]
        for a in range(model.n_factors)
    ]


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
    if model.fixed:
        return jnp.broadcast_to(jnp.asarray(bounds.low, free.dtype), (model.n_classes, 1, *free.shape[2:]))
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
