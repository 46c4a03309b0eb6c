"""``next_runs`` and ``plan_runs``: which runs, for a budget, take most off the uncertainty of what is to be decided."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import DataError, SpecError, unknown
from bayescale.core.targets import Target, as_target
from bayescale.data.runs import Runs
from bayescale.data.schema import read_numbers, rows_text
from bayescale.decision.information import Stakes, stakes_of, value_of_information
from bayescale.decision.rules import AllOf, Threshold, as_threshold, read_targets
from bayescale.decision.utility import Utility
from bayescale.infer.evals_fit import CapabilityFit
from bayescale.models.scaling import ScalingModel
from bayescale.prediction.cost import Cost
from bayescale.prediction.design_of_runs import Choice, Joint, alone, choose, joint_normal
from bayescale.prediction.mixing import fits_of
from bayescale.prediction.parameters import Unseen
from bayescale.prediction.points import At, Fitted, as_frame
from bayescale.prediction.predict import Kind
from bayescale.prediction.prior_draws import prior_fit

Array = NDArray[np.float64]
#: What each run costs: a column, or a function of the table of runs to their costs, such as a :class:`Cost`.
Costs = str | Callable[[pd.DataFrame], Any]

#: Column that holds the costs where nothing else is said.
COST = "cost"


@dataclass(frozen=True)
class _Asked:
    """What a plan is for: points, and what is decided there, if anything: the target, and what meeting it is worth."""

    points: At
    goal: Target | None = None
    stakes: Stakes | None = None


def next_runs(
    fit: Fitted,
    candidates: At,
    *,
    target: str | Threshold | AllOf | Utility | At,
    budget: float,
    at: At | None = None,
    cost: Costs | None = None,
    kind: Kind = "response",
    batch: bool = True,
    replicates: bool = True,
    most: int | None = None,
    least: float = 1e-3,
    misfit: float = 0.0,
    unseen: Unseen = "population",
    seed: int = 0,
) -> pd.DataFrame:
    """Which runs, for a budget, take most off the uncertainty at a target, and what that is worth.

    Parameters
    ----------
    fit : Fit, Ensemble, or a selection of one
        What is known so far.
    candidates : DataFrame or dict
        Runs that could be made, one a row: covariates and groups as of :func:`predict`, costs, and ``<response>_sd`` where the
        error of measuring one is known. A response in it is ignored.
    target : DataFrame, dict, str, Threshold or Utility
        The points asked about; or what must be met at one, ``"loss<=2.0"``, a :class:`Threshold` or a :class:`Utility` with a
        target, and the point in ``at``.
    budget : float
        What the runs may cost together, in the unit of ``cost``.
    at : DataFrame or dict, optional
        The points asked about, where ``target`` is a rule.
    cost : str, Cost or callable, optional
        The column of costs; or a :class:`Cost`, or a function of the table of candidates, that computes them. By default the
        column ``cost``, or 6·params·tokens where there is none.
    kind : {"mean", "response"}
        Uncertainty of the law at the points, or of a new run there, with the noise that no other run can take away.
    batch : bool
        True: a set to be made at once, each run chosen given those above it, until the budget is spent. False: each candidate
        on its own, the best first: make the first, fit again, and ask again.
    replicates : bool
        A candidate may be chosen more than once.
    most : int, optional
        At most so many runs.
    least : float
        Stop where no run that can still be paid would take off so large a share of the variance at the start. Without
        ``batch`` every candidate that can be paid is listed.
    misfit : float
        How far the law may be off, smoothly in its covariates and alike for all groups: 0.02 is 2 % of the response. By default
        the law is taken to hold; a posterior that does so buys the cheapest runs. With it, runs near the target tell more,
        the fitted runs tell the law's misfit where they stand, and the standard deviations include what is left of it.
    unseen, seed
        As of :func:`predict`.

    Returns
    -------
    DataFrame
        One row a run, in the order of choice (index ``order``, from 1): ``candidate``, its label in the index of
        ``candidates``; the columns of ``candidates``; ``cost`` and ``cumulative_cost``; ``sd_before`` and ``sd_after``, the
        standard deviation at the target, in the unit of the response (root mean square over several points), before this
        run and after it; ``variance_removed``, the share of the first variance that it and the rows above take off; with a
        rule ``value``, what the runs until here are worth before they are made: in the unit of a :class:`Utility`; of a
        threshold with probability ``p``, a right GO is worth ``1 - p`` and a wrong one costs ``p``. No row where no
        candidate tells that much. Without ``batch`` every row
        speaks of its candidate alone.

    Raises
    ------
    DataError
        When candidates, costs or points cannot be used, or there is no candidate.
    SpecError
        When the target is none, the budget is no number above 0 or buys no candidate.

    Notes
    -----
    What a candidate would show and what is asked are taken for jointly normal on the scale of the noise, with the means and
    covariances of the draws (:func:`bayescale.prediction.design_of_runs.joint_normal`). A run then takes
    ``cov(run, target)^2 / (var(run) + noise)`` off the variance, whatever its outcome: choosing the runs one after the
    other is choosing them at once. The value is the expected gain in utility of deciding after the runs rather than now,
    before their outcome is known :cite:p:`raiffa1961`; what they cost is not taken off.

    Examples
    --------
    >>> import bayescale as bs
    >>> runs = bs.load_dataset("pretraining_losses", runs=True)
    >>> mamba = runs[(runs.family == "Mamba") & (runs.dataset == "Pile validation")]
    >>> fitted = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}), mamba)
    >>> pilots = {"params": [1e9, 4e9, 1.6e10], "cost": [1.0, 4.0, 16.0]}
    >>> plan = bs.next_runs(fitted, pilots, target="loss<=2.0", at={"params": 7e10}, budget=20.0)
    >>> bool(plan["cumulative_cost"].max() <= 20) and bool((plan["sd_after"] < plan["sd_before"]).all())
    True
    """
    if isinstance(fit, CapabilityFit):
        raise SpecError("next_runs: a fit of benchmark scores has no law that runs are chosen for; expected a fit of runs")
    response = fits_of(fit)[0].response
    asked, table = _asked(target, at, response), _table(candidates, response)
    costs = _costs(table, cost)
    _check(budget, costs, most, least, misfit)
    joint = joint_normal(fit, table, asked.points, kind=kind, unseen=unseen, seed=seed, misfit=misfit, made=True)
    _one_point(asked, joint)
    if batch:
        made = _in_turn(joint, choose(joint, costs, budget, replicates=replicates, most=most, least=least), costs)
    else:
        made = _each(joint, costs, budget, most)
    return _shown(made, table, costs, joint, asked)


def plan_runs(
    model: ScalingModel,
    grid: At,
    *,
    target: str | Threshold | AllOf | Utility | At,
    budget: float,
    at: At | None = None,
    cost: Costs | None = None,
    kind: Kind = "mean",
    response: str = "loss",
    typical: float | None = None,
    replicates: bool = False,
    most: int | None = None,
    least: float = 1e-3,
    misfit: float = 0.02,
    unseen: Unseen = "population",
    seed: int = 0,
) -> pd.DataFrame:
    """The same as :func:`next_runs` before any run exists: which runs of a grid would teach most, by prior draws of a model.

    Parameters
    ----------
    model : ScalingModel
        Its priors are all that is known.
    grid : DataFrame or dict
        Runs that could be made, such as those of :func:`make_grid`.
    target, budget, at, cost, kind, replicates, most, least, misfit, unseen, seed
        As of :func:`next_runs`; by default the law is asked about, no run is made twice, and the law may be off by 2 %: that
        chose best when the dearest runs of five public pools were to be told from the cheaper ones
        (``python -m benchmarks.decisions next-runs --inside``).
    response : str
        Name of the response.
    typical : float, optional
        The size of the response that is expected, for laws that state their levels in multiples of it; by default 1. A rule
        about such a law needs it.

    Returns
    -------
    DataFrame
        As of :func:`next_runs`, with an empty column of the response at the end: the plan as a table to fill in, which
        :func:`fit` then takes.

    Raises
    ------
    DataError, SpecError
        As of :func:`next_runs`, and when the model does not suit the grid.

    Examples
    --------
    >>> import bayescale as bs
    >>> grid = bs.make_grid([1e18, 1e19, 1e20])
    >>> goal = {"params": 7e9, "tokens": 1.4e11}
    >>> plan = bs.plan_runs(bs.ScalingModel("chinchilla"), grid, target=goal, budget=2e20)
    >>> bool(plan["cost"].sum() <= 2e20), bool(plan["loss"].isna().all())
    (True, True)
    """
    if not isinstance(model, ScalingModel):
        raise SpecError(f"plan_runs: model is a ScalingModel, got {type(model).__name__}; plan_runs(model, grid, ...)")
    asked = _asked(target, at, response)
    relative = [name for name, param in model.law.params.items() if param.unit == "response"]
    if asked.goal is not None and typical is None and relative:
        raise SpecError(
            f"the law {model.law.name!r} states {', '.join(relative)} in multiples of a typical {response}, and the target "
            f"{asked.goal} is none: say typical=..., the size of {response} that you expect"
        )
    if typical is not None and not typical > 0:
        raise SpecError(f"typical is the expected size of the response, a number above 0, got {typical!r}")
    table = _table(grid, response)
    costs = _costs(table, cost)
    _check(budget, costs, most, least, misfit)
    believed = prior_fit(model, table, response=response, typical=1.0 if typical is None else float(typical), seed=seed)
    joint = joint_normal(believed, table, asked.points, kind=kind, unseen=unseen, seed=seed, misfit=misfit)
    _one_point(asked, joint)
    made = _in_turn(joint, choose(joint, costs, budget, replicates=replicates, most=most, least=least), costs)
    return _shown(made, table, costs, joint, asked).assign(**{response: np.nan})


def _one_point(asked: _Asked, joint: Joint) -> None:
    """A rule speaks of one point."""
    if asked.goal is not None and len(joint.center) > 1:
        points = len(joint.center)
        raise SpecError(f"a rule is decided at one point, got {points}: ask for each, or give the points alone as `target`")


def _asked(target: Any, at: At | None, response: str) -> _Asked:
    """What a target asks for."""
    if isinstance(target, pd.DataFrame | Runs | Mapping):
        if at is not None:
            raise SpecError("`target` is the points, and `at` gives points too: say at=... with a rule, target='loss<=2.0'")
        return _Asked(target)
    if not isinstance(target, str | Threshold | AllOf | Utility):
        raise SpecError(
            "a target is points ({'params': 7e10, ...} or a table), or a rule such as 'loss<=2.0' with its point in `at`; "
            f"got {type(target).__name__}"
        )
    rule = target if isinstance(target, Utility | AllOf) else as_threshold(target)
    if isinstance(rule, Utility) and rule.function is not None:
        raise SpecError("what runs are worth is computed for a Utility with a target, not for one that is a function of draws")
    goals = rule.target if isinstance(rule, Utility) else read_targets(rule)
    if len(goals) != 1:
        raise SpecError(f"expected a rule with one target, got {len(goals)}: ask for each")
    goal = as_target(goals[0], response)
    if at is None:
        raise SpecError(f"where must {goal} be met? Say at={{'params': 7e10, ...}}")
    return _Asked(at, goal, stakes_of(rule, at))


def _table(candidates: At, response: str) -> pd.DataFrame:
    """The candidates as a table, without a response, their index kept."""
    if isinstance(candidates, pd.DataFrame):
        if not len(candidates):
            raise DataError("there is no candidate: expected a table of runs that could be made, one a row")
        return candidates.drop(columns=[response], errors="ignore")
    return as_frame(candidates).drop(columns=[response], errors="ignore")


def _costs(table: pd.DataFrame, cost: Costs | None) -> Array:
    """What each candidate costs, above 0."""
    cost = cost if cost is not None else COST if COST in table else Cost()
    if isinstance(cost, str):
        if cost not in table:
            raise DataError("cost: " + unknown("column", cost, map(str, table)))
        values, _, faults = read_numbers(cost, table[cost])
        if faults:
            raise DataError("the candidates cannot be priced:", [fault.message for fault in faults])
    elif callable(cost):
        try:
            values = np.broadcast_to(np.asarray(cost(table.reset_index(drop=True)), dtype=float), len(table))
        except DataError as error:
            told = "say cost=..., a column or a Cost, or add a column 'cost'"
            raise DataError(f"the candidates cannot be priced ({told}):", error.faults or [str(error)]) from error
    else:
        raise SpecError(f"cost is a column, a Cost or a function of the table of candidates, got {type(cost).__name__}")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values > 0)))
    if len(wrong):
        got = "nothing" if np.isnan(values[wrong[0]]) else f"{values[wrong[0]]:.6g}"
        raise DataError(f"a run costs a finite number above 0, got {got} in {rows_text(wrong)}")
    return np.asarray(values, dtype=float)


def _check(budget: float, costs: Array, most: int | None, least: float, misfit: float) -> None:
    number = isinstance(budget, int | float | np.number) and not isinstance(budget, bool)
    if not number or not np.isfinite(budget) or budget <= 0:
        raise SpecError(f"a budget is a finite number above 0, got {budget!r}")
    if costs.min() > budget:
        raise SpecError(
            f"a budget of {budget:.6g} buys none of the {len(costs)} candidates: the cheapest, in row {int(costs.argmin())}, "
            f"costs {costs.min():.6g}"
        )
    if most is not None and (isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1):
        raise SpecError(f"most is a number of runs of at least 1, got {most!r}")
    if not 0 < least < 1:
        raise SpecError(f"least is a share of the variance between 0 and 1, both excluded, got {least!r}")
    number = isinstance(misfit, int | float | np.number) and not isinstance(misfit, bool)
    if not number or not 0 <= misfit < np.inf:
        raise SpecError(f"misfit is how far the law may be off, a number of at least 0 such as 0.02, got {misfit!r}")


@dataclass(frozen=True, eq=False)
class _Made:
    """Rows of a plan: which candidates, what they cost until there, and variances (row, target) before and after."""

    rows: NDArray[np.int64]
    spent: Array
    before: Array
    after: Array


def _in_turn(joint: Joint, chosen: Choice, costs: Array) -> _Made:
    rows, variances = np.array(chosen.rows, dtype=np.int64), np.array(chosen.variances)
    return _Made(rows, np.cumsum(costs[rows]), variances[:-1], variances[1:])


def _each(joint: Joint, costs: Array, budget: float, most: int | None) -> _Made:
    left = alone(joint)
    before = (joint.targets**2).sum(axis=0) + joint.scatter
    gain = (before - left) @ joint.weights / costs
    order = np.argsort(-gain, kind="stable")
    rows = order[costs[order] <= budget][:most]
    return _Made(rows, costs[rows], np.broadcast_to(before, left[rows].shape), left[rows])


def _shown(made: _Made, table: pd.DataFrame, costs: Array, joint: Joint, asked: _Asked) -> pd.DataFrame:
    """The plan as a table."""
    first, weights = (joint.targets**2).sum(axis=0) + joint.scatter, joint.weights
    columns: dict[str, Any] = {
        COST: costs[made.rows],
        "cumulative_cost": made.spent,
        "sd_before": np.sqrt(made.before @ weights),
        "sd_after": np.sqrt(made.after @ weights),
        "variance_removed": 1 - (made.after @ weights) / (first @ weights),
    }
    if asked.goal is not None and asked.stakes is not None:
        # A target from below is one from above of the outcome turned around.
        sign = 1.0 if "<" in asked.goal.op else -1.0
        with np.errstate(divide="ignore", invalid="ignore"):  # a target at or below nought
            level = float(np.log(asked.goal.value) if joint.log else asked.goal.value)
        center, before = sign * float(joint.center[0]), float(np.sqrt(first[0]))
        after = np.sqrt(made.after[:, 0])
        # No positive response is met or missed at a level that has no logarithm: there is nothing to learn.
        columns["value"] = value_of_information(asked.stakes, sign * level, center, before, after)
    # The candidates may be a plan of before, which has columns of these names.
    own = table.iloc[made.rows].drop(columns=[*columns, "candidate", "order"], errors="ignore")
    plan = pd.DataFrame({"candidate": table.index.to_numpy()[made.rows]}, index=range(1, len(made.rows) + 1))
    plan = plan.join(own.set_axis(plan.index)).assign(**columns)
    plan.index.name = "order"
    return plan
