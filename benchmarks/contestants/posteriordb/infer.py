"""lawful on a posterior: the program of the study and its data, in one line, or by a family of guides; 64 bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from benchmarks.contestants.posteriordb.data import DrawsRun, columns, told, told_weighted
from benchmarks.studies.posteriordb import POSTERIORS
from lawful import inference
from lawful.errors import LawfulError

PACKAGES = ("lawful", "jax", "jaxlib", "numpyro", "arviz-stats")
DTYPE = "float64"


def one_line(program: Callable[..., Any], family: str = "") -> Callable[..., inference.Result]:
    """Give what is measured: a program's inference without options, or by guides of a family."""
    return inference.guide(program, family=family) if family else inference.infer(program)


class InferRun(DrawsRun):
    """A run gives a result; what is told of it begins with its verdict."""

    def told(self, result: Any) -> dict[str, float]:
        """What is told of a run: its verdict, and of one with draws what is told of others."""
        found = "" if result.ok else "; ".join(sorted({reason.code for reason in result.reasons}))
        self.notes = {"how": result.sampler + (f", not ok: {found}" if found else "")}
        verdict = {"ok": float(result.ok)}
        try:
            draws, weighted = result.posterior, result.weighted
        except LawfulError:
            return verdict
        if weighted is not None and result.guide is not None:
            log_weight = np.asarray(weighted.log_weight) + np.asarray(result.log_evidence)[:, None]
            return verdict | told_weighted(weighted.values, log_weight, self._wanted)
        return verdict | told(draws, self._wanted, independent=result.sampler != "mcmc")


def build(settings: dict[str, Any]) -> InferRun:
    """The contestant for one posterior."""
    jax.config.update("jax_enable_x64", True)
    posterior, data = POSTERIORS[settings["posterior"]], columns(settings)
    infer = one_line(posterior.program, settings.get("family", ""))
    arguments = posterior.arguments(data)

    def run(i: int) -> inference.Result:
        result = infer(jax.random.key(i), *arguments)
        assert result.ok in (True, False)  # a user reads the verdict first: its checks are part of the cost
        return result

    return InferRun(run, settings, "")
