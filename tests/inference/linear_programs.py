"""Random linear Gaussian programs with a loop, and dense algebra for their evidence and posterior.

The programs differ in what a hand-written filter has to be told: missing entries, inputs, matrices that vary with time,
singular covariances, regimes that a counter in the state switches, a first state of its own law that is seen as well, a
coefficient that all steps share, data inside the loop or after it, loops that run backwards.
"""

import contextlib
from dataclasses import dataclass, fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.stats import multivariate_normal

import lawful


@dataclass(frozen=True)
class Kind:
    """What a program has; `start` is 0 for a known first state, 1 for a drawn one, 2 for one that is seen.

    Where steps are `alike`, they read one matrix and no mask.
    """

    start: int
    after: bool
    shared: bool
    varying: bool
    missing: bool
    regimes: bool
    singular: bool
    backwards: bool
    n: int
    d: int
    steps: int
    alike: bool = False


def random_kind(seed: int) -> Kind:
    """Draw a kind of program."""
    r = np.random.default_rng(seed)
    flags = {f.name: bool(r.integers(2)) for f in fields(Kind) if f.type is bool and f.name != "alike"}
    sizes = {"n": int(r.integers(1, 4)), "d": int(r.integers(1, 3)), "steps": int(r.integers(2, 7))}
    return Kind(**flags, start=int(r.integers(3)), **sizes)


def alike_kind(seed: int) -> Kind:
    """Draw a kind of program whose steps are alike."""
    apart = dict.fromkeys(("after", "shared", "varying", "missing", "regimes"), False)
    return replace(random_kind(seed), alike=True, **apart)


def arrays_of(kind: Kind, seed: int):
    """Draw the arrays of a program of a kind."""
    r, (n, d, steps) = np.random.default_rng(seed), (kind.n, kind.d, kind.steps)

    def root():
        found = np.tril(r.normal(size=(n, n)))
        np.fill_diagonal(found, np.abs(np.diagonal(found)) + 0.1)
        return found

    moves = 0.6 * r.normal(size=(steps if kind.varying else 1, n, n))
    at = {"moves": np.broadcast_to(moves, (steps, n, n)), "root": root(), "reads": r.normal(size=(d, n)),
          "noise": np.exp(0.5 * r.normal(size=d)), "y": 2.0 * r.normal(size=(steps, d)),
          "inputs": r.normal(size=(steps, n)), "weights": r.normal(size=(steps, d)), "first": r.normal(size=n),
          "first_root": root()}  # fmt: skip
    at["root"][:, -1] *= not kind.singular
    at["seen"] = (r.uniform(size=(steps, d)) < 0.7) | (not kind.missing)
    return {name: jnp.asarray(value) for name, value in at.items()}


def program_of(kind: Kind):
    """Give the program of a kind; it returns states, coefficient, first and last state."""

    def program(at):
        beta = lawful.sample("beta", dist.Normal(0.5, 1.5)) if kind.shared else jnp.zeros(())
        first = at["first"]
        if kind.start:
            first = lawful.sample("first", dist.MultivariateNormal(first, scale_tril=at["first_root"]))
        if kind.start == 2:
            lawful.sample("y0", dist.Normal(jnp.sum(first), 0.7), obs=0.3)

        def step(state, row):
            (x, k), (moves, inputs, weights, y, seen) = state, row
            gain = jnp.where(k % 2 == 0, 1.0, 0.5) if kind.regimes else 1.0
            moves = at["moves"][0] if kind.alike else moves
            x = lawful.sample("x", dist.MultivariateNormal(gain * (moves @ x) + inputs, scale_tril=at["root"]))
            mean = at["reads"] @ x + beta * weights
            if not kind.after:
                with contextlib.nullcontext() if kind.alike else lawful.mask(seen):
                    lawful.sample("y", dist.Normal(mean, at["noise"]), obs=y)
            return (x, k + 1), (x, mean)

        rows = tuple(at[name] for name in ("moves", "inputs", "weights", "y", "seen"))
        scan = jax.lax.scan if kind.backwards else lawful.scan
        options = {"reverse": True} if kind.backwards else {}
        (last, _), (states, means) = scan(step, (first, jnp.int32(0)), rows, **options)
        if kind.after:
            with lawful.mask(at["seen"]):
                lawful.sample("y", dist.Normal(means, at["noise"]), obs=at["y"])
        return states, beta, first, last

    return program


def dense(kind: Kind, at):
    """Give the log evidence, and mean and covariance of what the program returns, all in one vector.

    Roots are lower triangles, as densities read them: nothing depends on what stands above their diagonals.
    """
    n, steps = kind.n, kind.steps
    at = {**at, **{name: jnp.tril(at[name]) for name in ("root", "first_root")}}

    def run(noise):
        beta = 0.5 + 1.5 * noise[0] if kind.shared else jnp.zeros(())
        first = at["first"] + (at["first_root"] @ noise[1 : 1 + n] if kind.start else 0.0)
        x, states, own = first, [None] * steps, noise[1 + n :].reshape(steps, n)
        for k, t in enumerate(reversed(range(steps)) if kind.backwards else range(steps)):
            gain = 0.5 if kind.regimes and k % 2 else 1.0
            states[t] = x = gain * (at["moves"][0 if kind.alike else t] @ x) + at["inputs"][t] + at["root"] @ own[t]
        means = jnp.stack(states) @ at["reads"].T + beta * at["weights"]
        kept = [jnp.stack(states).ravel(), beta[None], first, x]
        return jnp.concatenate(kept), jnp.append(means.ravel(), jnp.sum(first))

    zero = jnp.zeros(1 + n + steps * n)
    (kept, seen), (to_kept, to_seen) = run(zero), jax.jacfwd(run)(zero)
    there = jnp.append(at["seen"].ravel(), kind.start == 2)  # what is not seen is a standard normal that is zero
    y, noise = jnp.append(at["y"].ravel(), 0.3), jnp.append(jnp.tile(at["noise"], steps), 0.7)
    to_seen, misfit = jnp.where(there[:, None], to_seen, 0.0), jnp.where(there, y - seen, 0.0)
    covariance = to_seen @ to_seen.T + jnp.diag(jnp.where(there, noise**2, 1.0))
    gain = jnp.linalg.solve(covariance, to_seen).T
    evidence = multivariate_normal.logpdf(misfit, jnp.zeros(len(y)), covariance)
    evidence += 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(~there)
    mean = kept + to_kept @ gain @ misfit
    return evidence, mean, to_kept @ (jnp.eye(zero.size) - gain @ to_seen) @ to_kept.T
