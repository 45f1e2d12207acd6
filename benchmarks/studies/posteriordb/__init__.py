"""Twelve posteriors whose reference values were made elsewhere, as programs, and the comparison with them.

Law: draws of a correct sampler differ from the reference by its Monte Carlo error and their own. The data are not part
of the repository: `read` takes them from a folder and checks their sum.

    python -m benchmarks.studies.posteriordb

Source: posteriordb (Magnusson et al.), https://github.com/stan-dev/posteriordb.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lawful import inference

from . import programs
from .reference import Reference, data_folder, read

__all__ = ["POSTERIORS", "Posterior", "Reference", "data_folder", "programs", "read"]


@dataclass(frozen=True)
class Posterior:
    """A program with the names of its data.

    Attributes:
        name: the posterior's name in the database, and of its folder.
        program: the program, its labels summed out; its arguments are the columns, in order.
        columns: names of the data.
        proper: whether the prior can be drawn from.
    """

    name: str
    program: Callable[..., Any]
    columns: tuple[str, ...]
    proper: bool

    def arguments(self, data: Mapping[str, Any]) -> tuple[Any, ...]:
        """Give the arguments of the program: columns as arrays, sizes as they are.

        >>> POSTERIORS["arK-arK"].arguments({"y": [0.5, 0.25], "K": 1})
        (array([0.5 , 0.25]), 1)
        """
        given = [data[column] for column in self.columns]
        return tuple(np.asarray(x) if isinstance(x, list) else x for x in given)


SUMMED = inference.marginalise("all")

POSTERIORS: Mapping[str, Posterior] = {
    posterior.name: posterior
    for posterior in (
        Posterior("arK-arK", programs.autoregression, ("y", "K"), True),
        Posterior("earnings-logearn_interaction", programs.logearn_interaction, ("earn", "height", "male"), False),
        Posterior("eight_schools-eight_schools_noncentered", programs.eight_schools_noncentered, ("y", "sigma"), True),
        Posterior("garch-garch11", programs.garch11, ("y", "sigma1"), False),
        Posterior("gp_pois_regr-gp_pois_regr", programs.gp_pois_regr, ("x", "k"), True),
        Posterior("hmm_example-hmm_example", SUMMED(programs.hmm_example), ("y",), True),
        Posterior("hudson_lynx_hare-lotka_volterra", programs.lotka_volterra, ("ts", "y_init", "y"), True),
        Posterior(
            "kidiq-kidscore_interaction", programs.kidscore_interaction, ("kid_score", "mom_hs", "mom_iq"), False
        ),
        Posterior("low_dim_gauss_mix-low_dim_gauss_mix", SUMMED(programs.low_dim_gauss_mix), ("y",), True),
        Posterior(
            "mesquite-logmesquite_logvash",
            programs.logmesquite_logvash,
            ("weight", "diam1", "diam2", "canopy_height", "total_height", "group"),
            False,
        ),
        Posterior(
            "nes1980-nes",
            programs.nes,
            ("partyid7", "real_ideo", "race_adj", "age_discrete", "educ1", "gender", "income"),
            False,
        ),
        Posterior("sblrc-blr", programs.blr, ("X", "y"), True),
    )
}
