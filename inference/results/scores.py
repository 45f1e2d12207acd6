"""Scores: derivatives of log marginals by the parameters, element by element, and what follows from them.

Law: scores add up to the gradient of the log likelihood, information by curvature is minus its second derivative, and
information by scores the sum of their outer products; where the program is right both estimate one matrix, and where
it is wrong the robust errors H^-1 J H^-1, of curvature H and scores J, are those that hold.

Reference: White (1982), Maximum likelihood estimation of misspecified models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful.backends.log_density import gather_choices
from lawful.errors import LawfulError, UnsupportedProgramError
from lawful.form import Form
from lawful.form.cached import per_form
from lawful.interop.density import Density
from lawful.late import pandas

from ..transformers.log_marginals import LogMarginals, Parts
from .optima import Optimum

type Values = Mapping[Any, Any] | Optimum

AT_REST = 1e-3  # gain of the log likelihood by a further step, above which values are no maximum


def scores(found: LogMarginals, values: Values, *, unconstrained: bool = False) -> dict[str, jax.Array]:
    """Give the derivatives of each element's log marginal by the parameters.

    Args:
        found: the log marginals.
        values: of the sites that stay, by name; or an optimum of `maximise`.
        unconstrained: whether by the coordinates without bounds of `lawful.density`, in place of the values.

    Returns: by name of the site (*sizes of the plates, *shape of the site, or of its coordinates).

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
    by = _parameters(found, unconstrained)
    rows = by.scores(by.vector(values))
    return {name: rows[:, start:stop].reshape(*found.shape, *shape) for name, (start, stop, shape) in by.places.items()}


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
        clusters: for "scores", a label for each element (*sizes of the plates): scores of one cluster are summed first.
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
    by = _parameters(found, unconstrained)
    at = by.vector(values)
    if method == "curvature":
        return np.asarray(by.curvature(at))
    if method != "scores":
        raise LawfulError(f"information: method: expected 'curvature' or 'scores', got {method!r}.")
    return _outer(by, at, found, clusters)


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
    return _parameters(found, unconstrained).names


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
        clusters: a label for each element (*sizes of the plates), where only elements of different clusters are
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
    by = _parameters(found, unconstrained)
    at = by.vector(values)
    curvature = np.asarray(by.curvature(at) + (by.prior_curvature(at) if prior else 0.0))
    slope = np.asarray(by.slope(at) + (by.prior_slope(at) if prior else 0.0))
    inverse = _inverse(curvature, by.names)
    covariance = inverse @ _outer(by, at, found, clusters) @ inverse
    roots = np.sqrt(np.diagonal(inverse)), np.sqrt(np.diagonal(covariance))
    return Errors(by.names, np.asarray(at), *roots, covariance, float(0.5 * slope @ inverse @ slope))


