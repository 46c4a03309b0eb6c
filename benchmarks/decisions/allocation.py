"""Is the compute-optimal size where the interval says? ``python -m benchmarks.decisions allocation``.

Simulated iso-FLOP designs, whose parameters are drawn from the model's prior: the 90 % interval of the optimal size at a
hundred times the largest budget, and how often it holds the true one. Then the tables of the xLSTM paper: the exponent of
the optimal size in compute, by the law, by the recommended model and by iso-FLOP profiles without a law, beside that of the
authors.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

import bayescale as bs
from benchmarks.extrapolation import tables
from benchmarks.recovery import LAWS, Truth, draw

UNSET = tables.UNSET

MODEL = bs.ScalingModel("chinchilla")
BUDGETS, RATIOS = np.geomspace(1e18, 1e21, 4), np.geomspace(2, 200, 7)
BEYOND, PROB = 100.0, 0.9

#: Exponents of the optimal size that the authors of the xLSTM paper (arXiv 2510.02228) give for the Transformer, by context.
AUTHORS = {"transformer 2048": 0.5535, "transformer 8192": 0.575}


def design() -> pd.DataFrame:
    """An iso-FLOP grid, without losses."""
    flops, ratio = np.repeat(BUDGETS, len(RATIOS)), np.tile(RATIOS, len(BUDGETS))
    params = np.sqrt(flops / (6 * ratio))
    return pd.DataFrame({"params": params, "tokens": ratio * params})


def simulate(seed: int) -> tuple[pd.DataFrame, Truth, float]:
    """Runs of a design, the parameters behind them (at the geometric mean of the runs), and the optimal size asked about."""
    rng = np.random.default_rng([seed, 41])
    runs, truth = design(), draw(MODEL, 1, rng)
    reference = np.exp(np.log(runs).mean())
    mean = LAWS["chinchilla"](**runs / reference, **{name: truth[name] for name in MODEL.law.params})
    runs["loss"] = mean * np.exp(truth["sigma"] * rng.standard_t(truth["nu"], len(runs)))
    # The minimum of A n^-alpha + B d^-beta along n d = budget, in units of the reference run.
    budget = BEYOND * BUDGETS[-1] / (6 * reference.prod())
    alpha, beta = truth["alpha"], truth["beta"]
    best = (alpha * truth["A"] / (beta * truth["B"])) ** (1 / (alpha + beta)) * budget ** (beta / (alpha + beta))
    return runs, truth, float(best * reference["params"])


def measure(replicates: int, *, progress: bool = True) -> pd.DataFrame:
    """One row a design: whether the interval of the optimal size holds it, and how wide it is (a factor)."""
    made = {seed: simulate(seed) for seed in range(replicates)}
    fits = bs.fit_many(MODEL, {seed: runs for seed, (runs, *_) in made.items()}, strict=False, progress=progress)
    rows = []
    for seed, (_, _, best) in made.items():
        size = bs.compute_optimal(fits[seed], BEYOND * BUDGETS[-1])["params"].to_numpy().ravel()
        lower, upper = np.quantile(size, [(1 - PROB) / 2, (1 + PROB) / 2])
        converged = not fits[seed].convergence.faults
        rows.append({"covered": lower <= best <= upper, "width": upper / lower, "converged": converged})
    return pd.DataFrame(rows)


def exponents() -> Iterator[dict[str, object]]:
    """The exponent of the optimal size on each table of the xLSTM paper; none where the folder of the tables is not named."""
    for table in tables.read_tables(["xlstm"]):
        name = table.row.removeprefix("xlstm, ")
        runs = pd.concat([table.shown, table.held], ignore_index=True)
        profile = bs.isoflop_profiles(runs)
        budgets = profile["flops"].to_numpy()[[0, -1]]
        found = {"profiles": profile["params_exponent"].to_numpy().ravel()}
        for said, model in (("law", MODEL), ("recommended", bs.recommended(runs))):
            size = bs.compute_optimal(bs.fit(model, runs, strict=False, progress=False), budgets)["params"]
            slope = np.log(size.isel(point=1) / size.isel(point=0)) / np.log(budgets[1] / budgets[0])
            found[said] = slope.to_numpy().ravel()
        for said, drawn in found.items():
            lower, median, upper = np.nanquantile(drawn, [(1 - PROB) / 2, 0.5, (1 + PROB) / 2])
            yield {"table": name, "by": said, "median": median, "lower": lower, "upper": upper, "authors": AUTHORS.get(name)}


def printed(found: pd.DataFrame) -> str:
    """What the designs tell, as text."""
    share = found["covered"].mean()
    error = np.sqrt(share * (1 - share) / len(found))
    return (
        f"{len(found)} designs, optimal size at {BEYOND:g} times the largest budget: the {PROB:.0%} interval covers "
        f"{share:.1%} (s.e. {error:.1%}), median width a factor of {found['width'].median():.2f}; "
        f"{found['converged'].mean():.0%} of the fits meet the convergence rule"
    )
