"""Rows: what `make law` checks, one row per transformer, composition or kernel.

Law: a row whose contract is exact is checked by both enumerators; a row that cannot be enumerated says by which check
it is. A newcomer adds one row and gets all laws.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from ...algorithms.annealed_importance import AnnealedImportance
from ...algorithms.maximise import Maximise
from ...algorithms.smc import particle_filter
from ...algorithms.tempered_smc import TemperedSmc
from ...contract import PRESERVES, Transformer
from ...kernels import (
    bag_gibbs,
    barker,
    block_gibbs,
    gibbs,
    hmc,
    mala,
    mh,
    nuts,
    particle_gibbs,
    random_walk,
    refresh,
    repeat,
    split_merge,
)
from ...kernels.particles.move import move
from ...laws.resampling_schemes import ess_below, scheme
from ...representations.annealing_paths import data_by_data
from ...representations.population import Advance
from ...representations.sequential import Suspend, suspend
from ...representations.traced import Trace
from ...transformers.collapse import Collapse
from ...transformers.gaussian.integrate_normals import integrate_normals
from ...transformers.marginalise import marginalise
from ...transformers.pauses import Finish, repeat_to_end, spawn
from ...transformers.propose.propose import propose_each
from ...transformers.rejuvenation import rejuvenate
from ...transformers.resample import PushEvidence, resample
from ...transformers.temper import temper
from ..exact.suite import Needs
from ..identities.guide_gradients import GuideGradient
from ..identities.selection import Selection
from ..identities.tilting import Tilting
from ..identities.unmasking import Unmasking
from ..programs.called import Called
from ..programs.doubled import Double, Simplify
from ..programs.elementwise import ByElements
from ..programs.limits import KINDS
from ..programs.partial_sums import GraphHalf, SumHalf, SumOutside
from ..programs.tilted import tilted
from ..programs.unrolled import Roll
from .kernel_rows import (
    CHOSEN,
    CONDITIONALS,
    CYCLE,
    DELAYED,
    GUIDED,
    INDEPENDENCE,
    INVOLUTIVE,
    JUMPS,
    ON,
    PMMH,
    PROGRAM,
    REDRAWN,
    REFRESH,
    SMALL_BLOCKS,
    SMCP3,
    START,
    TEMPERING,
    ballots,
    classes,
    clusters,
    filtered,
    filtered_alone,
    guarded,
    hidden,
    known_steps,
    labels,
    models,
    nested,
    nested_steps,
    places,
    shared_ballots,
    taken,
    two_steps,
)
from .modes import MODES, SUMMED_MODES
from .normal_rows import effects, trend
from .reflect import reflect
from .trees import TREE_MOVES, TreeWeights

IN_PROGRAM, BY_GRAPH = marginalise(method="program"), marginalise(method="graph")
SCHEMES = ("multinomial", "systematic", "stratified", "residual")


# Enumeration reads a program as it is: the row compares the two enumerators with each other.
Enumerate = Transformer("enumerate", lambda form: form, PRESERVES)


@dataclass(frozen=True)
class Row:
    """One row: a name, what is checked, and what kind of programs it needs, or its own, which take no argument.

    `structured` is the smallest share of programs with a branch, guard or plate; in `nested` programs constructs stand
    inside others, and arms share names.
    """

    name: str
    subject: Any
    loops: bool = False
    particles: int = 2
    max_paths: int = 160
    steps: int = 0
    programs: tuple[Any, ...] = ()
    kinds: tuple[str, ...] = KINDS
    features: frozenset[str] = frozenset()
    structured: float = 0.5
    nested: bool = False

    @property
    def is_kernel(self) -> bool:
        """Whether the subject is a Markov kernel."""
        return hasattr(self.subject, "build")

    @property
    def needs(self) -> Needs:
        """What random programs have to be like."""
        return Needs(self.particles, self.loops, self.steps, self.max_paths, self.kinds, self.features, self.nested)


# Programs for kernels in which a move has something to get wrong: every site runs, and some depend on others.
DEPENDENT: dict[str, Any] = {
    "particles": 1,
    "max_paths": 12,
    "kinds": ("site", "factor", "observe", "assign", "plate", "loop", "weigh"),
    "features": frozenset({"dependence"}),
    "structured": 0.0,
}


def _filter(name: str, n: int, below: float | None) -> Any:
    when = None if below is None else ess_below(below)
    return Suspend >> particle_filter(n, scheme(name), when)


ROWS: tuple[Row, ...] = (
    Row("enumerate", Enumerate, particles=1, max_paths=24),
    Row("enumerate, nested", Enumerate, particles=1, max_paths=24, nested=True),
    Row("roll . unroll", Roll, loops=True, particles=1, max_paths=24, steps=2),
    Row("simplify . double", Double >> Simplify, particles=1, max_paths=24),
    Row("simplify . double, loops", Double >> Simplify, loops=True, particles=1, max_paths=24, steps=2),
    Row("marginalise, in the program", IN_PROGRAM, particles=1, max_paths=24),
    Row("marginalise, in the program, chains", IN_PROGRAM, loops=True, particles=1, max_paths=24, steps=2),
    Row("marginalise, in the program, every other site", SumHalf, particles=1, max_paths=24),
    Row("marginalise, in the program, nested", IN_PROGRAM, particles=1, max_paths=24, nested=True),
    Row("marginalise", marginalise(), particles=1, max_paths=24),
    Row("marginalise, by a graph", BY_GRAPH, particles=1, max_paths=24),
    Row("marginalise, by a graph, chains", BY_GRAPH, loops=True, particles=1, max_paths=24, steps=2),
    Row("marginalise, by a graph, every other site", GraphHalf, particles=1, max_paths=24),
    Row("marginalise, by a graph, nested", BY_GRAPH, particles=1, max_paths=24, nested=True),
    Row(
        "log marginals of elements", ByElements, particles=1, max_paths=24, features=frozenset({"plate", "observation"})
    ),
    Row("smc . marginalise", SumOutside >> _filter("systematic", 2, 0.9), loops=True, steps=2),
    Row("spawn", spawn(2)),
    Row("importance: collapse . push_evidence . spawn", spawn(2) >> PushEvidence >> Collapse),
    *(Row(f"resample {name}", spawn(2) >> resample(scheme(name))) for name in SCHEMES),
    Row("resample adaptive, N = 3", spawn(3) >> resample(scheme("systematic"), ess_below(0.9)), particles=3),
    Row("advance, finish", Suspend >> spawn(2) >> repeat_to_end(Advance) >> Finish, loops=True, max_paths=40),
    *(Row(f"smc {name}", _filter(name, 2, None), loops=True, steps=2) for name in SCHEMES),
    Row("smc systematic adaptive, N = 2", _filter("systematic", 2, 0.9), loops=True, steps=2),
    Row(
        "smc systematic adaptive, N = 3",
        _filter("systematic", 3, 0.9),
        loops=True,
        particles=3,
        max_paths=6000,
        steps=2,
    ),
    Row("smc multinomial adaptive, collapsed", _filter("multinomial", 2, 0.9) >> Collapse, loops=True, steps=2),
    Row("importance inside a program", spawn(2) >> PushEvidence >> Collapse >> Called, max_paths=80),
    Row("move: mh after resampling", Trace >> spawn(2) >> resample(scheme("systematic")) >> move(mh()), max_paths=25),
    Row(
        "tempered smc, N = 2",
        TemperedSmc(particles=2, kernel=reflect(), ladder=[0.4, 1.0], steps=1).compose(),
        max_paths=40,
    ),
    Row(
        "tempered smc, waste-free, N = 2",
        TemperedSmc(particles=2, kernel=reflect(), ladder=[0.4, 1.0], chains=1).compose(),
        max_paths=40,
    ),
    Row(
        "tempered smc, waste-free, N = 4",
        TemperedSmc(particles=4, resampling="multinomial", kernel=reflect(), ladder=[1.0], chains=2).compose(),
        particles=4,
        max_paths=260,
    ),
    Row(
        "annealed importance",
        AnnealedImportance(particles=2, kernel=reflect(), ladder=[0.4, 1.0]).compose(),
        max_paths=40,
    ),
    Row(
        "temper data by data",
        Trace
        >> temper(data_by_data(block=2), [1.0])
        >> spawn(2)
        >> repeat_to_end(Advance >> PushEvidence >> resample(scheme("systematic")) >> rejuvenate(reflect(), 1))
        >> Finish,
        loops=True,
        max_paths=40,
    ),
    Row("propose", propose_each(tilted), particles=1, max_paths=24),
    Row("guided smc", propose_each(tilted) >> _filter("systematic", 2, None), loops=True, steps=2),
    Row(
        "guided smc by the prior, simplified",
        propose_each(lambda address, prior: prior) >> _filter("systematic", 2, None) >> Simplify,
        loops=True,
        steps=2,
    ),
    Row("start from a mixture", START, programs=(places,)),
    Row("start from a guide", GUIDED, programs=(taken,)),
    Row("propose, tree of beliefs", TreeWeights, particles=1, max_paths=24),
    Row(
        "smc of a tree of beliefs",
        TreeWeights >> suspend("factors") >> particle_filter(2, scheme("systematic"), None),
        programs=(clusters,),
    ),
    Row(
        "smc with a pause at every factor",
        suspend("factors") >> particle_filter(2, scheme("stratified"), None),
        max_paths=40,
    ),
    Row(
        "resample-move: reflect at every pause",
        suspend(hold=True) >> particle_filter(2, scheme("systematic"), None, kernel=reflect()),
        max_paths=40,
    ),
    Row(
        "resample-move: reflect at every step of a loop",
        suspend(hold=True) >> particle_filter(2, scheme("systematic"), None, kernel=reflect()),
        loops=True,
        steps=2,
    ),
    Row("move: smcp3", Trace >> spawn(1) >> move(SMCP3) >> PushEvidence >> Collapse, programs=(nested,)),
    Row(
        "smcp3 at every pause",
        suspend(hold=True) >> particle_filter(2, scheme("systematic"), None, kernel=SMCP3),
        programs=(known_steps,),
    ),
    Row("mh single site", mh(), particles=1, max_paths=8),
    Row("mh single site, nested branches", mh(), programs=(nested, nested_steps)),
    Row("mh single site, sites that depend on each other", mh(), **DEPENDENT),
    Row("mh program, mixture", PROGRAM, particles=1, max_paths=8),
    Row("mh independence", INDEPENDENCE, particles=1, max_paths=8),
    Row("mh tree of beliefs", TREE_MOVES, particles=1, max_paths=8),
    Row("on sites, mixture", ON, particles=1, max_paths=8),
    Row("on sites, cycle", CYCLE, particles=1, max_paths=8),
    Row("involutive, mixture", INVOLUTIVE, particles=1, max_paths=8),
    Row("reversible jump", JUMPS, programs=(models,)),
    Row("split-merge", mh(split_merge("z")), programs=(clusters,)),
    Row("redraw of one element", REDRAWN[0], programs=(classes,)),
    Row("redraw of one element by a program", REDRAWN[1], programs=(classes,)),
    Row("delayed acceptance", DELAYED, programs=(nested,)),
    Row("parallel tempering", TEMPERING, programs=(guarded,)),
    Row("Barker's rule", barker(), programs=(nested, nested_steps)),
    Row("repeat mh", repeat(mh(), 2), particles=1, max_paths=8),
    Row("gibbs", gibbs(), programs=(labels, hidden)),
    Row("gibbs, mixture", CONDITIONALS, particles=1, max_paths=8),
    Row("gibbs, sites that depend on each other", CONDITIONALS, **DEPENDENT),
    Row("block gibbs", block_gibbs(), particles=1, max_paths=8),
    Row("block gibbs, nested", block_gibbs(), particles=1, max_paths=8, nested=True),
    Row("block gibbs, small blocks", SMALL_BLOCKS, particles=1, max_paths=8),
    Row("block gibbs, sites that depend on each other", SMALL_BLOCKS, **DEPENDENT),
    Row("bag gibbs", bag_gibbs(), programs=(ballots, shared_ballots)),
    Row("default kernel", CHOSEN, particles=1, max_paths=8),
    Row("default kernel, branches", CHOSEN, programs=(nested, nested_steps, models)),
    Row("default kernel, sites that depend on each other", CHOSEN, **DEPENDENT),
    Row("particle gibbs", particle_gibbs(2, ancestors="retained"), programs=(two_steps,)),
    Row(
        "particle gibbs, systematic",
        particle_gibbs(2, ancestors="retained", resampling="systematic"),
        programs=(two_steps,),
    ),
    Row("particle gibbs, ancestors sampled", particle_gibbs(2), programs=(two_steps,)),
    Row("particle gibbs, backward", particle_gibbs(2, ancestors="backward"), programs=(two_steps,)),
    Row("refresh", REFRESH, programs=(known_steps,)),
    Row("pseudo-marginal", PMMH, programs=(filtered,)),
    Row("pseudo-marginal, parameters alone", replace(PMMH, keep="parameters"), programs=(filtered,)),
    Row("pseudo-marginal, no parameters", refresh(keep="named"), programs=(filtered_alone,)),
)

IDENTITIES: tuple[Row, ...] = (
    Row("mh random walk", mh(random_walk(0.7))),
    Row("mala", mala(0.3)),
    Row("hmc", hmc(0.3, 3)),
    Row("nuts", nuts(0.3, max_depth=3)),
    Row("integrate_normals", integrate_normals(), programs=(effects, trend)),
    Row("gradient of a guide, by scores", GuideGradient(draws=2)),
    Row("gradient of a guide, by sums", GuideGradient(sums=True)),
    Row("gradient of a guide, of several weights", GuideGradient("importance", 2)),
    Row("maximise", Maximise(starts=4), programs=MODES),
    Row("maximise by expectation maximisation", Maximise(starts=4, method="em"), programs=SUMMED_MODES),
    Row("selected by dividing", Selection("divide")),
    Row("selected by imputing", Selection("impute")),
    Row("selected by a Poisson process", Selection("poisson")),
    Row("tilt", Tilting()),
    Row("unmask", Unmasking()),
)
