"""What is run on factor graphs and what it must reach: grids, a chain, a network, and count factors."""

from __future__ import annotations

from benchmarks import workloads
from benchmarks.harness.workload import FLOOR, OURS, Variant, Workload


def _potts_variant(side: int, states: int, sweeps: int, least: float, bar: float) -> Variant:
    messages = 4.0 * side * (side - 1) * sweeps
    return Variant(
        name=f"L={side} K={states}",
        settings={"side": side, "states": states, "sweeps": sweeps},
        work_units=messages,
        bars={"pgmax": bar},
        quick=side == 64,
        limit_s=messages / least,
        tolerances={"marginal_error": 1e-5},
    )


W5A = Workload(
    name="W5a",
    title="sum-product on a Potts grid: sweeps of all messages with damping 1/2",
    work_unit="messages",
    contestants=(OURS, FLOOR, "pgmax"),
    environments={"pgmax": "pgmax"},
    variants=(
        _potts_variant(64, 2, 200, 240e6, 6.0),
        _potts_variant(512, 2, 20, 240e6, 6.0),
        _potts_variant(64, 4, 200, 27e6, 2.5),
    ),
)

W5B = Workload(
    name="W5b",
    title="log likelihood and all marginals of a hidden Markov model of 100 states and 10,000 steps",
    work_unit="steps",
    contestants=(OURS, FLOOR, "dynamax", "dynamax_constant"),
    environments={"dynamax": "dynamax", "dynamax_constant": "dynamax"},
    variants=(
        Variant(
            name="K=100",
            settings={"model": "hidden"},
            work_units=float(workloads.HIDDEN_STEPS),
            bars={"dynamax": 1.3, "dynamax_constant": 1.3},
            floor_check={"dynamax_constant": 0.9 * 27.9 / 20.6},
            quick=True,
            tolerances={"log_likelihood": 0.05, "marginal_error": 1e-5},
            error_bars={"log_likelihood": 1e-3},
        ),
    ),
)

W5C = Workload(
    name="W5c",
    title="alarm network: log evidence and all 34 marginals given three observations",
    work_unit="queries",
    contestants=(OURS, "ours_once", FLOOR, "pgmpy"),
    environments={"pgmpy": "pgmpy"},
    variants=(
        Variant(
            name="alarm",
            settings={"model": "alarm"},
            work_units=100.0,
            bars={"pgmpy": 100.0},
            first_bars={"ours_once": {"pgmpy": 1.0}},
            quick=True,
            limit_s=100 * 2e-3,
            tolerances={"log_likelihood": 2e-5, "marginal_error": 2e-5},
        ),
    ),
)


def _bag_variant(members: int, share: float, limit_us: float) -> Variant:
    count = workloads.BAGS[members]
    return Variant(
        name=f"n={members} f={share}",
        settings={"model": "bags", "members": members, "share": share},
        work_units=float(count),
        bars={},
        quick=members <= 64,
        limit_s=1e-6 * limit_us * count,
        tolerances={"message_error": 1e-5},
        error_bars={"message_error": 1e-6},
    )


W5D = Workload(
    name="W5d",
    title="messages of the count factor exp(-(sum y - k)^2) to all members, k a share f of the mean count",
    work_unit="bags",
    contestants=(OURS, FLOOR, "numba"),
    environments={"numba": "numba"},
    variants=tuple(  # twice the published figures of the recursion in numba, and 1500 us
        _bag_variant(members, share, limit)
        for members, limit in ((8, 0.66), (64, 9.0), (512, 152.0), (2048, 1500.0))
        for share in (0.8, 0.4)
    ),
)


def _pairs_variant(name: str, building: bool, bar: float) -> Variant:
    variables, bag, sweeps = 8192, 32, 100
    return Variant(
        name=name,
        settings={"pairs": True, "variables": variables, "bag": bag, "sweeps": sweeps, "building": building},
        work_units=2.0 * sweeps * (126_976 + 29_478),
        bars={"pgmax": bar},
        lines={"ours_counts": {"pgmax": bar}},
        tolerances={"marginal_error": 1e-5},
    )


W5E = Workload(
    name="W5e",
    title="sum-product on bags of 32 as cliques and 5 nearest neighbours, 8192 binary variables: 100 sweeps",
    work_unit="messages",
    contestants=(OURS, "ours_counts", FLOOR, "pgmax"),
    environments={"pgmax": "pgmax"},
    variants=(_pairs_variant("sweeps", False, 10.0), _pairs_variant("building", True, 100.0)),
)
