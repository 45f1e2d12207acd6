"""W5c: the alarm network, all 34 marginals given three observations.

The tables lie among the reference data: in the folder that LAWFUL_DATA names, or in ../shared/data beside the project.

Law: the exact answers are contractions of all tables in double precision, one for each marginal; the answers of the
reference data, to other observations, are given by the same function.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import numpy as np

ALARM_EVIDENCE = {"HRBP": "HIGH", "BP": "LOW", "CO": "NORMAL"}
ALARM_LOG_EVIDENCE = -3.919486310284


def alarm_file(name: str = "network.json") -> Path:
    """A file of the network, among the reference data."""
    root = Path(__file__).resolve().parents[2]
    return Path(os.environ.get("LAWFUL_DATA") or root.parent / "shared" / "data") / "bayesnets" / "alarm" / name


def alarm_states() -> dict[str, list[str]]:
    """The variables and the names of their states."""
    return {v["name"]: v["states"] for v in json.loads(alarm_file().read_text())["variables"]}


def alarm_tables() -> list[tuple[tuple[str, ...], np.ndarray]]:
    """For each variable its scope, the parents and itself behind them, and the table of its law."""
    network, states = json.loads(alarm_file().read_text()), alarm_states()
    scopes = [(*cpd["parents"], cpd["variable"]) for cpd in network["cpds"]]
    sizes = [[len(states[v]) for v in scope] for scope in scopes]
    return [(s, np.array(cpd["table"]).reshape(n)) for s, n, cpd in zip(scopes, sizes, network["cpds"], strict=True)]


def alarm_marginals(evidence: Mapping[str, str]) -> tuple[float, dict[str, np.ndarray]]:
    """Log evidence, and the marginals of all variables that were not observed, by one contraction each."""
    states, tables = alarm_states(), alarm_tables()
    number = {name: k for k, name in enumerate(states)}
    seen = [(np.eye(len(states[v]))[states[v].index(s)], [number[v]]) for v, s in evidence.items()]
    operands = [x for table in (*((t, [number[v] for v in scope]) for scope, t in tables), *seen) for x in table]
    joint = {v: np.einsum(*operands, [number[v]], optimize="greedy") for v in states if v not in evidence}
    total = next(iter(joint.values())).sum()
    return float(np.log(total)), {v: weights / weights.sum() for v, weights in joint.items()}


@cache
def alarm_answers() -> tuple[float, dict[str, np.ndarray]]:
    """Log evidence and marginals of the workload."""
    return alarm_marginals(ALARM_EVIDENCE)