@dataclass(frozen=True, eq=False, repr=False)
class LeftOut:
    """What is predicted of each element by the others.

    Attributes:
        log_densities: of each element at the values that the others give (*sizes of the plates).
        values: these, by name of the site (*sizes of the plates, *shape of the site).
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
    by = _parameters(found, True)
    at = by.vector(values)
    curvature = by.curvature(at) + (by.prior_curvature(at) if prior else 0.0)
    slope = by.slope(at) + (by.prior_slope(at) if prior else 0.0)
    others = np.asarray(curvature + by.curvatures(at))  # minus the second derivative of each is taken away
    if not (np.linalg.eigvalsh(others)[:, 0] > 0).all():
        _inverse(np.asarray(curvature), by.names)
        k = int(np.argmin(np.linalg.eigvalsh(others)[:, 0]))
        raise LawfulError(
            f"leave_one_out: without element {k} the others do not determine the parameters. Fix: merge parameters, or "
            "give them a prior, with prior=True."
        )
    steps = np.linalg.solve(others, np.asarray(slope - by.scores(at))[..., None])[..., 0]
    densities, columns = by.at_others(at + steps)
    own = {
        c.name: np.asarray(x).reshape(*found.shape, *c.full_shape) for c, x in zip(found.choices, columns, strict=True)
    }
    return LeftOut(np.asarray(densities).reshape(found.shape), own)


class _Parameters:
    """The parameters of log marginals as one vector, and derivatives by it."""

    def __init__(self, found: LogMarginals, unconstrained: bool) -> None:
        self.found, self.unconstrained = found, unconstrained
        for choice in found.choices:
            if not jnp.issubdtype(choice.dtype, jnp.floating) or choice.conditional:
                what = "is made in an arm only" if choice.conditional else "is discrete"
                raise UnsupportedProgramError(
                    f"scores: the site '{choice.name}' ({choice.source}), which stays, {what}, and has no derivative. "
                    "Fix: sum it out, by enumerate= of log_marginals.",
                    site=choice.address,
                )
        self.density = Density(found.marginal, (), found.inputs) if unconstrained else None

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by site."""
        if self.density is None:
            return {c.name: c.full_shape for c in self.found.choices}
        _, unravel = self.density.ravel()
        whole = jax.eval_shape(unravel, jax.ShapeDtypeStruct(self.density.ravel()[0].shape, jnp.result_type(float)))
        return {c.name: tuple(whole[c.name].shape) for c in self.found.choices}

    @cached_property
    def places(self) -> dict[str, tuple[int, int, tuple[int, ...]]]:
        """Where each site begins and ends in the vector, and its shape there."""
        ends = np.cumsum([int(np.prod(shape)) for shape in self.shapes.values()]).tolist()
        starts = [0, *ends[:-1]]
        return {n: (a, b, s) for (n, s), a, b in zip(self.shapes.items(), starts, ends, strict=True)}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters."""
        return tuple(
            f"{name}[{', '.join(map(str, index))}]" if index else name
            for name, shape in self.shapes.items()
            for index in np.ndindex(*shape)
        )

    def vector(self, values: Values) -> jax.Array:
        """Give values as one vector."""
        if isinstance(values, Optimum):  # which has what the program names, too
            values = {c.name: values.values[c.name] for c in self.found.choices}
        arrays: Any = gather_choices(self.found.choices, values)[0]
        if self.density is not None:
            position = self.density.unconstrain(dict(zip(self.shapes, arrays, strict=True)))
            arrays = [position[name] for name in self.shapes]
        return jnp.concatenate([jnp.zeros(0), *(jnp.ravel(x) for x in arrays)])

    def split(self, vector: jax.Array) -> list[jax.Array]:
        """Give the values of the sites from a vector."""
        parts = {name: vector[a:b].reshape(shape) for name, (a, b, shape) in self.places.items()}
        if self.density is None:
            return list(parts.values())
        values = self.density.constrain(parts)
        return [values[name] for name in self.shapes]

    def parts(self, vector: jax.Array) -> Parts:
        """Give the three parts of the log density."""
        return Parts(*self.found.function(self.found.inputs, self.split(vector)))

    def elements(self, vector: jax.Array) -> jax.Array:
        """Give the log marginals in a row."""
        return self.parts(vector).elements.ravel()

    def likelihood(self, vector: jax.Array) -> jax.Array:
        """Give the log likelihood."""
        found = self.parts(vector)
        return jnp.sum(found.elements) + found.outside

    @cached_property
    def scores(self) -> Callable[[jax.Array], jax.Array]:
        """Scores (elements, parameters)."""
        few = len(self.names) <= int(np.prod(self.found.shape))
        return jax.jit(jax.jacfwd(self.elements) if few else jax.jacrev(self.elements))

    @cached_property
    def slope(self) -> Callable[[jax.Array], jax.Array]:
        """The gradient of the log likelihood."""
        return jax.jit(jax.grad(self.likelihood))

    @cached_property
    def outside(self) -> Callable[[jax.Array], jax.Array]:
        """The gradient of what stands outside of the plate."""
        return jax.jit(jax.grad(lambda vector: self.parts(vector).outside))

    @cached_property
    def curvature(self) -> Callable[[jax.Array], jax.Array]:
        """Minus the second derivative of the log likelihood."""
        return jax.jit(lambda vector: -jax.hessian(self.likelihood)(vector))

    @cached_property
    def curvatures(self) -> Callable[[jax.Array], jax.Array]:
        """The second derivative of each element's log marginal."""
        return jax.jit(jax.jacfwd(jax.jacfwd(self.elements)))

    @cached_property
    def prior_slope(self) -> Callable[[jax.Array], jax.Array]:
        """The gradient of the log prior."""
        return jax.jit(jax.grad(lambda vector: self.parts(vector).prior))

    @cached_property
    def prior_curvature(self) -> Callable[[jax.Array], jax.Array]:
        """Minus the second derivative of the log prior."""
        return jax.jit(lambda vector: -jax.hessian(lambda x: self.parts(x).prior)(vector))

    @cached_property
    def at_others(self) -> Callable[[jax.Array], tuple[jax.Array, list[jax.Array]]]:
        """The log marginal of each element at a vector of its own, and the values of the sites there."""

        def one(own: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, list[jax.Array]]:
            return self.elements(own[1])[own[0]], self.split(own[1])

        return jax.jit(lambda vectors: jax.lax.map(one, (jnp.arange(len(vectors)), vectors)))


def _parameters(found: LogMarginals, unconstrained: bool) -> _Parameters:
    return _written(found.marginal, found, unconstrained)


@per_form
def _written(marginal: Form, found: LogMarginals, unconstrained: bool) -> _Parameters:
    return _Parameters(found, unconstrained)


def _outer(by: _Parameters, at: jax.Array, found: LogMarginals, clusters: Any) -> np.ndarray:
    """Sum the outer products of the scores of elements, or of clusters."""
    rows = np.asarray(by.scores(at))
    if clusters is not None:
        labels = np.asarray(clusters)
        if labels.shape != found.shape:
            raise LawfulError(f"clusters: expected a label for each element, shape {found.shape}, got {labels.shape}.")
        _, index = np.unique(labels.ravel(), return_inverse=True)
        sums = np.zeros((index.max(initial=-1) + 1, rows.shape[1]))
        np.add.at(sums, index, rows)
        rows = sums
    rows = np.concatenate([rows, np.asarray(by.outside(at))[None]])
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
