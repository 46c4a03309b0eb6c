"""Which of two real methods is better at scales above those that were shown? ``python -m benchmarks.decisions pairs``.

Shown are the runs below a tenth of the largest scale that both methods reach, where at least four of each lie below it, else
those below the two largest common sizes; asked is which is better above. What was measured at the largest shown scale is the
baseline. The bundled tables are always read, the others from the folder that BAYESCALE_DATA_DIR names.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

import bayescale as bs

FOLDER = "BAYESCALE_DATA_DIR"
FEWEST, SHARE = 4, 0.1
SAMPLER = bs.Hmc(chains=4, draws=500)

#: A floor that both share, since the evaluation is identical; amplitude and exponent of each family. Pooled in part, as
#: `recommended` would have them were there runs enough, two families of two runs do not converge.
BY_SIZE = bs.ScalingModel(
    "power_law_offset",
    axes={"x": "params"},
    pooling={name: bs.NoPooling("family") for name in ("A", "alpha")},
    noise=bs.Gaussian(),
)
MATCHED = (("Llama (SlimPajama)", "RWKV-4 (SlimPajama)"), ("FloatLM", "TriLM"))

#: FLOP of training per GFLOP of a forward pass over what was seen: three passes forward cost as much as training.
FLOP_PER_PASS = 3e9

#: Scales between the cut-off and the largest that both reach, where two lower envelopes are compared.
POINTS = 4

COLUMNS = ["table", "pair", "scale", "p", "p_measured", "better", "ranked"]


@dataclass(frozen=True)
class Question:
    """One pair, its runs below the cut-off, and, at each scale above, whether B is better."""

    name: str
    shown: pd.DataFrame
    scales: np.ndarray
    better: np.ndarray
    ranked: bool
    hidden: pd.DataFrame | None = None


def by_size() -> list[Question]:
    """Pairs of bundled families that were trained at like sizes on one text."""
    runs = bs.load_dataset("pretraining_losses", runs=True)
    found = []
    for a, b in MATCHED:
        for text, own in runs[runs["family"].isin([a, b])].groupby("text"):
            one, other = (own[own["family"] == name].sort_values("params") for name in (a, b))
            sizes = np.sqrt(one["params"].to_numpy() * other["params"].to_numpy())
            below = int((sizes < SHARE * sizes[-1]).sum())
            seen = below if below >= FEWEST else len(sizes) - 2
            shown = pd.concat([one[:seen], other[:seen]])[["family", "params", "loss"]]
            hidden = pd.concat([one[seen:], other[seen:]])[["family", "params"]]
            ahead = other["loss"].to_numpy() < one["loss"].to_numpy()
            found.append(Question(f"{b} · {text}", shown, sizes[seen:], ahead[seen:], bool(ahead[seen - 1]), hidden))
    return found


def answer_by_size(questions: list[Question]) -> list[tuple[object, ...]]:
    """P(B better) of each text on its own."""
    fits = bs.fit_many(BY_SIZE, {q.name: q.shown for q in questions}, strict=False, progress=False)
    rows = []
    for q in questions:
        a, b = q.shown["family"].iloc[0], q.shown["family"].iloc[-1]
        found = bs.crossover(
            fits[q.name].select(family=a),
            fits[q.name].select(family=b),
            along="params",
            within=(q.shown["params"].min(), 2 * q.scales[-1]),
        )
        # What is checked was measured, each run with its noise and at its own size.
        runs = bs.predict(fits[q.name], q.hidden, kind="response")["loss"].stack(draws=("chain", "draw")).to_numpy()
        first, second = np.split(runs if len(runs) == len(q.hidden) else runs.T, 2)
        measured = (second < first).mean(axis=1)
        rows += _answers(b.split(" ")[0] + " / " + a.split(" ")[0], q, found, measured)
    _tell(fits)
    return rows


def front(table: pd.DataFrame) -> pd.DataFrame:
    """The runs that are better than all cheaper ones, by compute."""
    ordered = table.sort_values(["flops", "loss"])
    return ordered[ordered["loss"] < ordered["loss"].cummin().shift(fill_value=np.inf)][["flops", "loss"]]


def reached(table: pd.DataFrame, scale: float) -> float:
    """The best response for at most so much compute."""
    return float(table.loc[table["flops"] <= scale, "loss"].min())


def by_envelope(name: str, table: pd.DataFrame) -> list[Question]:
    """Every pair of architectures, each by the best that it reaches for a given compute."""
    found = []
    for a, b in combinations(sorted(table["architecture"].unique()), 2):
        both = {one: table[table["architecture"] == one] for one in (a, b)}
        most = min(own["flops"].max() for own in both.values())
        cut = SHARE * most
        shown = {one: front(own[own["flops"] < cut]) for one, own in both.items()}
        if min(len(own) for own in shown.values()) < FEWEST:
            print(f"{name}, {a} and {b}: fewer than {FEWEST} runs on an envelope below the cut-off", file=sys.stderr)
            continue
        scales = np.geomspace(cut, most, POINTS + 1)[1:]
        better = np.array([reached(both[b], s) < reached(both[a], s) for s in scales])
        ranked = shown[b]["loss"].min() < shown[a]["loss"].min()
        found.append(
            Question(f"{a}|{b}", pd.concat(shown, names=["architecture"]).reset_index(level=0), scales, better, ranked)
        )
    return found


def answer_envelopes(name: str, questions: list[Question]) -> list[tuple[object, ...]]:
    """P(B better) by the recommended model of each envelope."""
    tables = {
        (q.name, label): own[["flops", "loss"]] for q in questions for label, own in q.shown.groupby("architecture", sort=False)
    }
    models = {key: bs.recommended(own, along=None) for key, own in tables.items()}
    fits = bs.fit_many(models, tables, strict=False, progress=False)
    rows = []
    for q in questions:
        a, b = q.name.split("|")
        within = (q.shown["flops"].max() / 10, 1.01 * q.scales[-1])
        found = bs.crossover(fits[q.name, a], fits[q.name, b], along="flops", within=within)
        rows += _answers(name, q, found)
    _tell(fits)
    return rows


def answer_crossover() -> list[tuple[object, ...]]:
    """The pair of `crossover`, and where the two cross by all runs: by a least-squares refit near 5.4e10 GFLOP of a pass."""
    table = _crossover()
    fronts = {label: front(own) for label, own in table.groupby("architecture")}
    fits = bs.fit_many({k: bs.recommended(v, along=None) for k, v in fronts.items()}, fronts, strict=False, progress=False)
    a, b = sorted(fronts)
    ends = min(v["flops"].min() for v in fronts.values()), 10 * max(v["flops"].max() for v in fronts.values())
    found = bs.crossings(fits[a], fits[b], along="flops", within=ends)
    last = found["flops"].max("crossing").rename("last") / FLOP_PER_PASS
    row = bs.summarize(last).iloc[0]
    said = ", ".join(f"{float(row[name]):.2g}" for name in ("median", "lower", "upper"))
    print(f"  by all runs {a} and {b} cross for the last time at {said} GFLOP of a pass (median, 90 %); ", end="")
    print(f"P(none) {float(found['p_none']):.2f}, {b} better beyond {float(found['b_better_last'].mean()):.2f}")
    _tell(fits)
    return answer_envelopes("crossover", by_envelope("crossover", table))


def _answers(table: str, q: Question, found: xr.Dataset, measured: np.ndarray | None = None) -> list[tuple[object, ...]]:
    law = np.interp(np.log(q.scales), np.log(found["scale"]), found["p_b_better"])
    each = zip(q.scales, law, law if measured is None else measured, q.better, strict=True)
    return [(table, f"{table}: {q.name}", s, float(p), float(run), bool(better), q.ranked) for s, p, run, better in each]


def _tell(fits: dict[object, bs.Fit]) -> None:
    agreed = sum(not fit.convergence.faults for fit in fits.values())
    print(f"  {agreed} of {len(fits)} fits meet the convergence rule", flush=True)


def answer_xlstm() -> list[tuple[object, ...]]:
    """The best run of the largest budget, of those that were made with it, from the runs below 2e19 at a context of 16k.

    Attention counts in the compute at this context, so the two are compared at the authors' budgets, by what is forecast of the
    runs that were made, not along 6 · params · tokens.
    """
    table = pd.read_csv(Path(os.environ[FOLDER]) / "architectures_xlstm" / "architectures_xlstm.csv")
    table = table[(table["context_length"] == 16384) & (table["kept_by_authors"] == 1)].rename(columns={"loss_nats": "loss"})
    best, first, forecasts, fits = {}, {}, {}, {}
    for label, own in table.groupby("architecture"):
        shown, hidden = (own[own["isoflop_budget"] < 2e19], own[own["isoflop_budget"] > 2e19])
        columns = ["params", "tokens", "loss"]
        model = bs.recommended(shown[columns])
        fits[label] = bs.fit(model, shown[columns], strict=False, progress=False, sampler=SAMPLER)
        forecasts[label] = (
            bs.predict(fits[label], hidden[["params", "tokens"]], kind="mean")["loss"].min("point").to_numpy().ravel()
        )
        best[label] = hidden["loss"].min()
        first[label] = shown.loc[shown["isoflop_budget"] == shown["isoflop_budget"].max(), "loss"].min()
    _tell(fits)
    a, b = "transformer", "xlstm"
    size = min(map(len, forecasts.values()))
    mixed = np.random.default_rng(0).permutation(size)
    p = float((forecasts[b][:size][mixed] < forecasts[a][:size]).mean())
    return [("xLSTM 16k", "xLSTM 16k", 3e19, p, p, bool(best[b] < best[a]), bool(first[b] < first[a]))]


def _routed() -> pd.DataFrame:
    table = pd.read_csv(Path(os.environ[FOLDER]) / "routed_moe" / "routed_moe.csv")
    usual = (table["experts_per_token"] == 1) & (table["routing_frequency"] == 0.5) & (table["seed"] == 42)
    names = {"architecture": "router", "params_dense": "params", "n_experts": "experts", "loss_nats_validation": "loss"}
    return table[usual & (table["architecture"] != "dense")].rename(columns=names)[list(names.values())]


def answer_routers() -> list[tuple[object, ...]]:
    """Every pair of routers at every size above a tenth of the largest and every number of experts that both were trained with.

    One fit of all routers: size tells of all alike, what experts gain is each router's own.
    """
    table = _routed()
    own = {name: bs.PartialPooling("router") for name in ("gain", "start", "span")}
    below = table["params"] < SHARE * table["params"].max()
    fit = bs.fit(bs.ScalingModel("routed_lm_offset", pooling=own), table[below], strict=False, progress=False)
    _tell({"all": fit})
    hidden = table[~below].reset_index(drop=True)
    runs, laws = (
        bs.predict(fit, hidden[["router", "params", "experts"]], kind=kind)["loss"]
        .stack(all=("chain", "draw"))
        .transpose("point", ...)
        for kind in ("response", "mean")
    )
    largest = table[below & (table["params"] == table.loc[below, "params"].max())].set_index(["router", "experts"])["loss"]
    rows: list[tuple[object, ...]] = []
    for a, b in combinations(sorted(table["router"].unique()), 2):
        cells = (
            hidden.reset_index()
            .pivot(index=["params", "experts"], columns="router", values="index")[[a, b]]
            .dropna()
            .astype(int)
        )
        for (size, experts), at in cells.iterrows():
            i, j = at[a], at[b]
            law, run = (float((drawn[j] < drawn[i]).mean()) for drawn in (laws.to_numpy(), runs.to_numpy()))
            better, ranked = hidden["loss"][j] < hidden["loss"][i], largest[b, experts] < largest[a, experts]
            rows.append(
                ("routed_moe", f"routed_moe: {b} | {a}, {experts:.0f} experts", size, law, run, bool(better), bool(ranked))
            )
    return rows


def _clip() -> pd.DataFrame:
    table = pd.read_csv(Path(os.environ[FOLDER]) / "architectures_clip" / "architectures_clip.csv")
    same = (table["dataset"] == "DataComp-1.4B") & (table["lr_schedule"] == "cosine") & (table["task"] == "imagenet1k")
    return table[same].assign(flops=FLOP_PER_PASS * table["compute_gflops"], loss=table["error"])


def _crossover() -> pd.DataFrame:
    table = pd.read_csv(Path(os.environ[FOLDER]) / "crossover" / "crossover.csv")
    return table[table["best_in_cell"] == 1].assign(
        flops=FLOP_PER_PASS * table["compute_gflops"], loss=table["imagenet1k_error"]
    )


PARTS: dict[str, Callable[[], list[tuple[object, ...]]]] = {
    "by_size": lambda: answer_by_size(by_size()),
    "crossover": answer_crossover,
    "architectures_clip": lambda: answer_envelopes("architectures_clip", by_envelope("architectures_clip", _clip())),
    "architectures_xlstm": answer_xlstm,
    "routed_moe": answer_routers,
}


def run(only: Sequence[str] = ()) -> pd.DataFrame:
    """One row a pair and scale: P(B better), whether it is, and whether it was at the largest shown scale."""
    names = [name for name in PARTS if not only or name in only]
    if not os.environ.get(FOLDER):
        print(f"{FOLDER} is not set: bundled tables only")
        names = names[:1] if names[:1] == ["by_size"] else []
    rows = []
    for name in names:
        began = time.perf_counter()
        print(name, flush=True)
        made = PARTS[name]()
        told = pd.DataFrame(made, columns=COLUMNS).drop(columns="table").round(3).to_string(index=False)
        print(f"{told}\n  {time.perf_counter() - began:.0f} s", flush=True)
        rows += made
    return pd.DataFrame(rows, columns=COLUMNS)
