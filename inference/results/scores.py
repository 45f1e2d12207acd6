"""Scores: derivatives of log marginals by the parameters, element by element, and what follows from them.

Law: scores add up to the gradient of the log likelihood, information by curvature is minus its second derivative, and
information by scores the sum of their outer products; where the program is right both estimate one matrix, and where
it is wrong the robust errors H^-1 J H^-1, of curvature H and scores J, are those that hold.

Reference: White (1982), Maximum likelihood estimation of misspecified models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.errors import LawfulError
from lawful.late import pandas

from ..representations.element_terms import LogMarginals, groups_of
from .derivatives import Point, Values, each_at, parameters_of, point

AT_REST = 1e-3  # gain of the log likelihood by a further step, above which values are no maximum


def scores(found: LogMarginals, values: Values, *, unconstrained: bool = False) -> dict[str, jax.Array]:
    """Give the derivatives of each element's log marginal by the parameters.

    Args:
        found: the log marginals.
        values: of the sites that stay, by name; or an optimum of `maximise`.
        unconstrained: whether by the coordinates without bounds of `lawful.density`, in place of the values.

    Returns: by name of the site `(*sizes of the plates, *shape of the site, or of its coordinates)`.

    Raises:
        LawfulError: a missing site, an unknown name, or a wrong shape.
        UnsupportedProgramError: a site that stays is discrete, or made in an arm only.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(mu, 2.0), obs=y)
    >>> found = inference.log_marginals(model, jnp.array([0.0, 2.0]))
    >>> scores(found, {"mu": 2.0})["mu"].tolist()  # (y - mu) / 2**2
    [-0.5, 0.0]
    """
    at = point(found, values, unconstrained)
    rows = jnp.asarray(at.derivative("elements"))
    return at.parameters.by_site(rows.reshape(*found.shape, -1))


def information(
    found: LogMarginals,
    values: Values,
    *,
    method: str = "curvature",
    clusters: Any = None,
    unconstrained: bool = False,
) -> np.ndarray:
    """Give the information of the data about the parameters.

    Args:
        found: the log marginals.
        values: as for `scores`.
        method: "curvature", minus the second derivative of the log likelihood; or "scores", the sum over elements of
            the outer products of their scores. What stands outside of the plate counts as one element more.
        clusters: for "scores", a label an element `(*sizes of the plates)`: those of one cluster are summed first.
        unconstrained: whether in coordinates without bounds.

    Returns: a matrix whose rows are the parameters in the order of `parameter_names`.

    Raises: as `scores`; LawfulError where `clusters` does not fit the elements.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(mu, 2.0), obs=y)
    >>> found = inference.log_marginals(model, jnp.array([0.0, 2.0]))
    >>> information(found, {"mu": 1.0}).tolist(), information(found, {"mu": 1.0}, method="scores").tolist()
    ([[0.5]], [[0.125]])
    """
    if method not in ("curvature", "scores"):
        raise LawfulError(f"information: method: expected 'curvature' or 'scores', got {method!r}.")
    at = point(found, values, unconstrained)
    return _outer(at, clusters) if method == "scores" else -at.derivative("likelihood", 2)


def parameter_names(found: LogMarginals, *, unconstrained: bool = False) -> tuple[str, ...]:
    """Name the parameters in the order of the rows of `information`, elements of a site by their index.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     b = lawful.sample("b", dist.Normal(jnp.zeros(2), 1.0).to_event(1))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(b.sum(), 1.0), obs=y)
    >>> parameter_names(inference.log_marginals(model, jnp.zeros(3)))
    ('b[0]', 'b[1]')
    """
    return parameters_of(found, unconstrained).names


@dataclass(frozen=True, eq=False, repr=False)
class Errors:
    """Standard errors of parameters.

    Attributes:
        names: of the parameters.
        values: of them.
        model: errors of a right program: roots of the diagonal of the inverse curvature.
        robust: errors whether or not it is right: those of `covariance`.
        covariance: the inverse curvature, times the information by scores, times the inverse curvature.
        gain: of the log likelihood by a further step of Newton; 0 at a maximum, where alone errors mean anything.
    """

    names: tuple[str, ...]
    values: np.ndarray
    model: np.ndarray
    robust: np.ndarray
    covariance: np.ndarray
    gain: float

    @property
    def table(self) -> pandas.DataFrame:
        """The errors as a table, a row a parameter."""
        columns = {"value": self.values, "model": self.model, "robust": self.robust, "ratio": self.robust / self.model}
        return pandas.DataFrame(columns, index=pandas.Index(self.names, name="parameter"))

    def __repr__(self) -> str:
        note = "" if self.gain < AT_REST else f"\nthese values are no maximum: a step would gain {self.gain:.3g}"
        return f"{self.table.to_string(float_format=lambda x: f'{x:.4g}')}{note}"


def robust_errors(
    found: LogMarginals, values: Values, *, clusters: Any = None, prior: bool = False, unconstrained: bool = False
) -> Errors:
    """Give standard errors at a maximum of the likelihood that hold though the program may be wrong (sandwich errors).

    They hold for many elements that are independent of each other, whatever their law; no correction for few of them
    is made. Beside them stand the errors of a program that is right.

    Args:
        found: the log marginals.
        values: where the likelihood is largest; with `prior`, the posterior density. As for `scores`.
        clusters: a label for each element `(*sizes of the plates)`, where only elements of different clusters are
            independent.
        prior: whether the curvature is that of likelihood and prior together, the latter by the values of the sites.
        unconstrained: whether in coordinates without bounds.

    Raises:
        LawfulError: the log likelihood does not fall along some direction, which is named; or as `information`.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> errors = robust_errors(inference.log_marginals(model, jnp.array([-3.0, 0.0, 0.0, 3.0])), {"mu": 0.0})
    >>> float(errors.model[0]), round(float(errors.robust[0]), 4)  # 1 / sqrt(n), and the spread of the data / sqrt(n)
    (0.5, 1.0607)
    """
    at = point(found, values, unconstrained)
    slope, curvature = _quadratic(at, prior)
    inverse = _inverse(curvature, at.parameters.names)
    covariance = inverse @ _outer(at, clusters) @ inverse
    roots = np.sqrt(np.diagonal(inverse)), np.sqrt(np.diagonal(covariance))
    gain = float(0.5 * slope @ inverse @ slope)
    return Errors(at.parameters.names, np.asarray(at.vector), *roots, covariance, gain)


@dataclass(frozen=True, eq=False, repr=False)
class LeftOut:
    """What is predicted of each element by the others.

    Attributes:
        log_densities: of each element at the values that the others give `(*sizes of the plates)`.
        values: these, by name of the site `(*sizes of the plates, *shape of the site)`.
    """

    log_densities: np.ndarray
    values: dict[str, np.ndarray]

    @property
    def elpd(self) -> float:
        """The expected log predictive density: the sum over the elements."""
        return float(np.sum(self.log_densities))

    @property
    def error(self) -> float:
        """Its standard error, from the spread over the elements."""
        return float(np.sqrt(self.log_densities.size) * np.std(self.log_densities, ddof=1))

    def __repr__(self) -> str:
        return f"LeftOut(elpd {self.elpd:.4g} +- {self.error:.2g}, {self.log_densities.size} elements)"


def leave_one_out(found: LogMarginals, values: Values, *, prior: bool = False) -> LeftOut:
    """Predict each element by the others, at the maximum of their likelihood: one step of Newton from that of all.

    The step uses the exact derivatives without the element, so that it is exact where the log likelihood is quadratic.
    It is taken in coordinates without bounds. Work grows as the square of the number of elements. By draws of the
    posterior, `result.loo(log_likelihood=found)` leaves elements out by Pareto smoothed weights.

    Args:
        found: the log marginals.
        values: where the likelihood is largest; with `prior`, the posterior density. As for `scores`.
        prior: whether the others' likelihood is taken with the prior.

    Raises: as `robust_errors`; also where the others do not determine the parameters.

    >>> import numpyro.distributions as dist, lawful
    >>> from lawful import inference
    >>> def model(y):
    ...     mu = lawful.sample("mu", dist.Normal(0.0, 5.0))
    ...     with lawful.plate("i", len(y)):
    ...         lawful.sample("y", dist.Normal(mu, 1.0), obs=y)
    >>> found = inference.log_marginals(model, jnp.array([0.0, 1.0, 5.0]))
    >>> leave_one_out(found, {"mu": 2.0}).values["mu"].tolist()  # means of the other two
    [3.0, 2.5, 0.5]
    """
    found.refuse_if_linked("leave_one_out")
    at = point(found, values, True)
    slope, curvature = _quadratic(at, prior)
    others = curvature + at.derivative("elements", 2)  # minus the second derivative of each is taken away
    least = np.linalg.eigvalsh(others)[:, 0]
    if not (least > 0).all():
        _inverse(curvature, at.parameters.names)
        raise LawfulError(
            f"leave_one_out: without element {int(np.argmin(least))} the others do not determine the parameters. Fix: "
            "merge parameters, or give them a prior, with prior=True."
        )
    steps = np.linalg.solve(others, (slope - at.derivative("elements"))[..., None])[..., 0]
    densities, columns = each_at(at.parameters, at.vector + steps)
    own = zip(found.choices, columns, strict=True)
    each = {c.name: np.asarray(x).reshape(*found.shape, *c.full_shape) for c, x in own}
    return LeftOut(np.asarray(densities).reshape(found.shape), each)


def _quadratic(at: Point, prior: bool) -> tuple[np.ndarray, np.ndarray]:
    """Give the slope and minus the second derivative of the log likelihood, or with the prior."""
    part = "joint" if prior else "likelihood"
    return at.derivative(part), -at.derivative(part, 2)


def _outer(at: Point, clusters: Any) -> np.ndarray:
    """Sum the outer products of the scores of elements, or of clusters."""
    rows = at.derivative("elements")
    if clusters is not None:
        labels, index = groups_of(clusters, at.parameters.found.shape, "clusters")
        sums = np.zeros((len(labels), rows.shape[1]))
        np.add.at(sums, index, rows)
        rows = sums
    rows = np.concatenate([rows, at.derivative("outside")[None]])
    return rows.T @ rows


def _inverse(curvature: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """Invert a curvature.

    Raises: LawfulError where it is not positive definite, naming the parameters along whose direction it is not.
    """
    if not np.isfinite(curvature).all():
        raise LawfulError(
            "the second derivative of the log likelihood is not finite. Fix: give values inside the support."
        )
    values, directions = np.linalg.eigh(curvature)
    if values[0] <= 1e-12 * max(values[-1], 0.0):
        weight = np.abs(directions[:, 0])
        most = [names[k] for k in np.argsort(-weight)[:3] if weight[k] > 0.1]
        raise LawfulError(
            f"the log likelihood does not fall in some direction, along {', '.join(most)}, so there are no errors. "
            "Fix: give the values of a maximum; where the data do not tell parameters apart, fix some, or prior=True."
        )
    return np.asarray(directions / values @ directions.T)
