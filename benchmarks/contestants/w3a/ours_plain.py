"""lawful on W3a without the rewrite of Bernoulli sites by log odds: one softplus for every observation."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpyro.distributions as dist

import lawful.distributions.families
from benchmarks.contestants.chains import ChainRun
from benchmarks.contestants.w3a import ours

PACKAGES = ours.PACKAGES
DTYPE = ours.DTYPE


def build(settings: dict[str, Any]) -> ChainRun:
    """The contestant for one variant; the rewrite is off in the whole process."""
    families = lawful.distributions.families.FAMILIES
    families[dist.BernoulliLogits] = dataclasses.replace(families[dist.BernoulliLogits], total=None)
    return ours.build(settings)
