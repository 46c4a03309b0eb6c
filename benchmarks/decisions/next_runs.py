"""Which runs to make next: the pools of ``multi_variable``, and what a law learns from the runs that a budget buys.

Each table holds a pool of runs with their costs and a region of dearer runs. A method spends 1, 5 and 10 per cent of the pool's
cost; the law of the table is fitted to what it bought and forecasts the region by its posterior mean. The score is R² of the
response as given, clipped at -1; of `parallel`, which is of two texts, the mean of theirs. All methods have one law a table.

ours: `plan_runs` for the whole budget, from the prior, of a law that may be off by 2 per cent. ours, in steps: the same for a
third of the smallest budget, then `next_runs` from what was fitted so far, in a few steps, each followed by a fit. random: any
run that can still be paid. cheapest. cost-weighted random: with probability falling as the cost rises. D-optimal and V-optimal:
for the parameters, and for the region, in one step from the prior of a law that holds.

Inside, the dearest part of each pool is the region, and nothing of the table's own region is seen: there the misfit was chosen.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs
from bayescale.prediction.design_of_runs import choose, joint_normal
from bayescale.prediction.prior_draws import prior_fit

FOLDER = "BAYESCALE_DATA_DIR"
UNSET = f"{FOLDER} is not set: it names the folder of the tables"

#: Shares of the pool's cost that are spent, and those at which ours in steps looks again.
BUDGETS = (0.01, 0.05, 0.10)
STEPS = (0.003, 0.01, 0.025, 0.05, 0.10)

#: Published R² of the best method (arXiv 2604.22753, means over ten laws a table), at these budgets.
PUBLISHED = {
    "vocab": (0.96, 0.98, 0.98),
    "moe": (0.67, 0.80, 0.83),
    "data_constrained": (0.73, 0.85, 0.86),
    "parallel": (-1.00, 0.77, 0.99),
    "lr_bsz": (-0.65, 0.00, 0.22),
}

#: Runs are bought as long as one takes off so small a share of the variance: the budget is there to be spent.
LEAST = 1e-6

#: How far our law may be off; chosen inside the pools among 0, 0.01, 0.02, 0.05, 0.1 and 0.2.
MISFIT = 0.02

SAMPLER = bs.Hmc(chains=4, draws=250, max_draws=500, max_steps=24)


@dataclass(frozen=True)
class Task:
    """A table: its pool, the region asked about, the law, and the cost of the whole pool; columns in the package's names."""

    name: str
    pool: pd.DataFrame
    region: pd.DataFrame
    model: bs.ScalingModel
    total: float

    @property
    def typical(self) -> float:
        """A round number for the size of the response: what one knows before any run."""
        return {"vocab": 4.0, "parallel": 1.5}.get(self.name, 2.5)


def _vocab(table: pd.DataFrame) -> tuple[pd.DataFrame, bs.ScalingModel]:
    size = table["vocab_size"] * table["embed_dim"]
    named = table.assign(params=table["non_vocab_params"], vocab_params=size, loss=table["loss_unigram_normalized"])
    return named, bs.ScalingModel("coupled_vocab_law", noise=bs.StudentT(on="plain"))


def _moe(table: pd.DataFrame) -> tuple[pd.DataFrame, bs.ScalingModel]:
    by_router = bs.PartialPooling("router")
    named = table.rename(columns={"dense_params": "params", "router_type": "router"})
    # The law is of runs that route half of the blocks to one expert each, as all runs of the region do.
    usual = (named["experts_per_token"] == 1) & (named["routing_frequency"] == 0.5)
    return named[usual], bs.ScalingModel("routed_lm_offset", pooling={name: by_router for name in ("gain", "start", "span")})


def _repeated(table: pd.DataFrame) -> tuple[pd.DataFrame, bs.ScalingModel]:
    return table.rename(columns={"cost_flops": "cost"}), bs.ScalingModel("repeated_power_law")


def _parallel(table: pd.DataFrame) -> tuple[pd.DataFrame, bs.ScalingModel]:
    return table.rename(columns={"group": "text"}), bs.ScalingModel("parallel_streams", pooling=bs.PartialPooling("text"))


def _lr_bsz(table: pd.DataFrame) -> tuple[pd.DataFrame, bs.ScalingModel]:
    names = {"params_non_embedding": "params", "batch_sequences": "batch", "cost_flops": "cost"}
    return table.rename(columns=names), bs.ScalingModel("learning_rate_batch")


MAKERS = {"vocab": _vocab, "moe": _moe, "data_constrained": _repeated, "parallel": _parallel, "lr_bsz": _lr_bsz}


