"""Did the flow of the Nile change? Three programs, their evidence, and when it happened; run by `make demo`.

The data are the yearly flow at Aswan, 1871-1970, in 10^8 cubic metres (Cobb 1978; bundled with statsmodels). Each
question is answered by sampling and, where a closed form exists, exactly, so that the answers check each other.
"""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import nile_report as report
import numpyro.distributions as dist
from nile_report import UNIT, Change
from output import say
from statsmodels.datasets import nile

import lawful
from lawful import factor, inference, sample
from lawful.models.kalman import LinearGaussian, kalman_log_evidence, local_level, rts_smoother

# Weakly informative priors. The programs see the flow in units of 100, so that levels are near 10 and changes near 1.
# The level before the data is near 10, give or take 3; the noise is near 1 and the yearly step of the level near 0.5,
# each within a factor of a few; a change is one of a few units.
LEVEL_MEAN, LEVEL_SD, SHIFT_SD = 10.0, 3.0, 3.0
NOISE = dist.LogNormal(0.0, 0.5)
STEP = dist.LogNormal(math.log(0.5), 1.0)

NOISE_CELLS, STEP_CELLS = 51, 41
PARTICLES, RUNS, BOLD, PATIENCE = 100_000, 8, 0.3, 0.2
CHAINS, WARMUP, DRAWS, THIN = 4, 500, 500, 20


# --- The programs ----------------------------------------------------------------------------------------------------


