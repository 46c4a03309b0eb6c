"""Errors on downstream tasks of over-trained models, in two stages through the loss or directly, from runs below 1e9 params.

Of each of three training sets the mean error over 17 tasks, and over all 46, of the 1.4B and 6.9B runs of Gadre et al.
(arXiv 2403.08540) is forecast. Two stages: ``recommended`` of the loss on C4 by params and tokens, then
``downstream_error_exp`` of the error by that loss. Direct: ``recommended`` of the error by params and tokens. Beside them the
authors' formulas by least squares, of which only the point forecast is scored. It needs the two tables, from the network or
from a mirror.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.optimize import curve_fit
from tqdm import tqdm

import bayescale as bs
from bayescale.evaluate.scores import score

#: Runs below it are shown, the others forecast.
CUT = 1e9


def tables() -> Iterator[tuple[str, pd.DataFrame]]:
    """Each training set with each mean of errors: params, tokens, loss, error."""
    runs, scores = bs.load_dataset("overtraining"), bs.load_dataset("overtraining_downstream")
    for what, chosen in (("17 tasks", scores[scores.in_17_subset == 1]), ("46 tasks", scores)):
        error = 1 - chosen.groupby("run_id").accuracy.mean()
        whole = runs.assign(error=runs.run_id.map(error), loss=runs.loss_nats_c4_val).dropna(subset=["error", "loss"])
        for name, table in whole.groupby("dataset"):
            yield f"{name}, {what}", table[["params", "tokens", "loss", "error"]].reset_index(drop=True)


def by_least_squares(shown: pd.DataFrame, hidden: pd.DataFrame) -> np.ndarray:
    """The authors' two formulas, each by least squares, one put into the other."""

    def loss(x: np.ndarray, e: float, a: float, b: float, eta: float) -> np.ndarray:
        compute, ratio = x
        return e + (a * ratio**eta + b * ratio**-eta) * compute**-eta

    def scales(table: pd.DataFrame) -> np.ndarray:
        return np.array([table.params * table.tokens / 1e18, table.tokens / table.params / 20])

    def task(x: np.ndarray, eps: float, k: float, gamma: float) -> np.ndarray:
        return eps - k * np.exp(-gamma * x)

    first, _ = curve_fit(loss, scales(shown), shown.loss, p0=(1.8, 0.4, 0.4, 0.17), maxfev=20_000)
    second, _ = curve_fit(task, shown.loss, shown.error, p0=(0.85, 2.0, 0.75), maxfev=20_000)
    return task(loss(scales(hidden), *first), *second)


def forecasts(table: pd.DataFrame, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[bool]]:
    """Draws of each way, or a point; what came; whether the fits converged."""
    shown, hidden = table[table.params < CUT], table[table.params >= CUT]
    quiet = {"seed": seed, "strict": False, "progress": False}
    loss = bs.fit(bs.recommended(shown), shown, **quiet)
    error = bs.fit(bs.ScalingModel("downstream_error_exp"), shown, response="error", **quiet)
    plain = shown.drop(columns="loss").rename(columns={"error": "loss"})
    direct = bs.fit(bs.recommended(plain), plain, **quiet)
    at = hidden[["params", "tokens"]]
    drawn = {
        "two stages": bs.predict_through(loss, error, at, seed=seed)["error"],
        "direct": bs.predict(direct, at, seed=seed)["loss"],
    }
    found = {name: v.transpose("chain", "draw", "point").to_numpy().reshape(-1, len(hidden)) for name, v in drawn.items()}
    found["least squares"] = by_least_squares(shown, hidden)[None]
    return found, hidden.error.to_numpy(), [not f.convergence.faults for f in (loss, error, direct)]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    rows, converged = [], []
    for name, table in tqdm(list(tables()), disable=None):
        found, truth, agreed = forecasts(table, asked.seed)
        converged += agreed
        for way, draws in found.items():
            points = {"error in points": 100 * np.abs(np.median(draws, axis=0) - truth)}
            if len(draws) > 1:
                scored = score(draws, truth)
                inside = (scored.lower_90 <= truth) & (truth <= scored.upper_90)
                points |= {"covered": 100.0 * inside, "width in points": 100 * (scored.upper_90 - scored.lower_90)}
                points |= {"log score": scored.log_score}
            rows.append(pd.DataFrame(points).assign(table=name, way=way))
    every = pd.concat(rows)
    print(every.groupby(["table", "way"], sort=False).mean().round(2).to_string())
    print(f"\nall:\n{every.drop(columns='table').groupby('way', sort=False).mean().round(2).to_string()}")
    print(f"{sum(converged)} of {len(converged)} fits converged")


if __name__ == "__main__":
    main()