#: Inside a pool: the runs that stand for the region, set apart from the rest as the table's own region is.
INSIDE: dict[str, Callable[[pd.DataFrame], pd.Series]] = {
    "vocab": lambda pool: pool["vocab_size"] == pool["vocab_size"].max(),
    "moe": lambda pool: pool["params"] == pool["params"].max(),
    "data_constrained": lambda pool: pool["cost"].rank(ascending=False) <= 20,
    "parallel": lambda pool: pool["streams"] == pool["streams"].max(),
    "lr_bsz": lambda pool: pool["cost"] > 2e20,
}


def read_tasks(only: Sequence[str] = (), inside: bool = False) -> list[Task]:
    """The tables that are asked for; none where their folder is not named."""
    if not os.environ.get(FOLDER):
        return []
    tasks = [_read(name) for name in MAKERS if not only or name in only]
    return [_inside(task) for task in tasks] if inside else tasks


def _inside(task: Task) -> Task:
    held = INSIDE[task.name](task.pool)
    pool, region = (task.pool[rows].reset_index(drop=True) for rows in (~held, held))
    return replace(task, pool=pool, region=region, total=float(pool["cost"].sum()))


def _read(name: str) -> Task:
    table = pd.read_csv(Path(os.environ[FOLDER]) / "multi_variable" / f"{name}.csv")
    named, model = MAKERS[name](table.rename(columns={"loss_nats": "loss"}))
    kept = [*model.law.covariates, *model.group_columns, "loss", "cost"]
    # Two seeds of one run are replicates: a label tells them apart.
    parts = (
        named.loc[named["split"] == part, kept].assign(run=named["run_id"].map("r{}".format)) for part in ("pool", "target")
    )
    pool, region = (part.reset_index(drop=True) for part in parts)
    total = table.loc[table["split"] == "pool", "cost" if "cost" in table else "cost_flops"].sum()
    return Task(name, pool, region, model, float(total))


def fitted(task: Task, rows: Sequence[int], seed: int) -> bs.Fit:
    """The law of a table fitted to some runs of its pool."""
    return bs.fit(task.model, task.pool.iloc[list(rows)], seed=seed, sampler=SAMPLER, strict=False, progress=False)


