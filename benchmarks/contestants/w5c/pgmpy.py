"""pgmpy on W5c: variable elimination in NumPy, a query for each variable as its documentation has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from pgmpy.factors.discrete import TabularCPD
from pgmpy.inference import VariableElimination
from pgmpy.models import DiscreteBayesianNetwork

from benchmarks.contestants.alarm import FEW, AlarmRun
from benchmarks.workloads import ALARM_EVIDENCE, alarm_states, alarm_tables

PACKAGES = ("pgmpy", "numpy")
DTYPE = "float64"


def build(settings: dict[str, Any]) -> AlarmRun:
    """The contestant for one variant."""
    states, tables = alarm_states(), alarm_tables()
    model = DiscreteBayesianNetwork([(parent, scope[-1]) for scope, _ in tables for parent in scope[:-1]])
    model.add_nodes_from(states)
    for scope, table in tables:
        (*parents, child), columns = scope, table.reshape((-1, table.shape[-1])).T
        sizes = [len(states[v]) for v in parents]
        named = {v: states[v] for v in scope}
        model.add_cpds(TabularCPD(child, len(states[child]), columns, parents or None, sizes or None, named))
    hidden = [name for name in states if name not in ALARM_EVIDENCE]

    def run() -> Any:
        engine = VariableElimination(model)
        found = {v: engine.query([v], evidence=ALARM_EVIDENCE, show_progress=False) for v in hidden}
        order = {v: [found[v].state_names[v].index(s) for s in states[v]] for v in hidden}
        return None, {v: np.asarray(found[v].values)[order[v]] for v in hidden}

    return AlarmRun(run, FEW)
