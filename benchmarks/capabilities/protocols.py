"""Tables of scores in two parts: what a method is shown, and the cells that it has to forecast."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import bayescale as bs

FOLDER = "BAYESCALE_DATA_DIR"
UNSET = f"{FOLDER} is not set: these tables are not bundled; it names the folder that holds them"

#: Standard benchmarks of ``observational``: chance, and items where the score is a share of them (MMLU: about).
BENCHMARKS: dict[str, tuple[float, float]] = {
    "mmlu": (0.25, 14042), "arc_challenge": (0.25, 1172), "hellaswag": (0.25, 10042), "winogrande": (0.5, 1267),
    "truthfulqa_mc2": (0.3, np.nan), "gsm8k": (0.0, 1319), "xwinograd": (0.5, np.nan), "humaneval": (0.0, 164),
}  # fmt: skip

#: Those of the leaderboard, which the protocol of families forecasts.
LEADERBOARD = ("mmlu", "arc_challenge", "hellaswag", "winogrande", "truthfulqa_mc2", "gsm8k")

#: Columns of a part; ``series`` labels what is one curve of accuracy against capability: a task, or a task asked in one way.
COLUMNS = (
    "family", "model", "params", "tokens", "flops", "task", "prompt", "shots", "accuracy", "n_items", "chance", "eval_source",
    "series",
)  # fmt: skip

#: Models whose compute is not published and is above every cut.
LARGE = ("mistralai/Mistral-7B-v0.1", "mistralai/Mixtral-8x7B-v0.1")

#: Groups of families that are hidden together.
GROUPS = 6

_GROUPS_SEED = 5


@dataclass(frozen=True, eq=False)
class Block:
    """A table in two parts.

    Parameters
    ----------
    name : str
        The line of the printed table that it belongs to.
    fold : str
        Which part of that line, where a line has several.
    train : DataFrame
        Scores shown, one a row, with :data:`COLUMNS`; sizes and items are NaN where they are not known.
    test : DataFrame
        Cells to forecast, the same columns without ``accuracy``.
    truth : ndarray, shape (test row,)
        Their accuracies; scoring alone reads them.
    benchmarks, targets : tuple of str
        Series that are known for the test models too, and series to forecast.
    """

    name: str
    fold: str
    train: pd.DataFrame
    test: pd.DataFrame
    truth: np.ndarray
    benchmarks: tuple[str, ...]
    targets: tuple[str, ...]

    @property
    def counts(self) -> pd.DataFrame:
        """Models shown and forecast of each target."""
        parts = {"shown": self.train, "held": self.test}
        found = {name: part.groupby("series").model.nunique() for name, part in parts.items()}
        return pd.DataFrame(found).reindex(self.targets).fillna(0).astype(int)


def _block(name: str, fold: str, table: pd.DataFrame, held: pd.Series, benchmarks: Sequence[str] = ()) -> Block:
    table = table[list(COLUMNS)]
    test = table[held].reset_index(drop=True)
    targets = tuple(sorted(test.series.unique()))
    train = table[~held].reset_index(drop=True)
    return Block(name, fold, train, test.drop(columns="accuracy"), test.accuracy.to_numpy(), tuple(benchmarks), targets)


def available() -> bool:
    """Whether the folder of the tables is named."""
    return bool(os.environ.get(FOLDER))


def _read(name: str) -> pd.DataFrame:
    return pd.read_csv(Path(os.environ[FOLDER]) / name / f"{name}.csv")


def standard(names: Iterable[str] = BENCHMARKS) -> pd.DataFrame:
    """Standard benchmarks of all base models, one score a row."""
    table = _read("observational")
    # The source gives the tokens of BTLM 1,000 times too large, and its compute with them.
    share = np.where(table.suspect_tokens == 1, 1e-3, 1.0)
    table = table.assign(tokens=table.tokens * share, flops=table.flops * share)
    sizes = ["family", "model", "params", "tokens", "flops"]
    parts = [
        table[sizes].assign(task=name, accuracy=table[name], chance=BENCHMARKS[name][0], n_items=BENCHMARKS[name][1])
        for name in names
    ]
    return pd.concat(parts).dropna(subset="accuracy").assign(prompt="", shots="", eval_source="", series=lambda t: t.task)


def _emergent(tasks: Sequence[str]) -> pd.DataFrame:
    table = _read("observational_emergent").rename(columns={"score": "accuracy"})
    kept = (table.preregistered == 0) & table.task.isin(tasks) & table.flops.notna()
    return table[kept].assign(prompt="", eval_source="", series=lambda t: t.task)


def _prompted(methods: Sequence[str]) -> pd.DataFrame:
    table = _read("observational_post_training").rename(columns={"method": "prompt"})
    known = table.flops.notna() | table.model.isin(LARGE)
    kept = (table.preregistered == 0) & (table.task == "gsm8k") & table.prompt.isin(methods) & known
    return table[kept].assign(eval_source="", series=lambda t: t.task + ", " + t.prompt)


#: Name, tasks or ways of prompting, largest compute shown, the same where a choice is made inside what is shown, whether GSM8K
#: is among the benchmarks.
_TARGETS = (
    ("emergent", _emergent, ("word_unscrambling", "parsinlu_qa"), 8.4e22, 2.2e22, True),
    ("arithmetic", _emergent, ("arithmetic_3digit_subtraction", "arithmetic_2digit_multiplication"), 2.2e22, 7e21, False),
    ("gsm8k", _prompted, ("direct", "cot", "cot_sc_maj5"), 8.4e22, 2.2e22, False),
)


def targets() -> Iterator[Block]:
    """Tasks of large models from those of smaller ones, the standard benchmarks of all being known.

    The cut is on training compute: up to 8.4e22 FLOPs, or 2.2e22 for arithmetic, is shown. Mistral-7B and Mixtral-8x7B, whose
    compute is not published, are forecast where the protocol has them (GSM8K) and left out elsewhere.
    """
    for name, read, labels, cut, _, with_gsm8k in _TARGETS:
        yield _target(name, read(labels), cut, with_gsm8k)


def _target(name: str, asked: pd.DataFrame, cut: float, with_gsm8k: bool) -> Block:
    benchmarks = [b for b in BENCHMARKS if with_gsm8k or b != "gsm8k"]
    table = pd.concat([standard(benchmarks), asked], keys=["benchmark", "target"])
    # A cell without compute is one of LARGE: not at most the cut.
    held = ~(table.flops <= cut) & (table.index.get_level_values(0) == "target")
    return _block(name, "", table, held, benchmarks)


#: Compute up to which models are shown in a choice, of those up to the cut of the targets; and the benchmark that is forecast.
_INSIDE, _CUT, _CHOSEN_BY = 2.2e22, 8.4e22, "gsm8k"


def inside() -> Iterator[Block]:
    """Scores of the larger training models of :func:`targets` from those of the smaller, for choices.

    A benchmark, then the targets themselves, of which the test models' scores are in no block.
    """
    table = standard()
    table = table[table.flops <= _CUT]
    held = (table.flops > _INSIDE) & (table.series == _CHOSEN_BY)
    yield _block("inside", "", table, held, [b for b in BENCHMARKS if b != _CHOSEN_BY])
    for name, read, labels, cut, inner, with_gsm8k in _TARGETS:
        asked = read(labels)
        yield _target(f"inside {name}", asked[asked.flops <= cut], inner, with_gsm8k)


def families(folds: int | None = GROUPS) -> Iterator[Block]:
    """The larger models of a group of families, of which the one or the two smallest are shown; all others are shown whole.

    Six benchmarks of the leaderboard, models of known tokens. Every model is forecast once a line.

    Parameters
    ----------
    folds : int or None
        Groups that the families are dealt to; None hides one family at a time.
    """
    table = standard(LEADERBOARD).dropna(subset="tokens")
    models = table.drop_duplicates("model").sort_values(["params", "tokens", "model"])
    place = models.groupby("family").cumcount().set_axis(models.model)
    rank = table.model.map(place)
    for seen, name in ((1, "one seen"), (2, "two seen")):
        chosen = np.sort(table.family[rank >= seen].unique())
        dealt = np.random.default_rng(_GROUPS_SEED).permutation(len(chosen)) % (folds or len(chosen))
        for fold in range(folds or len(chosen)):
            group = chosen[dealt == fold]
            label = str(group[0]) if folds is None else f"group {fold + 1}"
            yield _block(name, label, table, table.family.isin(group) & (rank >= seen))


#: A shown score so far below chance is no guess, but an answer that was not understood; items where a table names no number: as
#: many as BIG-Bench Hard has a task, whose scores are most of these.
_FAILED, _ITEMS = 0.1, 250


def bundled() -> Iterator[Block]:
    """The largest model of every family of three sizes or more with known compute, hidden with all its scores.

    A cell is forecast where the family has three sizes or more in that task, asked and measured in the same way. Where a score
    that is shown lies more than 0.1 below chance, chance is no floor of that way of asking: it is a task of its own, whose
    chance is 0. A task whose items no table counts is taken to have 250.
    """
    for name in ("benchmark_accuracy", "emergent_tasks"):
        table = bs.load_dataset(name).rename(columns={"value": "accuracy"})
        # A repeated row quotes another one of the table: it would show what is hidden.
        whole = table.metric.isin(["accuracy", "exact match"]) & table.repeats.isna() & table.chance.notna()
        table = table[whole].fillna({"shots": "", "eval_group": ""}).assign(prompt="")
        table["series"] = table.task + ", " + table.shots.astype(str) + ", " + table.eval_group + ", " + table.metric
        sized = table[table.flops.notna()]
        sizes = sized.groupby("family").params.agg(["nunique", "max"])
        tops = sizes["max"][sizes["nunique"] >= 3]
        # A model may be entered under two names: its size tells it, and compute may stand under one of them only.
        hidden = table.params >= 0.99 * table.family.map(tops)
        cell = ["family", "series"]
        shown = sized[~hidden[sized.index]].groupby(cell).params.nunique()
        scored = hidden & table.flops.notna() & (shown.reindex(pd.MultiIndex.from_frame(table[cell])).to_numpy() >= 2)
        failed = table.series.isin(table.series[~hidden & (table.accuracy < table.chance - _FAILED)])
        table["task"] = table.series.where(failed, table.task)
        table["chance"] = table.chance.mask(failed, 0.0)
        table["n_items"] = table.n_items.fillna(_ITEMS)
        yield _block(name, "", table[scored | ~hidden], scored[scored | ~hidden])
