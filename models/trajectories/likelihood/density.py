"""The density of a mixture of trajectories, with growth factors integrated out and classes summed out.

Law: class by class `N(y; L (a + B x), L Psi L' + th I)`, times `N(x; mu, Phi)` in the joint variant; with the gate,
`l_i = log sum_k P(k | x_g) N(...)`. Time-varying covariates add kappa_k x_ij to y_ij; in the joint variant each is
normal with a mean and a variance for each class and wave, waves apart. (Forms that follow such a covariate by a growth
model of its own are not here.) With Psi = C C', G = L'L and M = I + C' G C / th,

    log det Sigma = J log th + log det M,    r' Sigma^-1 r = r'r / th - v' M^-1 v,    v = C' L'r / th,

so that no J x J matrix is formed, a missing outcome is a row of zeros, and a singular Psi is an ordinary point (M >=
I).

Why by hand: `program.trajectory_mixture` has the same density under `integrate_normals(["eta"]) >> marginalise(["z"])`,
to 1e-12, and for 47 parameters and 500 persons value and gradient take 1.2 times as long (0.61 and 0.49 ms). But fits
and posteriors ask for many parameters side by side, and there it is 5 times: of 256 each takes 2.1 ms, and 0.41 here,
since here some at a time are visited, as many as fit into fast memory (`marginal`), sums over waves bring their own
derivatives (`sums`), and one reverse pass gives the scores of all persons. A person's own shape has no other integral.

A person's own shape is integrated out by Gauss-Legendre rules on pieces that no kink lies inside, exact but for
rounding as rules grow, since the function is smooth on every piece. A spline's likelihood has a kink where the knot
passes an observed time: one rule across kinks, as that of Gauss and Hermite, is off by 2 units of -2LL for 500 persons
with 21 points.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp

from ..model.panels import Panel
from ..model.parameters import Model, Parameters, entries
from .sums import Sums, summed, wave_sums

__all__ = [
    "class_log_densities",
    "factor_scores",
    "log_likelihood_by_person",
    "log_memberships",
    "log_prior_classes",
    "pieces",
]

EDGES = (-8.0, -5.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 5.0, 8.0)  # of pieces, in standard deviations
NODES = 8  # of each piece of the quadrature over a person's own shape
TINY = 1e-9  # spread of shapes below which kinks are as far as they can be
LEAST = -1e30  # a log density of nothing
ROUNDING = 64  # of a difference of quadratic forms, in units of the larger one's last digit
LOG_2PI = float(np.log(2 * np.pi))


@partial(jax.jit, static_argnames=("model", "nodes"))
def log_likelihood_by_person(
    parameters: Parameters, panel: Panel, model: Model, width: Any = 0.0, nodes: int = NODES
) -> jax.Array:
    """Give the log-likelihood of each person (n,).

    Args:
        parameters: in the units of the panel; each leaf ends with an axis of length 1, or of n for parameters that
            differ by person, which is how scores of persons are had by one reverse pass.
        panel: n persons.
        model: which mixture.
        width: of the smoothing of kinks, in units of time.
        nodes: of each piece of the quadrature, where a person's own shape is integrated out.

    >>> from lawful.models.trajectories import Bounds, panel, unpack
    >>> model = Model("LIN", 2)
    >>> free = jnp.zeros((model.size, 1))
    >>> at = unpack(free, model, Bounds(jnp.zeros(()), jnp.ones(())))
    >>> log_likelihood_by_person(at, panel([[0.0, 1.0]], [0.0, 1.0]), model).round(3).tolist()
    [-2.338]
    """
    return logsumexp(_joint(parameters, panel, model, width, nodes), axis=0)


@partial(jax.jit, static_argnames=("model", "nodes"))
def log_memberships(
    parameters: Parameters, panel: Panel, model: Model, width: Any = 0.0, nodes: int = NODES
) -> jax.Array:
    """Give the log probability of each class for each person, given all that was seen of the person (K, n)."""
    return jax.nn.log_softmax(_joint(parameters, panel, model, width, nodes), axis=0)


def log_prior_classes(gate: jax.Array, covariates: jax.Array) -> jax.Array:
    """Give the log probability of each class given the gate covariates alone (K, n).

    Args:
        gate: log odds (K, 1 + p_g, 1), or (..., n).
        covariates: 1 and the covariates (1 + p_g, n).
    """
    return jax.nn.log_softmax(jnp.sum(gate * covariates[None], axis=1), axis=0)


@partial(jax.jit, static_argnames=("model", "nodes"))
def class_log_densities(
    parameters: Parameters, panel: Panel, model: Model, width: Any = 0.0, nodes: int = NODES
) -> jax.Array:
    """Give the log density of what was seen of each person in each class, the gate left out (K, n)."""
    one = partial(_class_log_density, panel=panel, model=model, width=width, nodes=nodes)
    return jax.vmap(one)(parameters._replace(gate=parameters.noise))  # the gate belongs to no class


@partial(jax.jit, static_argnames="model")
def factor_scores(parameters: Parameters, panel: Panel, model: Model, width: Any = 0.0) -> tuple[jax.Array, jax.Array]:
    """Give mean (K, n, Q) and covariance (K, n, Q, Q) of a person's growth factors, given the class and the outcomes.

    The factors are those of the curve's basis; a random shape comes first and is followed to first order, as its
    deviation from the shape of the class.
    """

    def one(p: Parameters) -> tuple[jax.Array, jax.Array]:
        centre, seen = _moments(p, panel, model, width)
        size = model.n_factors
        information = jnp.stack([jnp.stack(row) for row in seen.information]).transpose(2, 0, 1)
        chol = jnp.moveaxis(jnp.broadcast_to(p.chol, (size, size, panel.n)), -1, 0)
        inner = jnp.linalg.inv(information + jnp.eye(size, dtype=information.dtype)[None])
        moved = jnp.einsum("nab,nbc,nc->na", chol, inner, jnp.stack(seen.score, axis=-1))
        mean = jnp.stack([jnp.broadcast_to(row[0], (panel.n,)) for row in centre])
        return mean.T + moved, jnp.einsum("nab,nbc,ndc->nad", chol, inner, chol)

    return jax.vmap(one)(parameters._replace(gate=parameters.noise))


class _Seen(NamedTuple):
    """What the outcomes of persons say: C' G C / th, C' L'r / th, r'r / th, and J log th + J log 2 pi."""

    information: list[list[jax.Array]]
    score: list[jax.Array]
    square: jax.Array
    constant: jax.Array


def _joint(parameters: Parameters, panel: Panel, model: Model, width: Any, nodes: int) -> jax.Array:
    prior = log_prior_classes(parameters.gate, panel.gate)
    return prior + class_log_densities(parameters, panel, model, width, nodes)


def _class_log_density(p: Parameters, panel: Panel, model: Model, width: Any, nodes: int) -> jax.Array:
    if model.intrinsic and model.exact:
        found = _integrated(p, _less_direct(p, panel), model, width, nodes)
    else:
        found = _gaussian(_moments(p, panel, model, width)[1])
    return found + _covariates(p, panel) if model.joint else found


def _less_direct(p: Parameters, panel: Panel) -> Panel:
    """Take what time-varying covariates add to the outcomes of a class off them."""
    if p.varying is None:
        return panel
    return panel._replace(y=panel.y - jnp.sum(p.varying.effect[:, None] * panel.varying, axis=0))


def _moments(p: Parameters, panel: Panel, model: Model, width: Any) -> tuple[list[jax.Array], _Seen]:
    """Linearise a class: the means of its growth factors (1, n), beside waves, and what outcomes say of them."""
    panel = _less_direct(p, panel)
    intercepts = [row[None] for row in entries(p.mean)]
    shape = p.shape if model.form.shape else jnp.zeros_like(p.mean[:1])
    centre = [jnp.zeros_like(intercepts[0])] * model.intrinsic + intercepts
    mean = [c + moved[None] for c, moved in zip(centre, _moved_by_covariates(p, panel), strict=True)]
    if model.intrinsic or p.varying is not None:  # loadings or outcomes depend on more than the shape
        columns = list(model.form.basis(panel.t, shape, width))
        if model.intrinsic:  # a deviation of the shape comes first, and has mean 0
            columns.insert(0, model.form.sensitivity(panel.t, shape, intercepts, width))
        sums = _summed(columns, mean, panel)
    else:
        each = jnp.broadcast_to(shape[0], (panel.n,))
        sums = wave_sums(model.form, each, [row[0] for row in mean], panel, width)
    return mean, _seen(sums, _rows(p.chol), p.noise, panel)


def _integrated(p: Parameters, panel: Panel, model: Model, width: Any, nodes: int) -> jax.Array:
    """Integrate a person's own shape out: given the shape the rest is Gaussian. Pieces are met one after the other."""
    moved, intercepts, chol = _moved_by_covariates(p, panel), entries(p.mean), _rows(p.chol)
    below = [row[1:] for row in chol[1:]]
    centre, spread = p.shape[0] + moved[0], chol[0][0]
    kinks = panel.t[:0]
    if model.curve == "BLS":
        safe = jnp.where(jnp.abs(spread) > TINY, spread, TINY)
        kinks = jnp.where(panel.mask > 0, (panel.t - centre) / safe, 0.0)

    def at(z: jax.Array) -> jax.Array:
        shape = (centre + spread * z)[None]
        mean = [(intercepts[c] + moved[c + 1] + chol[c + 1][0] * z)[None] for c in range(model.form.q)]
        sums = _summed(model.form.basis(panel.t, shape, width), mean, panel)
        return _gaussian(_seen(sums, below, p.noise, panel))

    @jax.checkpoint  # so that memory is that of one piece
    def add(total: jax.Array, piece: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return jnp.logaddexp(total, logsumexp(jax.vmap(at)(piece[0]) + piece[1], axis=0)), None

    nothing = jnp.full(panel.n, LEAST, p.mean.dtype)
    return jax.lax.scan(add, nothing, pieces(kinks, nodes))[0]


def _rows(matrix: jax.Array) -> list[list[jax.Array]]:
    """Give the entries of a matrix (a, b, m), each of which the density reads by itself."""
    return [entries(row) for row in entries(matrix)]


def _moved_by_covariates(p: Parameters, panel: Panel) -> list[jax.Array]:
    """By how much covariates move each growth factor of each person (n,)."""
    nothing = jnp.zeros((1, panel.n), p.slope.dtype)
    return entries(jnp.sum(p.slope * panel.growth[None], axis=1) + nothing)


def _summed(columns: Sequence[jax.Array], mean: list[jax.Array], panel: Panel) -> Sums:
    columns = [jnp.broadcast_to(column, panel.t.shape) * panel.mask for column in columns]
    fitted = sum(columns[c] * mean[c] for c in range(1, len(columns))) + columns[0] * mean[0]
    return summed(columns, panel.y - fitted)


def _seen(sums: Sums, chol: list[list[jax.Array]], noise: jax.Array, panel: Panel) -> _Seen:
    size = len(sums.reached)
    gram = dict(zip([(c, d) for c in range(size) for d in range(c, size)], sums.gram, strict=True))
    rows = [
        [sum(gram[min(c, d), max(c, d)] * chol[d][e] for d in range(e, size)) for e in range(size)] for c in range(size)
    ]
    information = [
        [sum(chol[c][d] * rows[c][e] for c in range(d, size)) / noise for e in range(size)] for d in range(size)
    ]
    score = [sum(chol[c][d] * sums.reached[c] for c in range(d, size)) / noise for d in range(size)]
    waves = jnp.sum(panel.mask, axis=0)
    return _Seen(information, score, sums.square / noise, waves * (jnp.log(noise) + LOG_2PI))


def _gaussian(seen: _Seen) -> jax.Array:
    """Give the log density by L D L' of M, written out, since M has at most four rows.

    Far out, as where a residual variance is next to nothing, the quadratic form is a difference of numbers that agree
    in all their digits; it is then taken for as large as its rounding error. Pivots of M >= I are no less than 1.
    """
    size = len(seen.score)
    explained = jnp.zeros_like(seen.square)
    lower: dict[tuple[int, int], jax.Array] = {}
    pivot: list[jax.Array] = []
    z: list[jax.Array] = []
    total = seen.constant
    for a in range(size):
        for b in range(a):
            inner = seen.information[a][b] - sum(lower[a, c] * lower[b, c] * pivot[c] for c in range(b))
            lower[a, b] = inner / pivot[b]
        found = 1.0 + seen.information[a][a] - sum(lower[a, c] ** 2 * pivot[c] for c in range(a))
        pivot.append(jnp.where(found < 1.0, 1.0, found))
        z.append(seen.score[a] - sum(lower[a, c] * z[c] for c in range(a)))
        total, explained = total + jnp.log(pivot[a]), explained + z[a] ** 2 / pivot[a]
    form, least = seen.square - explained, ROUNDING * jnp.finfo(explained.dtype).eps * seen.square
    return -0.5 * (total + jnp.where(form < least, least, form))


def _covariates(p: Parameters, panel: Panel) -> jax.Array:
    """Give the log density of growth covariates (n,), by forward substitution, and of time-varying ones."""
    total = jnp.zeros(panel.n, p.mean.dtype)
    mean, chol = entries(p.x_mean), _rows(p.x_chol)
    z: list[jax.Array] = []
    for a, seen in enumerate(entries(panel.growth)):
        known = sum((chol[a][b] * z[b] for b in range(a)), jnp.zeros((), p.mean.dtype))
        z.append((seen - mean[a] - known) / chol[a][a])
        total = total - 0.5 * (z[a] ** 2 + LOG_2PI) - jnp.log(chol[a][a])
    if p.varying is not None:
        away = (panel.varying - p.varying.mean) / p.varying.spread
        each = 0.5 * (away**2 + LOG_2PI) + jnp.log(p.varying.spread)
        total = total - jnp.sum(each * panel.mask[None], axis=(0, 1))
    return total


def pieces(kinks: Any, nodes: int) -> tuple[jax.Array, jax.Array]:
    """Give the points and weights of each piece.

    Args:
        kinks: where each person's function has kinks, in standard deviations (J, n); J may be 0.
        nodes: points of a piece.

    Returns: points, and logs of weights that hold the normal density (pieces, nodes, n), (pieces, nodes, n). Points do
    not follow parameters: what an integral is does not depend on them.

    >>> points, logs = pieces(jnp.array([[0.3]]), 8)
    >>> float((jnp.exp(logs) * jnp.abs(points - 0.3)).sum().round(5))  # E |z - 0.3|
    0.83352
    """
    kinks = jax.lax.stop_gradient(kinks)
    fixed = jnp.broadcast_to(jnp.asarray(EDGES, kinks.dtype)[:, None], (len(EDGES), kinks.shape[1]))
    edges = jnp.sort(jnp.concatenate([fixed, jnp.clip(kinks, EDGES[0], EDGES[-1])]), axis=0)
    at, weight = (jnp.asarray(each, kinks.dtype)[None, :, None] for each in np.polynomial.legendre.leggauss(nodes))
    half = 0.5 * (edges[1:] - edges[:-1])[:, None]
    points = edges[:-1][:, None] + half * (1 + at)
    least = jnp.finfo(kinks.dtype).tiny  # pieces may be empty
    return points, jnp.log(half * weight + least) - 0.5 * (points**2 + LOG_2PI)
