"""Bayesian scaling laws: a table of training runs goes in, calibrated forecasts and decisions come out.

The public names are loaded when they are first used, so that ``import bayescale`` is quick and JAX starts with the first fit.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

__all__ = [
    "AllOf",
    "Backtest",
    "BayescaleError",
    "BestOf",
    "BestSoFar",
    "Calibration",
    "CapabilityFit",
    "CapabilityModel",
    "CompletePooling",
    "ConvergenceError",
    "Cost",
    "DataError",
    "Decision",
    "DecisionReport",
    "DownloadError",
    "Ensemble",
    "Evals",
    "Finding",
    "Fit",
    "FittedCost",
    "Forecast",
    "Gaussian",
    "Hmc",
    "Law",
    "NoPooling",
    "NotIdentifiedError",
    "Nuts",
    "Param",
    "PartialPooling",
    "Review",
    "RunEffect",
    "Runs",
    "SavedFileError",
    "ScalingModel",
    "SlopeDrift",
    "SmoothMisfit",
    "SpecError",
    "Status",
    "StudentT",
    "Threshold",
    "Utility",
    "__version__",
    "backtest",
    "check",
    "check_allocation",
    "check_floor",
    "classical",
    "compare",
    "compare_factors",
    "compute_multiplier",
    "compute_optimal",
    "crossings",
    "crossover",
    "decide",
    "decision_report",
    "efficiency",
    "emergence_width",
    "fit",
    "fit_cost",
    "fit_many",
    "flip",
    "forecast",
    "get_law",
    "informative_tasks",
    "isoflop_profiles",
    "join_draws",
    "law",
    "list_datasets",
    "list_laws",
    "load",
    "load_dataset",
    "make_grid",
    "next_runs",
    "off_optimum",
    "p_better",
    "plan_runs",
    "plot_calibration",
    "plot_capability",
    "plot_crossover",
    "plot_decision",
    "plot_exponents",
    "plot_fit",
    "plot_isoflop",
    "plot_isoloss",
    "plot_loadings",
    "plot_task",
    "predict",
    "predict_through",
    "prompt_gain",
    "rank_methods",
    "recommended",
    "review",
    "risk",
    "save",
    "sbc",
    "scale_for",
    "stack",
    "summarize",
    "uncertainty_shares",
    "write_report",
]

#: Where each public name lives, below ``bayescale``.
_HOME = {
    "BayescaleError": "core.errors",
    "ConvergenceError": "core.errors",
    "DataError": "core.errors",
    "DownloadError": "core.errors",
    "NotIdentifiedError": "core.errors",
    "SavedFileError": "core.errors",
    "SpecError": "core.errors",
    "Finding": "core.findings",
    "Review": "core.findings",
    "Status": "core.findings",
    "Evals": "data.evals",
    "Runs": "data.runs",
    "list_datasets": "data.datasets",
    "load_dataset": "data.datasets",
    "Law": "laws.base",
    "get_law": "laws.base",
    "law": "laws.base",
    "list_laws": "laws.base",
    "Param": "laws.param",
    "CompletePooling": "models.pooling",
    "NoPooling": "models.pooling",
    "PartialPooling": "models.pooling",
    "BestOf": "models.noise",
    "BestSoFar": "models.noise",
    "Gaussian": "models.noise",
    "StudentT": "models.noise",
    "RunEffect": "models.discrepancy",
    "SlopeDrift": "models.discrepancy",
    "SmoothMisfit": "models.discrepancy",
    "CapabilityModel": "models.capability",
    "ScalingModel": "models.scaling",
    "Hmc": "infer.samplers",
    "Nuts": "infer.samplers",
    "Ensemble": "infer.ensemble",
    "CapabilityFit": "infer.evals_fit",
    "Fit": "infer.fit",
    "fit": "infer.fit",
    "fit_many": "infer.batch",
    "load": "infer.io",
    "save": "infer.io",
    "predict": "prediction.predict",
    "predict_through": "prediction.through",
    "summarize": "prediction.summary",
    "compute_optimal": "prediction.optimum",
    "crossover": "prediction.crossing",
    "scale_for": "prediction.inverse",
    "efficiency": "prediction.efficiency",
    "prompt_gain": "prediction.efficiency",
    "emergence_width": "prediction.emergence",
    "informative_tasks": "prediction.informative",
    "p_better": "prediction.informative",
    "classical": "prediction.classical",
    "Cost": "prediction.cost",
    "FittedCost": "prediction.cost_fit",
    "compute_multiplier": "prediction.crossings",
    "crossings": "prediction.crossings",
    "fit_cost": "prediction.cost_fit",
    "isoflop_profiles": "prediction.isoflop",
    "join_draws": "prediction.joined",
    "off_optimum": "prediction.allocation",
    "rank_methods": "prediction.ranking",
    "uncertainty_shares": "prediction.shares",
    "Backtest": "evaluate.backtest_result",
    "backtest": "evaluate.backtest",
    "compare": "evaluate.compare",
    "compare_factors": "evaluate.factors",
    "stack": "evaluate.stacking",
    "recommended": "evaluate.recommend",
    "Calibration": "evaluate.sbc",
    "sbc": "evaluate.sbc",
    "check": "decision.checks",
    "review": "decision.review",
    "Threshold": "decision.rules",
    "AllOf": "decision.rules",
    "Utility": "decision.utility",
    "check_allocation": "decision.allocation_checks",
    "check_floor": "decision.floor",
    "flip": "decision.flip",
    "risk": "decision.risk",
    "Decision": "decision.decide",
    "decide": "decision.decide",
    "Forecast": "decision.forecast",
    "forecast": "decision.forecast",
    "next_runs": "decision.next_runs",
    "plan_runs": "decision.next_runs",
    "make_grid": "decision.grid",
    "plot_fit": "plots.curves",
    "plot_exponents": "plots.forest",
    "plot_isoflop": "plots.allocation",
    "plot_isoloss": "plots.allocation",
    "plot_decision": "plots.verdict",
    "plot_crossover": "plots.crossing",
    "plot_calibration": "plots.calibration",
    "plot_capability": "plots.capability",
    "plot_loadings": "plots.capability",
    "plot_task": "plots.capability",
    "DecisionReport": "report.content",
    "decision_report": "report.content",
    "write_report": "report.page",
}

if TYPE_CHECKING:
    from bayescale.core.errors import (
        BayescaleError,
        ConvergenceError,
        DataError,
        DownloadError,
        NotIdentifiedError,
        SavedFileError,
        SpecError,
    )
    from bayescale.core.findings import Finding, Review, Status
    from bayescale.data.datasets import list_datasets, load_dataset
    from bayescale.data.evals import Evals
    from bayescale.data.runs import Runs
    from bayescale.decision.allocation_checks import check_allocation
    from bayescale.decision.checks import check
    from bayescale.decision.decide import Decision, decide
    from bayescale.decision.flip import flip
    from bayescale.decision.floor import check_floor
    from bayescale.decision.forecast import Forecast, forecast
    from bayescale.decision.grid import make_grid
    from bayescale.decision.next_runs import next_runs, plan_runs
    from bayescale.decision.review import review
    from bayescale.decision.risk import risk
    from bayescale.decision.rules import AllOf, Threshold
    from bayescale.decision.utility import Utility
    from bayescale.evaluate.backtest import backtest
    from bayescale.evaluate.backtest_result import Backtest
    from bayescale.evaluate.compare import compare
    from bayescale.evaluate.factors import compare_factors
    from bayescale.evaluate.recommend import recommended
    from bayescale.evaluate.sbc import Calibration, sbc
    from bayescale.evaluate.stacking import stack
    from bayescale.infer.batch import fit_many
    from bayescale.infer.ensemble import Ensemble
    from bayescale.infer.evals_fit import CapabilityFit
    from bayescale.infer.fit import Fit, fit
    from bayescale.infer.io import load, save
    from bayescale.infer.samplers import Hmc, Nuts
    from bayescale.laws.base import Law, get_law, law, list_laws
    from bayescale.laws.param import Param
    from bayescale.models.capability import CapabilityModel
    from bayescale.models.discrepancy import RunEffect, SlopeDrift, SmoothMisfit
    from bayescale.models.noise import BestOf, BestSoFar, Gaussian, StudentT
    from bayescale.models.pooling import CompletePooling, NoPooling, PartialPooling
    from bayescale.models.scaling import ScalingModel
    from bayescale.plots.allocation import plot_isoflop, plot_isoloss
    from bayescale.plots.calibration import plot_calibration
    from bayescale.plots.capability import plot_capability, plot_loadings, plot_task
    from bayescale.plots.crossing import plot_crossover
    from bayescale.plots.curves import plot_fit
    from bayescale.plots.forest import plot_exponents
    from bayescale.plots.verdict import plot_decision
    from bayescale.prediction.allocation import off_optimum
    from bayescale.prediction.classical import classical
    from bayescale.prediction.cost import Cost
    from bayescale.prediction.cost_fit import FittedCost, fit_cost
    from bayescale.prediction.crossing import crossover
    from bayescale.prediction.crossings import compute_multiplier, crossings
    from bayescale.prediction.efficiency import efficiency, prompt_gain
    from bayescale.prediction.emergence import emergence_width
    from bayescale.prediction.informative import informative_tasks, p_better
    from bayescale.prediction.inverse import scale_for
    from bayescale.prediction.isoflop import isoflop_profiles
    from bayescale.prediction.joined import join_draws
    from bayescale.prediction.optimum import compute_optimal
    from bayescale.prediction.predict import predict
    from bayescale.prediction.ranking import rank_methods
    from bayescale.prediction.shares import uncertainty_shares
    from bayescale.prediction.summary import summarize
    from bayescale.prediction.through import predict_through
    from bayescale.report.content import DecisionReport, decision_report
    from bayescale.report.page import write_report


def __getattr__(name: str) -> Any:
    """Load a public name from its module at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module 'bayescale' has no attribute {name!r}", name=name, obj=sys.modules[__name__])
    value = getattr(import_module(f"bayescale.{_HOME[name]}"), name)
    globals()[name] = value  # a second look does not come here
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted(__all__)
