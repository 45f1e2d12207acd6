"""What is run and what it must reach: variants, contestants and bars of each workload; a bar is that of `Variant`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks import monad_bayes, workloads
from benchmarks.harness.graph_catalogue import W5A, W5B, W5C, W5D, W5E
from benchmarks.harness.workload import FLOOR, OURS, Variant, Workload

ERROR_RUNS = 200  # the ratio of two mean squares of so many errors is known to 14 %


def _filter_variant(model: str, particles: int, bars: Mapping[str, float], floor_to_blackjax: float | None) -> Variant:
    return Variant(
        name=f"{model} N={particles}",
        settings={"model": model, "particles": particles},
        work_units=float(particles * workloads.STEPS),
        bars={FLOOR: 1 / 1.15, **bars},
        floor_check={} if floor_to_blackjax is None else {"blackjax": 0.9 * floor_to_blackjax},
        quick=particles <= 1000,
        error_runs=ERROR_RUNS,
    )


W1 = Workload(
    name="W1",
    title="bootstrap particle filter, T = 1000, systematic resampling when ESS < N/2",
    work_unit="particle-steps",
    contestants=(
        OURS,
        FLOOR,
        "floor_pairs",
        "floor_jax_random",
        "blackjax",
        "blackjax_batched",
        "particles",
        "cuthbert",
    ),
    environments={
        "blackjax": "blackjax",
        "blackjax_batched": "blackjax",
        "particles": "particles",
        "cuthbert": "cuthbert",
    },
    variants=(
        _filter_variant("LG", 1_000, {"blackjax": 1.8, "particles": 4.5, "cuthbert": 6.0}, 40.1 / 18.7),
        _filter_variant("LG", 100_000, {"blackjax": 2.2, "particles": 3.5, "cuthbert": 4.0}, 71.0 / 28.9),
        _filter_variant("SV", 1_000, {"blackjax": 1.8, "particles": 6.0}, 71.6 / 35.9),
        _filter_variant("SV", 100_000, {"blackjax": 1.8, "particles": 6.0}, None),
    ),
)


def _tempered_variant(
    name: str, settings: Mapping[str, Any], bars: Mapping[str, float], floor_to_blackjax: float, rmse_limit: float
) -> Variant:
    return Variant(
        name=name,
        settings={"model": "logistic", **settings},
        work_units=float(17 * settings["particles"] * (settings["steps"] or 1)),
        bars=bars,
        floor_check={"blackjax": 0.9 * floor_to_blackjax},
        quick=settings["chains"] is None,
        rmse_limit=rmse_limit,
        error_runs=ERROR_RUNS,
    )


W2 = Workload(
    name="W2",
    title="adaptive tempered SMC, Bayesian logistic regression, 1000 observations of 20 predictors",
    work_unit="likelihoods",
    contestants=(OURS, FLOOR, "floor_plain", "blackjax", "particles"),
    environments={"blackjax": "blackjax", "particles": "particles"},
    variants=(
        _tempered_variant(
            "RW N=1000",
            {"particles": 1000, "steps": 10, "chains": None},
            {FLOOR: 1 / 1.2, "blackjax": 3.0, "particles": 40.0},
            1.074 / 0.298,
            2.0,
        ),
        _tempered_variant(
            "waste-free N=10000",
            {"particles": 10_000, "steps": None, "chains": 100},
            {"blackjax": 4.0},
            2.48 / 0.833,
            0.8,
        ),
    ),
)


def _chain_variant(latents: int, bars: Mapping[str, float], limit_s: float | None = None) -> Variant:
    return Variant(
        name=f"sites={2 * latents}",
        settings={"latents": latents},
        work_units=2.0 * latents,
        bars=bars,
        quick=latents <= 100,
        limit_s=limit_s,
    )


W7 = Workload(
    name="W7",
    title="trace, lower and compile the gradient of a chain of named sites, from nothing at each run",
    work_unit="sites",
    contestants=(OURS, "ours_named", FLOOR, "by_hand", "numpyro", "genjax"),
    environments={"genjax": "genjax"},
    variants=(
        _chain_variant(100, {}),
        _chain_variant(500, {"numpyro": 35.0, "genjax": 32.0}, limit_s=0.5),  # peers measured at 17.7 and 16.0 s
        _chain_variant(2500, {}, limit_s=1.0),
    ),
)


def _walk_variant(chains: int, steps: int, floor_to_blackjax: float, start_error: float) -> Variant:
    return Variant(
        name=f"{chains} x {steps}",
        settings={"model": "logistic", "chains": chains, "warmup": steps // 5, "draws": steps - steps // 5},
        work_units=float(chains * steps),
        bars={"blackjax": 1.8},
        lines={"ours_plain": {"blackjax": 0.95}},
        floor_check={"blackjax": 0.9 * floor_to_blackjax},
        quick=chains <= 64,
        start_error=start_error,
        by_size=True,
    )


W3A = Workload(
    name="W3a",
    title="random-walk Metropolis, the posterior of W2, steps of 2.38^2/d times its Laplace covariance",
    work_unit="effective draws",
    contestants=(OURS, "ours_plain", FLOOR, "floor_rewrite", "blackjax"),
    environments={"blackjax": "blackjax"},
    variants=(
        _walk_variant(64, 1000, 218 / 251, start_error=0.01),  # measured over 600 runs: 0.009 +- 0.001
        _walk_variant(1024, 200, 284 / 276, start_error=0.03),  # measured over 200 runs: 0.024 +- 0.001
    ),
)

W3B = Workload(
    name="W3b",
    title="mixture of three normals with the labels of 100 observations",
    work_unit="effective draws",
    contestants=(OURS, "ours_gibbs", "ours_single_site", FLOOR, "numpyro", "numpyro_jit"),
    environments={},
    variants=(
        Variant(
            name="64 x 5000",
            settings={
                "model": "mixture",
                "chains": 64,
                "moves": 5000,  # of the single-site lines
                "thin": 100,
                "drop": 25,  # draws, half of all
                "warmup_sweeps": 250,  # of the other lines, whose steps draw all labels
                "sweeps": 500,
            },
            work_units=64.0 * 5000,
            bars={"numpyro": 10.0, "numpyro_jit": 10.0},
            floor_check={"numpyro": 0.9 * 1469 / 620},
            start_error=0.11,  # measured over 300 runs: 0.10, of which 0.04 is a mode that these chains do not visit
            by_size=True,
        ),
    ),
)


W2HMC = Workload(
    name="W2hmc",
    title="adaptive tempered SMC as W2, with Hamiltonian moves, each contestant with settings of its own",
    work_unit="runs",
    contestants=(OURS, "blackjax", "blackjax_waste_free"),
    environments={"blackjax": "blackjax", "blackjax_waste_free": "blackjax"},
    variants=(
        Variant(
            name="N=1000",
            settings={"model": "logistic", "particles": 1000, "steps": 2, "leapfrogs": 8},  # of moves of the peers
            work_units=1.0,
            bars={"blackjax": 1.3, "blackjax_waste_free": 1.3},
            quick=True,
            rmse_limit=2.0,
            error_runs=ERROR_RUNS,
        ),
    ),
)


W6 = Workload(
    name="W6",
    title="expectation maximisation of a mixture of four experts, 10^5 rows of 11 columns, 20 iterations",
    work_unit="iterations",
    contestants=(OURS, "ours_single", FLOOR, "numpy"),
    environments={},
    variants=(
        Variant(
            name="K=4",
            settings={"model": "experts"},
            work_units=float(workloads.EXPERT_ITERATIONS),
            bars={},
            limit_s=25e-3 * workloads.EXPERT_ITERATIONS,
            tolerances={"log_likelihood": 0.1},
            error_bars={"log_likelihood": 1e-3},
        ),
    ),
)


def _no_u_turn_variant(model: str, bars: Mapping[str, float]) -> Variant:
    return Variant(
        name=model,
        settings={"model": model, "chains": 4, "warmup": 1000, "draws": 1000},
        work_units=2000.0,
        bars=bars,
        quick=model == "schools",
        start_error=0.01,  # chains begin 1000 steps before their first draw
        by_size=True,
    )


W4 = Workload(
    name="W4",
    title="NUTS, 4 chains, 1000 steps of warm-up and 1000 draws",
    work_unit="effective draws",
    contestants=(OURS, "blackjax", "numpyro", "numpyro_jit", "nutpie"),
    environments={"blackjax": "blackjax", "nutpie": "nutpie"},
    variants=(
        _no_u_turn_variant("schools", {"blackjax": 0.95, "numpyro": 30.0}),
        _no_u_turn_variant("logistic", {"blackjax": 0.95}),
    ),
)


def _monad_bayes_variant(model: str, length: int, algorithm: str) -> Variant:
    factors = monad_bayes.factors(model, length)
    steps = {"SMC100": 100.0 * factors, "MH100": 100.0, "RMSMC10-1": 10.0 * factors}[algorithm]
    told = monad_bayes.PUBLISHED.get((model, length, algorithm), (None, None))
    published = {name: s for name, s in zip(("pull request 132", "June 2022"), told) if s is not None}
    bar = (model, length, algorithm) == ("HMM", 800, "SMC100")
    return Variant(
        name=f"{model} {length} {algorithm}",
        settings={"model": model, "length": length, "algorithm": algorithm},
        work_units=steps,
        bars={},
        quick=length <= 100,
        limit_s=0.61e-6 * steps if bar else None,  # a third of the 1.82 us a particle-step of pull request 132
        published=published,
    )


MB = Workload(
    name="MB",
    title="the models of monad-bayes, data drawn apart from them",
    work_unit="particle-steps or moves",
    contestants=(OURS,),
    environments={},
    variants=(
        *(_monad_bayes_variant("LR", n, a) for n in (100, 500, 1000) for a in ("SMC100", "MH100")),
        *(_monad_bayes_variant("HMM", n, a) for n in (100, 500, 800, 1000) for a in ("SMC100", "MH100")),
        *(_monad_bayes_variant("LDA", n, a) for n in (5, 50, 500) for a in ("SMC100", "MH100")),
        *(_monad_bayes_variant(m, n, "RMSMC10-1") for m, n in (("LR", 100), ("HMM", 100), ("LDA", 10))),
    ),
)


def _linear_variant(task: str, steps: int, dtype: str) -> Variant:
    double = dtype == "float64"
    rest = {"gradient": "gradient_error", "evidence": None}.get(task, "marginal_error")
    return Variant(
        name=f"{task} T={steps} {dtype}",
        settings={"task": task, "steps": steps, "dtype": dtype},
        work_units=float(steps),
        bars={"dynamax": 1.0},
        quick=steps <= 10_000 and double,
        tolerances={"log_likelihood": 1e-6 if double else 1.0, **({rest: 1e-8 if double else 1e-2} if rest else {})},
    )


W8 = Workload(
    name="W8",
    title="evidence, gradient, filter and smoother of a linear Gaussian state space of 4 states, 2 observations a step",
    work_unit="steps",
    contestants=(OURS, "dynamax"),
    environments={"dynamax": "dynamax"},
    variants=tuple(
        _linear_variant(task, steps, dtype)
        for steps, dtypes in ((10_000, ("float64", "float32")), (100_000, ("float64",)))
        for task in ("evidence", "gradient", "filter", "smoother")
        for dtype in dtypes
    ),
)


WORKLOADS: Mapping[str, Workload] = {
    workload.name: workload for workload in (W1, W2, W2HMC, W3A, W3B, W4, W5A, W5B, W5C, W5D, W5E, W6, W7, W8, MB)
}
