"""The estimator: a mixture of trajectories fitted to a frame by maximum likelihood.

Law: the fit is a function of data, settings and seed; wide and long forms of one data set give one fit, and the order
of the persons changes nothing but rounding.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from lawful import one_key
from lawful.errors import LawfulError, refuse_unknown
from lawful.inference import map_parts

from ..latent_classes import ClassNumbers
from .fitting.choose_shrinkage import chosen_pooling, with_pooling
from .fitting.objective import Problem
from .fitting.problem import problem_of, read_columns
from .fitting.search import searched
from .model.scaling import in_standard_units
from .posterior.bayes import climbed_for, posed, sampled, settings_of
from .posterior.modes import modes_of
from .posterior.priors import Priors
from .reading.column_words import also_in_words_of_nlpsem
from .reading.read_frames import Measured
from .reading.settings import check_origins, check_settings, check_start, check_times
from .results import TrajectoryFit, TrajectoryPosterior

__all__ = ["TrajectoryMixture"]


class TrajectoryMixture:
    """A mixture of trajectories: classes of people that differ by the curve they follow.

    Args:
        n_classes: number of classes.
        curve: "LIN", "QUAD", "EXP", "JB" or "BLS", as in nlpsem, or the name in words, as "bilinear_spline".
        intrinsic: whether persons have a shape of their own (knot, rate or acceleration).
        knot: how that is treated, "taylor" to first order as the peers do, or "exact" by quadrature.
        covariate_density: "joint", growth covariates are normal within each class, or "conditional" on them. Values of
            the two are not comparable.
        penalty: of fits; None, "weak", which keeps covariances off the boundary, or "pooled", which also pools the
            classes in part, in all but their curves and the gate.
        n_starts: number of random starts.
        smoothing: of kinks, in half of the starts ("mixed"), in all ("on") or in none ("off").
        knot_bounds: what knots stay between, in the user's time; by default the 2nd and 98th percentile of all times.
        reference: the class that odds are told against, from 1 in the order of sizes.
        seed: of the starts.
        equal: what all classes have in common: "psi", the covariance of growth factors (of a spline: of the level at
            the knot and the slopes), "residual", the residual variance, "slope", effects of growth covariates, "shape",
            the knot, rate or acceleration, "covariates", means and covariance of growth covariates, "kappa", direct
            effects of time-varying covariates, "varying", their means and variances. The default of Mplus and lcmm is
            ("psi", "residual").
        random: growth factors that differ between persons of a class, as ("eta0",), with a covariance of their own;
            None for all. () is latent class growth analysis.
        fixed: the shape parameter of all classes where it is known, as {"knot": 3.5}.
        pooling: how many persons each class borrows from what all have in common, where the penalty is "pooled"; by
            default the number at which the evidence has its first maximum, see `fit.pooling`.

    The variant follows from the covariates given to `fit`: gate and growth covariates are the full mixture of experts,
    one of them a gating-network or an expert-network mixture, none a plain growth mixture.

    >>> t = np.arange(4.0)
    >>> y = np.concatenate([np.outer(np.ones(20), t), np.outer(np.ones(20), -t)])
    >>> y = y + 0.1 * np.sin(np.arange(160.0) ** 2).reshape(40, 4)
    >>> data = {f"Y{j + 1}": y[:, j] for j in range(4)} | {f"T{j + 1}": np.full(40, t[j]) for j in range(4)}
    >>> fit = TrajectoryMixture(2, "LIN", n_starts=4).fit(data, y_var="Y", t_var="T", records=range(1, 5))
    >>> fit.class_sizes.round(2).tolist(), fit.accuracy([0] * 20 + [1] * 20)
    ([0.5, 0.5], 1.0)
    """

    def __init__(
        self,
        n_classes: Any = 2,
        curve: Any = "BLS",
        intrinsic: Any = False,
        knot: Any = "taylor",
        covariate_density: Any = "joint",
        penalty: Any = None,
        n_starts: Any = 32,
        smoothing: Any = "mixed",
        knot_bounds: Any = None,
        reference: Any = 1,
        seed: Any = 0,
        pooling: Any = None,
        equal: Any = (),
        random: Any = None,
        fixed: Any = None,
    ) -> None:
        self.n_classes = n_classes
        self.curve = curve
        self.intrinsic = intrinsic
        self.knot = knot
        self.covariate_density = covariate_density
        self.penalty = penalty
        self.n_starts = n_starts
        self.smoothing = smoothing
        self.knot_bounds = knot_bounds
        self.reference = reference
        self.seed = seed
        self.pooling = pooling
        self.equal = equal
        self.random = random
        self.fixed = fixed

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Give the settings."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def __repr__(self) -> str:
        """Tell the settings that are not the usual ones."""
        usual = {name: setting.default for name, setting in inspect.signature(type(self)).parameters.items()}
        told = [f"{name}={value!r}" for name, value in self.get_params().items() if repr(value) != repr(usual[name])]
        return f"TrajectoryMixture({', '.join(told)})"

    def set_params(self, **settings: Any) -> TrajectoryMixture:
        """Change settings.

        Raises:
            LawfulError: there is no such setting.
        """
        refuse_unknown("TrajectoryMixture", settings, type(self))
        for name, value in settings.items():
            setattr(self, name, value)
        return self

    @also_in_words_of_nlpsem
    def fit(
        self,
        data: Any,
        y_var: str,
        t_var: str,
        records: Any = None,
        id: str | None = None,
        gate: str | Sequence[str] | None = (),
        growth: str | Sequence[str] | None = (),
        time_varying: str | Sequence[str] | None = (),
        center_time: str | None = None,
        start: Any = None,
        map: Any = None,
        program: Callable[..., Any] | None = None,
    ) -> TrajectoryFit:
        """Fit by maximum likelihood, from many starts.

        Args:
            data: a frame of pandas or polars, or a mapping of columns; wide with `records`, long with `id`.
            y_var: the outcome: prefix of its columns in wide data, its column in long data.
            t_var: the time, likewise.
            records: numbers of the waves of wide data.
            id: column of the person in long data.
            gate: gate covariates; `cluster_TIC` of nlpsem, whose words are taken too.
            growth: growth covariates; `growth_TIC` of nlpsem.
            time_varying: covariates that change from wave to wave (`TVC`), named like the outcome, each of which adds
                its direct effect to the outcome of the same wave. (Forms that split such a covariate into a trait and
                states are not there.)
            center_time: "own_first" subtracts the first time of each person, whether or not an outcome was seen then;
                else times are taken as they are.
            start: `Parameters` in the user's units, as those of another fit: one more start, alone where `n_starts=0`.
            map: an executor that climbs from the starts, with the same fit: anything with the `map` of
                `concurrent.futures`, or "processes" for a pool of processes.
            program: the joint, in standard units: a function of `at` and `model` with the sites of
                `mixture_with_priors`, which may have other laws. The fit is its mode by `inference.maximise` (the extra
                `maximise`), from the optima of the penalised likelihood, and has no errors; None: the maximum of the
                likelihood, or of that and the penalty.

        Returns: the fit; persons come in the order of their rows, in long data in that of their identifiers, which are
            `fit.data.persons`.

        Raises:
            LawfulError: a setting or a column does not exist.
            ObservationError: a value is missing where it must not be.
            NoFiniteStartError: no start ended at a finite likelihood.
        """
        check_settings(self.get_params(), start is not None)
        read = read_columns(data, y_var, t_var, records, id, gate, growth, time_varying, center_time)
        if program is not None:
            self._check_with_program(start, map)
        with jax.enable_x64(True):
            return self._fitted(read, start, map) if program is None else self._mode(read, program)

    def fit_predict(self, data: Any, **columns: Any) -> np.ndarray:
        """Fit, and give the most probable class of each person, from 1 (n,)."""
        return self.fit(data, **columns).predict()

    @also_in_words_of_nlpsem
    def bayes(
        self,
        data: Any,
        y_var: str,
        t_var: str,
        records: Any = None,
        id: str | None = None,
        gate: str | Sequence[str] | None = (),
        growth: str | Sequence[str] | None = (),
        time_varying: str | Sequence[str] | None = (),
        center_time: str | None = None,
        *,
        key: Any,
        priors: Priors | None = None,
        method: str = "smc",
        select: str | None = None,
        **settings: Any,
    ) -> TrajectoryPosterior:
        """Draw from the posterior, growth factors integrated out and classes summed out, in double precision.

        Args:
            data: columns and their names as for `fit`, up to `center_time`.
            y_var: the outcome.
            t_var: the time.
            records: numbers of the waves of wide data.
            id: column of the person in long data.
            gate: gate covariates; `cluster_TIC` of nlpsem, whose words are taken too.
            growth: growth covariates; `growth_TIC` of nlpsem.
            time_varying: time-varying covariates, which are not among those that `select` shrinks.
            center_time: "own_first", or None.
            key: a key of `jax.random`, or a seed.
            priors: scales, in standard units; None for the default ones.
            method: "smc", tempered sequential Monte Carlo, which visits all modes and gives the evidence; or "nuts",
                chains from the optima of the penalised likelihood, which stay in their mode.
            select: "horseshoe" shrinks covariates of the gate and of growth that do not matter, see
                `TrajectoryPosterior.inclusion`; growth covariates are best conditioned on then.
            settings: of "smc": particles (1024), runs (4), which give the error of the evidence, ladder (0.7), the
                share of the effective sample size that a temperature leaves, length (8) of the chains that move
                particles, step_size and leapfrogs of a move, and start: "optima", a law around the optima of the
                penalised likelihood and about the prior (see `inference.laplace_mixture`), or "prior" itself, which
                takes many more particles, and is taken for more than 6 classes; of "nuts": chains, warmup, draws.

        Raises:
            LawfulError: a setting or a column does not exist.
            ObservationError: a value is missing where it must not be.
        """
        if select not in (None, "horseshoe"):
            raise LawfulError(f"bayes: select={select!r}, expected None or 'horseshoe'. Fix: give one of these.")
        check_settings(self.get_params())
        if self.penalty == "pooled":
            raise LawfulError(
                "bayes: penalty='pooled' is one of fits, and priors do not pool. Fix: leave it out, or call fit."
            )
        settings_of(method, settings, select is not None)
        read = read_columns(data, y_var, t_var, records, id, gate, growth, time_varying, center_time)
        if select and not (read.gate_names or read.growth_names):
            raise LawfulError(
                "bayes: select='horseshoe', and there are no covariates. Fix: name candidates in gate= or growth=, or "
                "leave select out."
            )
        with jax.enable_x64(True):
            model, problem, scaling = problem_of(read, self.get_params())
            check_origins(read, model)
            at = posed(problem, read, scaling.t_scale, model, priors, self.knot_bounds is not None)
            climbed = partial(climbed_for, at, model, self.n_starts, self.seed)
            result = sampled(one_key(key), at, model, method, settings, climbed, select == "horseshoe")
        return TrajectoryPosterior(model, read, at, scaling, result, self.reference - 1)

    def compare_classes(
        self, data: Any, classes: Iterable[int] = range(1, 5), *, key: Any, criteria: bool = True,
        priors: Priors | None = None, settings: Mapping[str, Any] | None = None, map: Any = None, **columns: Any,
    ) -> ClassNumbers:  # fmt: skip
        """Compare numbers of classes: evidence with its error, and beside it BIC and ICL of the fits.

        Args:
            data: a frame, as for `fit`.
            classes: the numbers; the largest is looked at first, since it is the one that may be refused.
            key: a key of `jax.random`, or a seed.
            criteria: whether the mixtures are fitted, too.
            priors: as for `bayes`.
            settings: as for `bayes`, by name.
            map: an executor that takes the numbers of classes side by side, with the same answers: anything with the
                `map` of `concurrent.futures`, or "processes" for a pool of processes.
            columns: names of columns, as for `fit`.

        Raises:
            LawfulError: these are no numbers of classes, or the method gives no evidence; and what `bayes` raises.
        """
        numbers = _numbers_of_classes(classes)
        if (settings or {}).get("method", "smc") != "smc":
            raise LawfulError(
                f"compare_classes: method={(settings or {})['method']!r} gives no evidence. Fix: leave method out."
            )
        own = one_key(key)
        shared = (data, columns, priors, dict(settings or {}), criteria)
        parts = [(self._of_classes(k), jax.random.fold_in(own, k), *shared) for k in sorted(numbers, reverse=True)]
        found = dict(map_parts(map, _compared, parts))
        evidence = {k: found[k][0] for k in numbers}
        return ClassNumbers(evidence, {k: found[k][1] for k in numbers if criteria})

    def _of_classes(self, k: int) -> TrajectoryMixture:
        """Give the same mixture with so many classes."""
        return type(self)(**{**self.get_params(), "n_classes": k, "reference": min(self.reference, k)})

    def _check_with_program(self, start: Any, executor: Any) -> None:
        if start is not None or executor is not None or self.penalty is not None:
            raise LawfulError(
                "TrajectoryMixture.fit: start=, map= and penalty= are of a climb of the likelihood, and a program is "
                "climbed from the optima of the penalised one. Fix: leave them out, or program=."
            )
        if self.intrinsic and self.knot == "exact":
            raise LawfulError(
                "TrajectoryMixture.fit: program= with knot='exact', where each person has a shape that no transformer "
                "integrates out. Fix: knot='taylor'."
            )

    def _mode(self, read: Measured, program: Callable[..., Any]) -> TrajectoryFit:
        """Fit a program of one's own."""
        model, problem, scaling = problem_of(read, self.get_params())
        check_times(read, model.form, shaped=not model.fixed)
        at = posed(problem, read, scaling.t_scale, model, None, self.knot_bounds is not None)
        found = modes_of(program, at, model, climbed_for(at, model, self.n_starts, self.seed))
        order = tuple(np.argsort(-found.shares[found.best], kind="stable").tolist())
        of = Problem(at.panel, at.knots, at.width)
        return TrajectoryFit(model, read, of, scaling, found, True, order, self.reference - 1, program)

    def _fitted(self, read: Measured, start: Any, executor: Any) -> TrajectoryFit:
        model, problem, scaling = problem_of(read, self.get_params())
        check_times(read, model.form, shaped=not model.fixed)
        if start is not None:
            check_start(start, model)
        own = None if start is None else in_standard_units(jax.tree.map(jnp.asarray, start), model, scaling)
        penalised = self.penalty is not None
        if self.penalty == "pooled" and self.pooling is None:
            borrowed = chosen_pooling(problem, model, self.n_starts, self.seed, self.smoothing, own, executor)
            problem = with_pooling(problem, borrowed)
        found = searched(problem, model, self.n_starts, self.seed, self.smoothing, penalised, own, executor)
        order = np.argsort(-found.shares[found.best], kind="stable")
        fit = TrajectoryFit(model, read, problem, scaling, found, penalised, tuple(order.tolist()), self.reference - 1)
        if found.degenerate[found.best]:
            warnings.warn("every start ended with a class of hardly anyone. Fix: take fewer classes.", stacklevel=3)
        return fit


