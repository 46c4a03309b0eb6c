"""What every figure owes: it takes a result and an optional ``ax``, returns the axes, and draws what a table returns."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

import bayescale as bs
from bayescale import plots
from bayescale.evaluate.scores import score
from bayescale.plots.crossing import crossing_interval
from tests.fake_evals import fake_capability_fit, scores_table
from tests.fakes import fake_fit

MODULES = [importlib.import_module(f"bayescale.plots.{m.name}") for m in pkgutil.iter_modules(plots.__path__)]
PLOTS: dict[str, Callable[..., Axes]] = {
    name: function
    for module in MODULES
    for name, function in vars(module).items()
    if name.startswith("plot_") and inspect.isfunction(function) and function.__module__ == module.__name__
}


@pytest.fixture(scope="module")
def fitted() -> bs.Fit:
    rows = [
        {"family": family, "params": n, "loss": 1.6 + factor * (n / 1e9) ** -0.3}
        for family, factor in {
            "Llama": 1.0,
            "Mamba": 1.1,
            "a family with a name that is much too long for a legend": 1.2,
        }.items()
        for n in (1e8, 1e9, 1e10)
    ]
    model = bs.ScalingModel(
        "power_law_offset", axes={"x": "params"}, pooling={p: bs.PartialPooling("family") for p in ("A", "alpha")}
    )
    return fake_fit(model, pd.DataFrame(rows))


def made_backtest(model: bs.ScalingModel) -> bs.Backtest:
    """A backtest whose intervals are a little too narrow."""
    rng = np.random.default_rng(0)
    made = np.exp(rng.normal(0.7, 0.02, (400, 60)))
    points = score(made, np.exp(rng.normal(0.7, 0.03, 60))).assign(cutoff=1e9, distance=0.5, converged=True, row=np.arange(60))
    return bs.Backtest(model, points, "params")


@pytest.fixture(scope="module")
def results(fitted: bs.Fit) -> dict[str, tuple[Any, ...]]:
    """What each figure is of. A new figure is named here, and then all of this file holds for it."""
    at = {"params": [3e10], "family": ["Mamba"]}
    draws = bs.predict(fitted, at)
    decision = bs.decide(draws, "loss<=2.1", bs.review(fitted, at))
    table = scores_table().replace({"family": {"F1": "a family with a name that is much too long for a legend"}})
    loading = np.array([[1.0, 0.0], [1.5, 0.5], [0.7, -0.2]])
    scores = fake_capability_fit(bs.CapabilityModel(2), table, {"loading": loading}, sd=1.0, own=0.1)
    crossed = bs.crossover(fitted.select(family="Llama"), fitted.select(family="Mamba"), along="params")
    n, ratio = np.repeat(np.geomspace(1e8, 1e10, 4), 4), np.tile([5.0, 20.0, 80.0, 320.0], 4)
    of_size = pd.DataFrame({"params": n, "tokens": n * ratio})
    of_size["loss"] = 1.8 + 0.4 * (n / 1e9) ** -0.35 + 0.4 * (n * ratio / 4e10) ** -0.37
    traded = fake_fit(bs.ScalingModel("chinchilla"), of_size, {"E": 1.8, "A": 0.4, "B": 0.4, "alpha": 0.35, "beta": 0.37})
    return {
        "plot_fit": (fitted,),
        "plot_isoflop": (traded, [1e19, 6 * 1e9 * 2e10]),
        "plot_isoloss": (traded, [2.4, 2.6, 3.0]),
        "plot_exponents": (fitted,),
        "plot_decision": (decision, draws),
        "plot_crossover": (crossed,),
        "plot_calibration": (made_backtest(fitted.model),),
        "plot_capability": (scores,),
        "plot_task": (scores, "hard"),
        "plot_loadings": (scores,),
    }


def table_of(plot: Callable[..., Axes]) -> Callable[..., pd.DataFrame]:
    """The table function beside a figure."""
    name = plot.__name__.removeprefix("plot_") + "_table"
    found = getattr(sys.modules[plot.__module__], name, None)
    assert found is not None, f"{plot.__module__} has no {name}"
    return found


def drawn(ax: Axes, *, rows_of_names: bool) -> np.ndarray:
    """What is drawn from data: lines, markers, bars and bands.

    Not the coordinate that a line or band across the whole page has as a share of the page, nor the heights of rows of names.
    """
    found: list[Any] = []
    for line in ax.lines:
        across = line.get_transform()
        if across != ax.get_yaxis_transform():
            found.append(line.get_xdata())
        if across != ax.get_xaxis_transform() and not rows_of_names:
            found.append(line.get_ydata())
    for band in ax.collections:
        found += [path.vertices for path in band.get_paths()]
    for patch in ax.patches:
        assert isinstance(patch, Rectangle)
        found.append([patch.get_x(), patch.get_x() + patch.get_width()])
        found.append([patch.get_height()] if patch.get_transform() == ax.transData else [])
    values = np.concatenate([np.ravel(np.asarray(part, float)) for part in found])
    return np.unique(values[np.isfinite(values)])


def test_every_figure_has_a_case(results: dict[str, tuple[Any, ...]]) -> None:
    assert set(PLOTS) == set(results)
    assert {name for name in bs.__all__ if name.startswith("plot_")} <= set(PLOTS)


@pytest.mark.parametrize("name", PLOTS)
def test_ax_is_optional_and_returned(name: str, results: dict[str, tuple[Any, ...]]) -> None:
    parameters = inspect.signature(PLOTS[name]).parameters
    assert parameters["ax"].default is None
    ax = Figure().subplots()
    before = plt.get_fignums()
    assert PLOTS[name](*results[name], ax=ax) is ax
    assert plt.get_fignums() == before, "a figure was made although there were axes"
    made = PLOTS[name](*results[name])
    assert isinstance(made, Axes)
    plt.close(made.figure)


@pytest.mark.parametrize("name", PLOTS)
def test_a_table_beside_it_has_the_same_arguments(name: str) -> None:
    mine, theirs = (inspect.signature(f).parameters for f in (PLOTS[name], table_of(PLOTS[name])))
    assert set(theirs) <= set(mine)


@pytest.mark.parametrize("name", PLOTS)
def test_what_is_drawn_is_in_the_table(name: str, results: dict[str, tuple[Any, ...]]) -> None:
    ax = PLOTS[name](*results[name], ax=Figure().subplots())
    known = list(table_of(PLOTS[name])(*results[name]).select_dtypes("number").to_numpy(float).ravel())
    if name == "plot_decision":
        known.append(results[name][0].rule.value)
    if name == "plot_crossover":
        known += [0.5, *crossing_interval(*results[name]).values()]
    if name == "plot_loadings":
        known.append(0.0)  # a line where a task would not depend on the factor
    found = drawn(ax, rows_of_names=name in ("plot_exponents", "plot_loadings"))
    assert found.size > 5
    strange = [value for value in found if not np.isclose(value, known, rtol=1e-9, atol=0).any()]
    assert not strange


@pytest.mark.parametrize("name", PLOTS)
def test_it_can_be_drawn_small(name: str, results: dict[str, tuple[Any, ...]], tmp_path: Any) -> None:
    figure = Figure(figsize=(5, 3.5), layout="constrained")
    ax = PLOTS[name](*results[name], ax=figure.subplots())
    figure.savefig(tmp_path / "small.png")
    assert ax.get_xlabel()
    assert ax.get_title(loc="left")