def level_seen_through(noise_law: Any, flow: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A level that wanders, seen through noise; `noise_law` is the distribution of a flow, given level and scale."""
    noise, step = sample("noise_sd", NOISE), sample("step_sd", STEP)

    def year(level: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        level = sample("level", dist.Normal(level, step))
        sample("flow", noise_law(level, noise), obs=y)
        return level, level

    _, levels = lawful.scan(year, sample("level_1870", dist.Normal(LEVEL_MEAN, LEVEL_SD)), flow)
    return noise, step, levels


def one_level(flow: jax.Array) -> dict[str, jax.Array]:
    """A wandering level in normal noise."""
    noise, step, _ = level_seen_through(dist.Normal, flow)
    return {"noise_sd": noise, "step_sd": step}


def robust_level(flow: jax.Array) -> dict[str, jax.Array]:
    """A wandering level in noise with heavy tails, which forgives single odd years."""
    noise, step, levels = level_seen_through(lambda level, scale: dist.StudentT(4.0, level, scale), flow)
    return {"noise_sd": noise, "step_sd": step, "level": levels.astype(jnp.float32)}


def one_change(flow: jax.Array) -> dict[str, jax.Array]:
    """A wandering level in normal noise that shifts in exactly one year, any year alike.

    The year is the first success of coins, one a year, so that a particle that has survived the data so far can still
    choose it. At the fair probability few would; the coins are tossed more boldly, and a factor puts the measure right.
    That makes a particle light in the year of its change, so it is resampled late, at `PATIENCE`.
    """
    noise, step = sample("noise_sd", NOISE), sample("step_sd", STEP)
    years = len(flow)

    def year(carry: tuple[jax.Array, jax.Array], x: tuple[jax.Array, jax.Array]) -> Any:
        (level, changed), (left, y) = carry, x
        waiting = (changed == 0) & (left < years)  # there is no change in the first year
        fair = dist.Bernoulli(jnp.where(waiting, 1.0 / left, 0.0))
        bold = dist.Bernoulli(jnp.where(waiting, jnp.maximum(1.0 / left, BOLD), 0.0))
        now = sample("changes", bold)
        factor("fair", fair.log_prob(now) - bold.log_prob(now))
        shift = sample("shift", dist.Normal(0.0, SHIFT_SD))
        level = sample("level", dist.Normal(level + now * shift, step))
        sample("flow", dist.Normal(level, noise), obs=y)
        return (level, changed + now), now

    start = (sample("level_1870", dist.Normal(LEVEL_MEAN, LEVEL_SD)), jnp.zeros((), int))
    _, now = lawful.scan(year, start, (jnp.arange(years, 0, -1), flow))
    return {"noise_sd": noise, "step_sd": step, "change": jnp.argmax(now)}


# --- The same measures, with the levels integrated out by the Kalman filter ------------------------------------------


NEVER = -1  # the year of a change that does not happen


def gaussian(flow: jax.Array, noise: jax.Array, step: jax.Array, change: jax.Array | int) -> LinearGaussian:
    """Return the Gaussian model at given scales and year of the change: a normal shift widens that year's step."""
    steps = jnp.where(jnp.arange(len(flow)) == change, jnp.sqrt(SHIFT_SD**2 + step**2), step)
    return local_level(LEVEL_MEAN, jnp.sqrt(LEVEL_SD**2 + step**2), steps, noise)  # a step precedes the first flow


def exact(flow: jax.Array, noise: jax.Array, step: jax.Array, change: jax.Array | int = NEVER) -> jax.Array:
    """Return the log evidence at given scales and year of the change."""
    return kalman_log_evidence(gaussian(flow, noise, step, change), flow[:, None])


def each_year(flow: jax.Array, noise: jax.Array, step: jax.Array) -> jax.Array:
    """Return the log evidence at given scales of a change in each year but the first."""
    return jax.vmap(lambda year: exact(flow, noise, step, year))(jnp.arange(1, len(flow)))


def scales_of(posterior: Any) -> tuple[jax.Array, jax.Array]:
    """Return the draws of both scales, the chains one after the other."""
    return jnp.asarray(posterior["noise_sd"]).ravel(), jnp.asarray(posterior["step_sd"]).ravel()


def change_probability(flow: jax.Array, posterior: Any) -> jax.Array:
    """Return the probability of each year at each draw of the scales, (draws, years - 1)."""
    at_draw = jax.jit(lambda scales: jax.lax.map(lambda s: jax.nn.softmax(each_year(flow, *s)), scales))
    return at_draw(scales_of(posterior))


def smoothed_levels(flow: jax.Array, posterior: Any, change: jax.Array | int = NEVER) -> jax.Array:
    """Draw the level of every year from its exact posterior, once for each draw of the scales, (draws, years)."""
    noise, step = scales_of(posterior)
    smooth = jax.jit(jax.vmap(lambda *scales: rts_smoother(gaussian(flow, *scales), flow[:, None])))
    mean, cov = smooth(noise, step, jnp.broadcast_to(change, noise.shape))
    return mean[..., 0] + jnp.sqrt(cov[..., 0, 0]) * jax.random.normal(jax.random.key(20), mean.shape[:2])


def one_level_scales(flow: jax.Array) -> None:
    """`one_level` with two choices left, the scales."""
    factor("flow", exact(flow, sample("noise_sd", NOISE), sample("step_sd", STEP)))


def one_change_scales(flow: jax.Array) -> None:
    """`one_change` with two choices left, the scales: the year is summed out."""
    each = each_year(flow, sample("noise_sd", NOISE), sample("step_sd", STEP))
    factor("flow", jax.nn.logsumexp(each) - jnp.log(len(each)))


class Grid(NamedTuple):
    """Values and their prior masses."""

    values: jax.Array
    mass: jax.Array


def grid(prior: dist.LogNormal, cells: int) -> Grid:
    """Cut a log-normal prior at equal steps of the logarithm, five standard deviations to each side.

    Halving the steps moves the evidences below by 5e-5: sums at equal steps are very exact for smooth peaks.
    """
    z = jnp.linspace(-5.0, 5.0, cells)
    mass = jnp.exp(-(z**2) / 2)
    return Grid(jnp.exp(prior.loc + prior.scale * z), mass / mass.sum())


def one_level_on_grid(flow: jax.Array) -> None:
    """`one_level` with its scales on a grid: finite."""
    noise, step = grid(NOISE, NOISE_CELLS), grid(STEP, STEP_CELLS)
    i, j = sample("noise_cell", dist.Categorical(noise.mass)), sample("step_cell", dist.Categorical(step.mass))
    factor("flow", exact(flow, noise.values[i], step.values[j]))


def one_change_on_grid(flow: jax.Array) -> None:
    """`one_change` with its scales on a grid: finite, since the year is."""
    noise, step = grid(NOISE, NOISE_CELLS), grid(STEP, STEP_CELLS)
    i, j = sample("noise_cell", dist.Categorical(noise.mass)), sample("step_cell", dist.Categorical(step.mass))
    change = sample("change", dist.Categorical(jnp.ones(len(flow) - 1) / (len(flow) - 1)))
    factor("flow", exact(flow, noise.values[i], step.values[j], 1 + change))


# --- The main job ----------------------------------------------------------------------------------------------------


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
        1. Exactly. At given scales the levels are Gaussian, so the Kalman filter integrates them out. What is left, the
        scales on a grid and the year of the change, is finite: the program is enumerated, and nothing is sampled."""
    )
    level_exact = inference.enumerate(one_level_on_grid)(flow)
    change_exact = inference.enumerate(one_change_on_grid)(flow)
    log_evidence = {"one level": float(level_exact.log_evidence), "one change": float(change_exact.log_evidence)}
    worlds = {"one level": NOISE_CELLS * STEP_CELLS, "one change": NOISE_CELLS * STEP_CELLS * (len(flow) - 1)}
    for name, value in log_evidence.items():
        print(f"  log evidence of {name:<12}{value:.3f}   (a sum over {worlds[name]} worlds)")

    say(
        f"""
        2. By sequential Monte Carlo, on the programs themselves: levels, scales and change are all unknown. {RUNS}
        independent runs of {PARTICLES} particles; their spread is the error bar. Heavy-tailed noise has no closed form
        and needs none here."""
    )
    smc = {}
    for number, (program, below) in enumerate(((one_level, 0.5), (robust_level, 0.5), (one_change, PATIENCE))):
        name = program.__name__.replace("_", " ")
        plan = inference.smc(program, particles=PARTICLES, runs=RUNS, resample_below=below, keep="last")
        smc[name] = plan(jax.random.key(number), flow)
        print(f"  {name}\n{smc[name]!r}\n")

    say(
        f"""
        3. By Markov chains, on the two scales, with the rest summed inside the program: {CHAINS} chains of a random
        walk. Every {THIN}th state is kept, so that the draws are nearly independent, as the plot of ranks assumes."""
    )
    walk = inference.kernels.mh(inference.kernels.random_walk({"noise_sd": 0.15, "step_sd": 0.8}))
    mcmc = {}
    for number, program in enumerate((one_level_scales, one_change_scales)):
        name = program.__name__.removesuffix("_scales").replace("_", " ")
        plan = inference.mcmc(program, walk, chains=CHAINS, warmup=WARMUP, draws=DRAWS, thin=THIN)
        mcmc[name] = plan(jax.random.key(10 + number), flow)
        print(f"  {name}\n{mcmc[name]!r}\n{mcmc[name].summary(var_names=['noise_sd', 'step_sd'])}\n")

    say("4. What the data say.")
    report.print_evidence(smc, log_evidence)
    report.print_variances(mcmc)
    by_draw = change_probability(flow, mcmc["one change"].posterior)
    change = Change.of(years, change_exact.marginal("change"), by_draw, smc["one change"])
    report.print_verdict(change, log_evidence["one change"] - log_evidence["one level"])

    year = 1 + jax.random.categorical(jax.random.key(21), jnp.log(by_draw))
    levels = {
        "one level": smoothed_levels(flow, mcmc["one level"].posterior),
        "one change": smoothed_levels(flow, mcmc["one change"].posterior, year),
        "robust level": smc["robust level"].posterior["level"].reshape(-1, len(flow)),
    }
    paths = report.write(years, flow, levels, smc, mcmc, change)
    say(f"5. Written: {', '.join(map(str, paths))}. All took {time.perf_counter() - started:.0f} s.")


if __name__ == "__main__":
    main()
