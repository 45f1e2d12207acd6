"""The reference networks: graphs from the shared data, and their exact answers."""

import json

import numpy as np

from lawful.inference.graphs import FactorGraph

NETWORKS = ("asia", "sachs", "alarm")
PAIRWISE = ("ising_grid_6x8", "tree_chain_potts")


def network(data, name, dtype=np.float64):
    """Read the graph of a network of conditional tables, or of pairs."""
    given = json.loads((data / "bayesnets" / name / "network.json").read_text())
    graph = FactorGraph()
    if "cpds" in given:
        for variable in given["variables"]:
            graph.variables(variable["name"], states=variable["states"])
        for cpd in given["cpds"]:
            scope = [graph[v] for v in (*cpd["parents"], cpd["variable"])]
            table = np.array(cpd["table"]).reshape([v.family.cardinality for v in scope])
            with np.errstate(divide="ignore"):
                graph.factors(cpd["variable"], scope, np.log(table).astype(dtype))
        return graph
    count, card = given["n_variables"], given["cardinality"]
    x = graph.variables("x", (count,), card, np.array(given["unary_log"], dtype))
    first, second = np.array(given["edges"]).T
    signs = 2 * np.eye(card) - 1
    graph.factors("pair", [x[first], x[second]], (np.array(given["coupling"])[:, None, None] * signs).astype(dtype))
    return graph


def exact(data, name):
    """Read the exact answers."""
    return json.loads((data / "bayesnets" / name / "exact.json").read_text())


def largest_error(beliefs, marginals):
    """Largest difference of beliefs from exact marginals: by name, or a list for the family x."""
    if isinstance(marginals, dict):
        return max(np.abs(np.asarray(beliefs[name]) - np.array(p)).max() for name, p in marginals.items())
    return np.abs(np.asarray(beliefs["x"]) - np.array(marginals)).max()
