"""Did the flow of the Nile change? Three programs, their evidence, and when it happened; run by `make demo`.

The data are the yearly flow at Aswan, 1871-1970, in 10^8 cubic metres (Cobb 1978; bundled with statsmodels). Each
question is answered by sampling and, where a closed form exists, exactly, so that the answers check each other.
"""

import math
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import nile_report as report
import numpy as np
import numpyro.distributions as dist
from nile_report import UNIT, Change
from output import say
from statsmodels.datasets import nile

import lawful
from lawful import inference, sample

# Weakly informative priors. The programs see the flow in units of 100, so that levels are near 10 and changes near 1.
# The level before the data is near 10, give or take 3; the noise is near 1 and the yearly step of the level near 0.5,
# each within a factor of a few; a change is one of a few units.
LEVEL_MEAN, LEVEL_SD, SHIFT_SD = 10.0, 3.0, 3.0
NOISE = dist.LogNormal(0.0, 0.5)
STEP = dist.LogNormal(math.log(0.5), 1.0)

NOISE_CELLS, STEP_CELLS = 51, 41
PARTICLES, TEMPERED, RUNS = 20_000, 200, 8
CHAINS, WARMUP, DRAWS, THIN = 4, 500, 500, 5
NEVER = -1  # the year of a change that does not happen


# --- The programs ----------------------------------------------------------------------------------------------------

Scales = tuple[jax.Array, jax.Array]


def unknown() -> Scales:
    """Draw the standard deviations of noise and step."""
    return sample("noise_sd", NOISE), sample("step_sd", STEP)


def on_grid() -> Scales:
    """The same on a grid, so that the program is finite."""
    return cell("noise_cell", NOISE, NOISE_CELLS), cell("step_cell", STEP, STEP_CELLS)


def cell(name: str, prior: dist.LogNormal, cells: int) -> jax.Array:
    """Draw from a log-normal prior cut at equal steps of the logarithm, five standard deviations to each side.

    Halving the steps moves the evidences below by 5e-5: sums at equal steps are very exact for smooth peaks.
    """
    z = jnp.linspace(-5.0, 5.0, cells)
    values: jax.Array = jnp.exp(prior.loc + prior.scale * z)
    return values[sample(name, dist.Categorical(logits=-(z**2) / 2))]


