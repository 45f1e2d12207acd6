"""The mixture as a program: a label for each row, chosen by the gate, and an answer by the expert of that label.

Law: the joint stands here alone. With the labels summed out (`inference.marginalise`) its density is
`Mixture.log_density`, and their conditional is `responsibilities`. `mixture_with_priors` draws the parameters too, from
priors that are weakly informative, proper, and the same for every expert, in standard units: covariates and answers of
mean 0 and standard deviation 1. Each expert has a row of the gate, and what counts of a linear gate are the rows less
their mean, so no expert is the reference: the density is unchanged when experts change their names, and the evidence
needs no correction for labels.

Reference: trajectories have the same priors, adapted here to one answer a row.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpyro.distributions as dist
from numpyro.distributions import constraints

import lawful
from lawful.errors import LawfulError

from .gates import Gate, selected_scores
from .parameters import Parameters

__all__ = [
    "Priors",
    "draw_parameters",
    "free_mixture",
    "free_parameters",
    "free_values",
    "gaussian_moe",
    "mixture_with_priors",
    "parameters_of",
]


def gaussian_moe(X: Any, y: Any, parameters: Parameters, gate: Gate = Gate()) -> jax.Array:
    """Choose an expert and draw the answer: z_n ~ Categorical(w(x_n)), y_n ~ N(a_z' x_n + b_z, nu_z).

    Args:
        X: covariates (n, d).
        y: answers (n,).
        parameters: of the gate and of the experts; a program with priors may draw them and call this one.
        gate: how weights are made of scores.

    Returns: (n,), the labels.

    >>> from lawful import inference
    >>> told = Parameters.of([25.0, 0.0], [-8.0, 0.0], [-20.0, 20.0], [15.0, -5.0], [0.09, 0.16])
    >>> exact = inference.enumerate(gaussian_moe)(jnp.array([[0.3], [0.5]]), jnp.array([1.0, 5.0]), told)
    >>> round(exact.log_evidence, 4)
    -0.1944
    """
    x, sigma = jnp.asarray(X).T, jnp.sqrt(parameters.nu)
    with lawful.plate("row", len(X)):
        z: jax.Array = lawful.sample("z", dist.Categorical(logits=selected_scores(gate, parameters, x).T))
        mean = jnp.sum(parameters.a.T[:, z] * x, axis=0) + parameters.b[z]
        lawful.sample("y", dist.Normal(mean, sigma[z]), obs=y)
    return z


class Priors(NamedTuple):
    """Scales of the priors, in standard units; each is a number that may change without a new compilation.

    Attributes:
        level: SD of an expert's mean at the middle of the covariates.
        slope: SD of the change of its mean over the range of a covariate.
        noise: scale of its half-normal SD of residuals.
        gate: SD s of the rows of the gate: less their mean, k coefficients have covariance s^2 (I - 11'/k), and a
            contrast of two has SD 1.41 s.
        heat: SD of log tau of an activated gate.
    """

    level: Any = 1.5
    slope: Any = 4.0
    noise: Any = 0.5
    gate: Any = 5.0
    heat: Any = 1.0

    def read_by(self, k: int, gate: Gate) -> Priors:
        """Give these scales with None for those that k experts have no use for.

        >>> Priors().read_by(2, Gate())
        Priors(level=1.5, slope=4.0, noise=0.5, gate=5.0, heat=None)
        """
        if gate.kind == "activated":
            return self
        return self._replace(heat=None, gate=self.gate if k > 1 else None)


def draw_parameters(k: int, ranges: Any, gate: Gate = Gate(), priors: Priors = Priors()) -> Parameters:
    """Draw the parameters of k experts: the prior as a program.

    Args:
        k: number of experts.
        ranges: of the covariates, in standard units (d,).
        gate: how weights are made of scores. A temperature of a linear gate is pinned at 1: the data tell beta / tau.
        priors: scales.

    >>> form = lawful.trace(draw_parameters, 2, jnp.array([3.0]))
    >>> [site.address[0] for site in form.sites()]
    ['row', 'a', 'b', 'sigma']
    """
    ranges = jnp.asarray(ranges)
    d, dtype = len(ranges), ranges.dtype
    drawn: dict[str, Any] = {}
    if gate.kind == "activated":
        drawn["tau"] = lawful.sample("tau", dist.LogNormal(jnp.zeros((), dtype), jnp.asarray(priors.heat, dtype)))
    with lawful.plate("expert", k):
        if k > 1 or gate.kind == "activated":
            rows = dist.Normal(jnp.zeros(d + 1, dtype), jnp.asarray(priors.gate, dtype))
            drawn["row"] = lawful.sample("row", rows.to_event(1))
        slopes = dist.Normal(jnp.zeros(d, dtype), jnp.asarray(priors.slope, dtype) / ranges)
        drawn["a"] = lawful.sample("a", slopes.to_event(1))
        drawn["b"] = lawful.sample("b", dist.Normal(jnp.zeros((), dtype), jnp.asarray(priors.level, dtype)))
        drawn["sigma"] = lawful.sample("sigma", dist.HalfNormal(jnp.asarray(priors.noise, dtype)))
    return parameters_of(gate, drawn)


def parameters_of(gate: Gate, drawn: Any) -> Parameters:
    """Give the parameters that values of the sites stand for, by name, as `draw_parameters` has them."""
    a, b = drawn["a"], drawn["b"]
    row = drawn.get("row", jnp.zeros((a.shape[0], a.shape[1] + 1), a.dtype))
    less = row - jnp.mean(row, axis=0, keepdims=True)
    beta1 = row if gate.kind == "activated" else less  # a shift of the slopes is seen through an activation
    tau = drawn.get("tau", jnp.ones((), a.dtype))
    return Parameters(beta1[:, :-1], less[:, -1], a, b, drawn["sigma"] ** 2, tau)


def free_mixture(X: Any, y: Any, k: int, gate: Gate = Gate()) -> Parameters:
    """Draw the parameters from flat laws, and then the labels and the answers: the likelihood as a program.

    The data tell these coordinates apart, but for the scale of a linear gate with a temperature: the last expert has no
    gate, but beta1 of an activated one, which a shift of its scores does not take up. Arguments and errors are those of
    `mixture_with_priors`, in any units.

    >>> form = lawful.trace(free_mixture, jnp.zeros((3, 1)), jnp.ones(3), 2, Gate("temperature"))
    >>> [(site.address[0], site.out.shape) for site in form.sites()][:-2]
    [('beta1', (1, 1)), ('beta0', (1,)), ('a', (2, 1)), ('b', (2,)), ('nu', (2,)), ('tau', ())]
    """
    d = X.shape[1]

    def flat(name: str, *shape: int, support: Any = constraints.real) -> Any:
        return lawful.sample(name, dist.ImproperUniform(constraints.independent(support, len(shape)), (), shape))

    pinned = gate.kind != "activated"
    drawn = {"beta1": flat("beta1", k - pinned, d), "beta0": flat("beta0", k - 1)}
    drawn |= {"a": flat("a", k, d), "b": flat("b", k), "nu": flat("nu", k, support=constraints.positive)}
    if gate.kind in ("temperature", "activated"):
        drawn["tau"] = flat("tau", support=constraints.positive)
    found = free_parameters(gate, drawn)
    gaussian_moe(X, y, found, gate)
    return found


def free_parameters(gate: Gate, drawn: Any) -> Parameters:
    """Give the parameters that values of the sites of `free_mixture` stand for, by name."""
    beta1, beta0, nu = (jnp.asarray(drawn[name]) for name in ("beta1", "beta0", "nu"))
    if gate.kind != "activated":
        beta1 = jnp.concatenate([beta1, jnp.zeros((1, beta1.shape[1]), nu.dtype)])
    tau = drawn.get("tau", jnp.ones((), nu.dtype))
    return Parameters(beta1, jnp.concatenate([beta0, jnp.zeros(1, nu.dtype)]), drawn["a"], drawn["b"], nu, tau)


def free_values(gate: Gate, parameters: Parameters) -> dict[str, jax.Array]:
    """Give the values of the sites of `free_mixture` that stand for parameters."""
    beta1, beta0, a, b, nu, tau = parameters
    beta1 = beta1 if gate.kind == "activated" else (beta1 - beta1[-1:])[:-1]
    found = {"beta1": beta1, "beta0": (beta0 - beta0[-1])[:-1], "a": a, "b": b, "nu": nu}
    return found | ({"tau": jnp.asarray(tau)} if gate.kind in ("temperature", "activated") else {})


def mixture_with_priors(
    X: Any, y: Any, k: int, gate: Gate = Gate(), priors: Priors = Priors(), ranges: Any = None
) -> Parameters:
    """Draw the parameters, and then the labels and the answers by `gaussian_moe`.

    Args:
        X: covariates in standard units (n, d).
        y: answers in standard units (n,).
        k: number of experts.
        gate: how weights are made of scores.
        priors: scales.
        ranges: of the covariates (d,); by default those of X.

    Returns: the parameters, in standard units.

    Raises: LawfulError for a top-K gate with more experts than there are.

    >>> x = jnp.linspace(-1.7, 1.7, 12)
    >>> form = lawful.trace(mixture_with_priors, x[:, None], jnp.abs(x), 2)
    >>> [site.address[0] for site in form.sites()]
    ['row', 'a', 'b', 'sigma', 'z', 'y']
    """
    if gate.top_k is not None and gate.top_k > k:
        raise LawfulError(f"mixture_with_priors: top_k={gate.top_k} of {k} experts. Fix: give at most as many.")
    found = draw_parameters(k, jnp.ptp(X, axis=0) if ranges is None else ranges, gate, priors)
    gaussian_moe(X, y, found, gate)
    return found