def r_squared(task: Task, fit: bs.Fit) -> float:
    """R² of the posterior mean over the region, clipped at -1; the mean over texts where there are several."""
    mean = bs.predict(fit, task.region, kind="mean")["loss"].mean(("chain", "draw")).to_numpy()
    groups = task.region["text"] if "text" in task.region else pd.Series(0, index=task.region.index)
    scores = []
    for label in groups.unique():
        y, f = task.region["loss"].to_numpy()[groups == label], mean[groups == label]
        scores.append(1 - ((y - f) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    return max(-1.0, float(np.mean(np.maximum(scores, -1.0))))


Choose = Callable[[Task, float, int], list[int]]


def random(task: Task, budget: float, seed: int) -> list[int]:
    return _while_affordable(task, np.random.default_rng([seed, 1]).permutation(len(task.pool)), budget)


def cheapest(task: Task, budget: float, seed: int) -> list[int]:
    # Runs of one cost in any order.
    cost = task.pool["cost"].to_numpy() * (1 + 1e-9 * np.random.default_rng([seed, 2]).uniform(size=len(task.pool)))
    return _while_affordable(task, np.argsort(cost), budget)


def cost_weighted(task: Task, budget: float, seed: int) -> list[int]:
    cost = task.pool["cost"].to_numpy()
    # Exponential clocks of rate 1 / cost ring in the order of draws without replacement.
    return _while_affordable(task, np.argsort(np.random.default_rng([seed, 3]).exponential(size=len(cost)) * cost), budget)


def _while_affordable(task: Task, order: np.ndarray, budget: float) -> list[int]:
    cost, left, rows = task.pool["cost"].to_numpy(), budget, []
    for row in order:
        if cost[row] <= left:
            rows.append(int(row))
            left -= cost[row]
    return rows


def v_optimal(task: Task, budget: float, seed: int) -> list[int]:
    joint = joint_normal(_prior(task, seed), _asked(task.pool), _asked(task.region), kind="mean", seed=seed)
    return list(choose(joint, task.pool["cost"].to_numpy(), budget, replicates=False, least=LEAST).rows)


def d_optimal(task: Task, budget: float, seed: int) -> list[int]:
    """Runs that together tell most of the parameters: the entropy of a normal falls by half of log(1 + variance / noise)."""
    joint = joint_normal(_prior(task, seed), _asked(task.pool), _asked(task.region), kind="mean", seed=seed)
    cost, left = task.pool["cost"].to_numpy(), budget
    spread, moved = (joint.candidates**2).sum(axis=0), list[np.ndarray]()
    rows: list[int] = []
    open_ = np.ones(len(cost), dtype=bool)
    while (open_ & (cost <= left)).any():
        gain = np.where(open_ & (cost <= left), np.log1p(spread / joint.noise) / cost, -1.0)
        i = int(gain.argmax())
        k = (joint.row(i) - sum((k * k[i] for k in moved), np.zeros(len(cost)))) / np.sqrt(spread[i] + joint.noise[i])
        moved.append(k)
        spread = np.maximum(spread - k**2, 0.0)
        rows.append(i)
        open_[i], left = False, left - cost[i]
    return rows


def ours(task: Task, budget: float, seed: int, misfit: float = MISFIT) -> list[int]:
    if task.pool["cost"].min() > budget:
        return []
    plan = bs.plan_runs(
        task.model,
        _asked(task.pool),
        target=_asked(task.region),
        budget=budget,
        typical=task.typical,
        least=LEAST,
        misfit=misfit,
        seed=seed,
    )
    return [int(row) for row in plan["candidate"]]


def _asked(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=["loss", "run"])


def _prior(task: Task, seed: int) -> bs.Fit:
    return prior_fit(task.model, task.pool.drop(columns="loss"), typical=task.typical, seed=seed)


METHODS: dict[str, Choose] = {
    "ours": ours,
    "random": random,
    "cheapest": cheapest,
    "cost-weighted random": cost_weighted,
    "D-optimal": d_optimal,
    "V-optimal": v_optimal,
}
IN_STEPS = "ours, in steps"


def spend(task: Task, seed: int, misfit: float = MISFIT) -> list[tuple[float, list[int], float]]:
    """Ours in steps: at each budget that is scored, the share spent, the runs bought so far, and R²."""
    total, rows, found = task.total, list[int](), []
    fit: bs.Fit | None = None
    for step in STEPS:
        left = step * total - task.pool["cost"].iloc[rows].sum()
        open_ = task.pool.drop(index=rows)
        if open_["cost"].min() <= left:
            region, rest = _asked(task.region), {"budget": left, "least": LEAST, "misfit": misfit, "seed": seed}
            if fit is None:
                plan = bs.plan_runs(task.model, _asked(open_), target=region, typical=task.typical, **rest)
            else:
                plan = bs.next_runs(fit, _asked(open_), target=region, kind="mean", replicates=False, **rest)
            rows += [int(row) for row in plan["candidate"]]
            if len(plan):
                fit = fitted(task, rows, seed)
        print(f"  {task.name}: {step:.1%} spent on {len(rows)} runs", file=sys.stderr, flush=True)
        if step in BUDGETS:
            score = -1.0 if fit is None else r_squared(task, fit)
            found.append((step, list(rows), score))
    return found


def run(tasks: Sequence[Task], repeats: int, methods: Sequence[str] = (), misfit: float = MISFIT) -> pd.DataFrame:
    """Scores: one row a table, method, repeat and budget."""
    records = []
    choosers = METHODS | {"ours": partial(ours, misfit=misfit)}
    for task in tasks:
        total = task.total
        for name in [*choosers, IN_STEPS]:
            if methods and name not in methods:
                continue
            start = time.perf_counter()
            for seed in range(repeats):
                if name == IN_STEPS:
                    made = spend(task, seed, misfit)
                else:
                    made = []
                    for share in BUDGETS:
                        rows = choosers[name](task, share * total, seed)
                        made.append((share, rows, r_squared(task, fitted(task, rows, seed)) if rows else -1.0))
                for share, rows, score in made:
                    spent = task.pool["cost"].iloc[rows].sum() / total
                    records.append((task.name, name, seed, share, len(rows), spent, score))
            told = pd.DataFrame(records[-3 * repeats :]).groupby(3)[6].mean()
            print(f"{task.name}, {name}: {told.round(3).tolist()} ({time.perf_counter() - start:.0f} s)", flush=True)
    return pd.DataFrame(records, columns=["table", "method", "repeat", "budget", "runs", "spent", "R2"])


def printed(scores: pd.DataFrame, published: bool = True) -> str:
    """Mean R² of each table and method at each budget, its standard error over repeats and the runs; published bests below."""
    by = scores.groupby(["table", "method", "budget"], sort=False)
    means, errors, runs = (by["R2"].mean().unstack(), by["R2"].sem().unstack(), by["runs"].mean().unstack())
    out = means.round(3).astype(str) + " ± " + errors.round(3).astype(str) + " (" + runs.round(0).astype(int).astype(str) + ")"
    for name in dict.fromkeys(scores["table"]) if published else ():
        out.loc[(name, "published best"), :] = [f"{v:.2f}" for v in PUBLISHED[name]]
    order = list(dict.fromkeys(scores["table"]))
    out = out.loc[[key for name in order for key in out.index if key[0] == name]]
    out.columns = [f"{share:.0%}" for share in BUDGETS]
    return out.to_string()