def wandering_level(flow: jax.Array, scales: Scales, change: Any = NEVER, noise_law: Any = dist.Normal) -> jax.Array:
    """A level that wanders, seen through noise; in the year `change`, if any, it shifts."""
    noise, step = scales

    def year(level: jax.Array, row: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        number, y = row
        level = sample("level", dist.Normal(level, jnp.where(number == change, jnp.hypot(step, SHIFT_SD), step)))
        sample("flow", noise_law(level, noise), obs=y)
        return level, level

    first = sample("level_1870", dist.Normal(LEVEL_MEAN, LEVEL_SD))
    levels: jax.Array = lawful.scan(year, first, (jnp.arange(len(flow)), flow))[1]
    return levels


def one_level(flow: jax.Array, scales: Callable[[], Scales] = unknown) -> None:
    """A wandering level in normal noise."""
    wandering_level(flow, scales())


def robust_level(flow: jax.Array, scales: Callable[[], Scales] = unknown) -> None:
    """A wandering level in noise with heavy tails, which forgives single odd years."""
    wandering_level(flow, scales(), noise_law=partial(dist.StudentT, 4.0))


def one_change(flow: jax.Array, scales: Callable[[], Scales] = unknown) -> None:
    """A wandering level in normal noise that shifts in exactly one year, any year but the first alike."""
    change = sample("change", dist.Categorical(logits=jnp.zeros(len(flow) - 1)))
    wandering_level(flow, scales(), 1 + change)


# What is known in closed form: normal levels, which are integrated out step by step, and the year, which is summed out.
LEVELS = inference.integrate_normals()
KNOWN = {one_level: LEVELS, one_change: LEVELS >> inference.marginalise(["change"])}


# --- The main job ----------------------------------------------------------------------------------------------------


def named(program: Callable[..., None]) -> str:
    """Return the name of a program as words."""
    return program.__name__.replace("_", " ")


def main() -> None:
    """Run everything, and explain it as it goes."""
    started = time.perf_counter()
    jax.config.update("jax_enable_x64", True)
    table = nile.load_pandas().data
    years = table["year"].to_numpy().astype(int)
    flow = jnp.asarray(table["volume"].to_numpy() / UNIT)
    print("Did the flow of the Nile change?")
    say(
        f"""
        The data: {len(years)} yearly flows at Aswan, {years[0]}-{years[-1]}, in 10^8 cubic metres, on average
        {UNIT * flow.mean():.0f}. The programs see them in units of {UNIT:.0f}. The priors, in the units of the data: a
        level before the data of {UNIT * LEVEL_MEAN:.0f} +- {UNIT * LEVEL_SD:.0f}; noise near 100 within a factor of
        1.6; a yearly step of the level near 50 within a factor of 2.7; a change of 0 +- {UNIT * SHIFT_SD:.0f}, in any
        year alike. All evidence is relative to these priors."""
    )

    say(
        """
        1. Exactly. At given scales the levels are normal, so they are integrated out of the program. What is left, the
        scales on a grid and the year of the change, is finite: it is enumerated, and nothing is sampled."""
    )
    exact = {}
    for program in KNOWN:
        finite = LEVELS(lawful.trace(partial(program, scales=on_grid), flow))
        exact[named(program)] = inference.enumerate(finite)(flow)
    log_evidence = {name: float(found.log_evidence) for name, found in exact.items()}
    for name, found in exact.items():
        print(f"  log evidence of {name:<12}{found.log_evidence:.3f}   (a sum over {found.paths} worlds)")

    say(
        f"""
        2. By sequential Monte Carlo. {RUNS} independent runs of {PARTICLES} particles on the programs themselves, with
        levels and scales unknown: heavy-tailed noise has no closed form and needs none here. Where the year of the
        change is unknown, too, particles that know it are few; there {RUNS} runs of {TEMPERED} particles go from prior
        to posterior by temperature, on the scales alone. The spread of the runs is the error bar."""
    )
    smc = {}
    for number, program in enumerate((one_level, robust_level)):
        plan = inference.smc(program, particles=PARTICLES, runs=RUNS)
        smc[named(program)] = plan(jax.random.key(number), flow)
    tempered = inference.tempered_smc(one_change, particles=TEMPERED, runs=RUNS, enumerate=KNOWN[one_change])
    smc["one change"] = tempered(jax.random.key(2), flow)
    for name, result in smc.items():
        print(f"  {name}\n{result!r}\n")

    say(
        f"""
        3. By Markov chains, on the two scales, with the rest integrated and summed inside the program, and drawn back:
        {CHAINS} chains of a random walk. Every {THIN}th state is kept, so that the draws are nearly independent, as the
        plot of ranks assumes."""
    )
    walk = inference.kernels.mh(inference.kernels.random_walk({"noise_sd": 0.15, "step_sd": 0.8}))
    mcmc = {}
    for number, (program, known) in enumerate(KNOWN.items()):
        plan = inference.mcmc(program, walk, chains=CHAINS, warmup=WARMUP, draws=DRAWS, thin=THIN, enumerate=known)
        name = named(program)
        mcmc[name] = plan(jax.random.key(10 + number), flow)
        print(f"  {name}\n{mcmc[name]!r}\n{mcmc[name].summary(var_names=['noise_sd', 'step_sd'])}\n")

    say("4. What the data say.")
    report.print_evidence(smc, log_evidence)
    report.print_variances(mcmc)
    change = Change.of(years, exact["one change"].marginal("change"), mcmc["one change"], smc["one change"])
    report.print_verdict(change, log_evidence["one change"] - log_evidence["one level"])

    levels = {
        name: np.reshape(result.posterior["level"], (-1, len(flow)))
        for name, result in {**mcmc, "robust level": smc["robust level"]}.items()
    }
    paths = report.write(years, flow, levels, smc, mcmc, change)
    say(f"5. Written: {', '.join(map(str, paths))}. All took {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