def _compared(
    mixture: TrajectoryMixture, key: jax.Array, data: Any, columns: Mapping[str, Any], priors: Priors | None,
    settings: Mapping[str, Any], criteria: bool,
) -> tuple[int, tuple[np.ndarray, dict[str, float]]]:  # fmt: skip
    """Give the number of classes of a mixture, its evidence by run, and the criteria of its fit."""
    evidence = mixture.bayes(data, **columns, key=key, priors=priors, **settings).log_evidence_by_run
    fit = mixture.fit(data, **columns) if criteria else None
    told = {} if fit is None else {"bic": fit.bic, "icl": fit.icl, "minus2ll": fit.minus2ll}
    return mixture.n_classes, (evidence, told)


def _numbers_of_classes(classes: Any) -> list[int]:
    """Read numbers of classes, each of which is asked for once."""
    numbers = list(classes) if isinstance(classes, Iterable) and not isinstance(classes, str) else []
    whole = all(isinstance(k, int | np.integer) and not isinstance(k, bool) and k > 0 for k in numbers)
    if not numbers or not whole or len(set(numbers)) < len(numbers):
        raise LawfulError(
            f"compare_classes: classes={classes!r}, expected numbers of classes, each once. Fix: give range(1, 5), say."
        )
    return [int(k) for k in numbers]
