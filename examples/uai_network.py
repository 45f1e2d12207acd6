"""Solve a network in the UAI format from the command line, and write the answer as a UAI result file.

    python examples/uai_network.py alarm.uai --evidence alarm.evid --query MAR

MAR asks for the marginals of all variables, PR for the log of the total mass, MAP for the most probable assignment.
What was asked for is written to FILE.uai.MAR (or .PR, .MAP) in the current folder, or to `--out`; a summary, with the
verdict and what it guarantees, is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from lawful.inference import graphs
from lawful.inference.graphs import Beliefs, FactorGraph
from lawful.inference.graphs.formats.uai_results import LOG_10, in_file_order, map_text, mar_text, pr_text
from lawful.inference.graphs.planning import METHODS

QUERIES = ("MAR", "PR", "MAP")
SHOWN = 12  # variables whose answers are printed


def arguments(given: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Solve a network in the UAI format.")
    parser.add_argument("network", type=Path, metavar="FILE.uai")
    parser.add_argument("--evidence", type=Path, metavar="FILE.evid", help="what was observed")
    parser.add_argument("--query", choices=QUERIES, default="MAR")
    parser.add_argument("--method", choices=METHODS, default="auto", help="auto is exact where it can be")
    parser.add_argument("--damping", type=float, help="of messages: the share of the old one, in [0, 1)")
    parser.add_argument("--out", type=Path, help="where to write the answer")
    options = parser.parse_args(given)
    options.out = options.out or Path(f"{options.network.name}.{options.query}")
    return options


def marginals_or_mass(graph: FactorGraph, options: argparse.Namespace) -> Beliefs:
    """Answer MAR and PR, write the file, and show the first of the marginals."""
    settings = {} if options.damping is None else {"damping": options.damping}
    found = graphs.infer(graph, options.method, **settings)
    if options.query == "PR":
        pr_text(float(found.log_z), options.out)
        return found
    rows = in_file_order(graph, found.beliefs)
    mar_text(rows, options.out)
    for number, row in enumerate(rows[:SHOWN]):
        print(f"  P(variable {number}) = {np.asarray(row).round(6).tolist()}")
    return found


def assignment(graph: FactorGraph, options: argparse.Namespace) -> Any:
    """Answer MAP: exactly, or from the beliefs that messages of largest products leave."""
    if graphs.plan(graph, options.method).method == "exact":
        best = graphs.most_probable(graph)
        states, log_score = best.states, best.log_score
        print("most probable assignment, exact")
    else:
        found = graphs.propagated(graph, temperature=None, damping=options.damping)
        states = {name: np.asarray(belief).argmax(axis=-1) for name, belief in found.beliefs.items()}
        log_score = graph.log_score(states)
        print(f"assignment of the largest beliefs, an approximation: {found}")
    row = in_file_order(graph, states)
    map_text([int(state) for state in row], options.out)
    print(f"  log score {float(log_score):.8g} (log10 {float(log_score) / LOG_10:.8g})")
    print(f"  states {' '.join(str(int(state)) for state in row[: 4 * SHOWN])}")
    return log_score


def main(given: Sequence[str] | None = None) -> None:
    """Read, plan, solve, write."""
    options = arguments(given)
    jax.config.update("jax_enable_x64", True)
    graph = FactorGraph.from_uai(options.network, options.evidence)
    print(graph)
    print(graphs.plan(graph, options.method))
    if options.query == "MAP":
        assignment(graph, options)
    else:
        found = marginals_or_mass(graph, options)
        print(f"log Z = {float(found.log_z):.10g} ({found.log_z_kind}), log10 Z = {float(found.log_z) / LOG_10:.10g}")
        print(f"verdict {found.verdict}, certificate {found.certificate}, by {found.method}")
    print(f"written to {options.out.name}")


if __name__ == "__main__":
    main()
