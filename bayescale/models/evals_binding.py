"""A model of capability and a table of scores brought together: order of the tasks, anchors, ceilings, arrays."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayescale.core.errors import SpecError, unknown
from bayescale.data.evals import Evals
from bayescale.models.capability import CapabilityModel
from bayescale.models.design import pad
from bayescale.models.evals_design import EvalsDesign
from bayescale.models.families import members_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

#: log10 of a covariate is (less this) over this: about what models of the years 2019 to 2024 have.
SCALES = {"params": (9.8, 0.7), "tokens": (11.8, 0.6), "flops": (22.4, 1.1)}

#: Tasks that are anchors where they are there, in this order.
_ANCHORS = ("hellaswag", "mmlu")

#: Priors of the logit of a ceiling's share of what is above chance: estimated, and near 1. Of the logarithm of the floor of a
#: task that cannot be guessed: estimated, and near 0.
_ESTIMATED, _NEAR_ONE = (2.3, 0.8), (4.5, 0.7)
_SMALL, _NEAR_NOUGHT = (np.log(0.01), 0.8), (np.log(0.003), 0.4)
#: Where a curve begins and ends is told by so many models of so many families, or of all that there are: by fewer a high floor
#: or a low ceiling is not told from a curve that rises slowly, and chains would be at either. Of a ceiling, by those that have
#: more than this share of what is above chance.
_SEEN_MODELS, _SEEN_FAMILIES, _SEEN_SHARE = 8, 3, 0.45

_START = 4.0


@dataclass(frozen=True, eq=False)
class EvalsBinding:
    """A model bound to a table.

    Parameters
    ----------
    model : CapabilityModel
    design : EvalsDesign
    tasks : tuple of str
        Anchors first, then by name.
    families, models : tuple of str
        Models by family, then by name.
    prompts : tuple of str
        Ways of prompting that have effects, and the one that is the reference for them first; empty where there are none.
    sources : tuple of (task, source)
        Pairs that have effects.
    cell : int array (score, 3)
        Repeat, slot and model of each row of the table.
    """

    model: CapabilityModel
    design: EvalsDesign
    tasks: tuple[str, ...]
    families: tuple[str, ...]
    models: tuple[str, ...]
    prompts: tuple[str, ...]
    sources: tuple[tuple[str, str], ...]
    cell: Ints

    @property
    def free(self) -> dict[str, NDArray[np.bool_]]:
        """Which entries of reported parameters are estimated; the others are known, and the same in every draw."""
        tasks, factors = len(self.tasks), self.model.factors
        place, factor = np.arange(tasks)[:, None], np.arange(factors)
        design = self.design
        return {
            "loading": (place > factor) | ((place == factor) & (factor > 0)),
            "ceiling": np.asarray(design.ceiling_scale) > 0,
            "floor": np.asarray(design.floor) > 0,
        }


def bind_evals(model: CapabilityModel, evals: Evals) -> EvalsBinding:
    """Bring a model and a table together.

    Raises
    ------
    SpecError
        When the model names a task that is not there, has more factors than there are tasks, or needs item counts that are not
        known.
    """
    table = evals.table
    faults = [f"anchors: {unknown('task', t, evals.tasks)}" for t in model.anchors if t not in evals.tasks]
    faults += [f"ceilings: {unknown('task', t, evals.tasks)}" for t in model.ceilings if t not in evals.tasks]
    if len(evals.tasks) < model.factors + 1:
        faults.append(f"{model.factors} factors need {model.factors + 1} tasks or more, there are {len(evals.tasks)}")
    if model.noise == "beta_binomial" and table["n_items"].isna().any():
        lacking = sorted(table.loc[table["n_items"].isna(), "task"].unique())
        faults.append(f"noise='beta_binomial' needs n_items of every score; not known for {', '.join(lacking[:4])}")
    if faults:
        raise SpecError("the model does not fit this table:\n" + "\n".join(f"  - {fault}" for fault in faults))
    tasks = _tasks(model, evals)
    by_model = table.drop_duplicates("model").sort_values(["family", "model"])
    models, families = tuple(map(str, by_model["model"])), evals.families
    task, who = places(tasks, table["task"]), places(models, table["model"])
    repeat = table.groupby(["model", "task"]).cumcount().to_numpy()
    prompts, prompt = _prompts(model, table)
    sources, source = _sources(model, table)
    family = places(families, by_model["family"])
    slots, slot = _slots(family[who], task, len(families))
    cell = np.stack([repeat, slot, who], 1).astype(np.int64)
    rows = _rounded(len(models))
    chance = table.groupby("task")["chance"].first().reindex(list(tasks)).to_numpy(float)
    loc, scale, fixed = _ceilings(model, table, tasks, chance)
    told = np.isin(tasks, list(_told(table, table)))[chance == 0]
    x, unknowns = covariates_of(model, by_model)
    share = (table["accuracy"].to_numpy() - chance[task]) / (0.95 - chance[task])
    share = np.clip(share, 0.02, 0.98)

    def spread(values: Any, fill: float | bool = 0) -> Any:
        values = np.asarray(values)
        out = np.full((int(repeat.max()) + 1, slots.shape[1], rows), fill, dtype=values.dtype)
        out[tuple(cell.T)] = values
        return out

    families_of = pad(family, rows, len(slots) - 1)
    place, members = members_of(family, len(slots), rows)
    room = _rounded(members.shape[1]) - members.shape[1]

    design = EvalsDesign(
        y=spread(table["accuracy"].to_numpy(), 0.5),
        per_item=spread((1 / table["n_items"]).fillna(0.0).to_numpy(), 0.01),
        start=spread(np.clip(np.log(share / (1 - share)), -_START, _START)),
        mask=spread(np.ones(len(table), dtype=bool), False),
        task=slots[families_of].T,
        prompt=spread(prompt),
        source=spread(source),
        family=families_of,
        place=pad(place, rows, 0),
        members=np.pad(members, ((0, 0), (0, room)), constant_values=rows),
        x=pad(x.T, rows, 0.0),
        unknown=pad(np.moveaxis(unknowns, 0, -1), rows, 0.0),
        prompts=np.zeros(max(0, len(prompts) - 1)),
        sources=np.zeros(len(sources)),
        floor_loc=np.where(told, _SMALL[0], _NEAR_NOUGHT[0]),
        floor_scale=np.where(told, _SMALL[1], _NEAR_NOUGHT[1]),
        slots=slots,
        chance=chance,
        ceiling_loc=loc,
        ceiling_scale=scale,
        ceiling=fixed,
        floor=np.where(chance == 0, np.cumsum(chance == 0), 0),
    )
    return EvalsBinding(model, design, tasks, families, models, prompts, sources, cell)


def covariates_of(model: CapabilityModel, table: pd.DataFrame) -> tuple[Floats, Floats]:
    """Standardised covariates of models, and how they depend on what is not known of them.

    Returns
    -------
    x : array (model, covariate)
        0 where a covariate is not known: the middle of its scale.
    unknown : array (model, latent, covariate)
        As many latent quantities as any of the models lacks, at least 0. Where both size and data are not known, their product
        is left at 0.
    """
    names = ("flops",) if model.covariates == "compute" else ("params", "tokens")
    columns = {}
    for name in names:
        middle, spread = SCALES[name]
        columns[name] = (np.log10(table[name].to_numpy(float)) - middle) / spread
    known = np.stack([np.nan_to_num(v) for v in columns.values()], 1)
    lacks = np.stack([np.isnan(v) for v in columns.values()], 1)
    if len(names) == 1:
        return known, lacks.astype(float)[:, :, None][:, : int(lacks.any())]
    product = np.where(lacks.any(1), 0.0, known[:, 0] * known[:, 1])
    x = np.column_stack([known, product])
    towards = np.zeros((len(table), 2, 3))
    for i in (0, 1):
        towards[:, i, i] = lacks[:, i]
        # Where the other is known, the product grows with the one that is not.
        towards[:, i, 2] = np.where(lacks[:, i] & ~lacks[:, 1 - i], known[:, 1 - i], 0.0)
    return x, towards[:, lacks.any(0)]


def places(labels: Sequence[str], values: Any) -> Ints:
    """Index of each value among the labels; -1 where it is none of them."""
    found = {label: i for i, label in enumerate(labels)}
    return np.array([found.get(str(value), -1) for value in values], dtype=np.int64)


def _tasks(model: CapabilityModel, evals: Evals) -> tuple[str, ...]:
    """The tasks, anchors first."""
    table = evals.table
    anchors = list(model.anchors)
    short = {re.sub(r"[^a-z0-9]", "", task.lower()): task for task in evals.tasks}
    anchors += [short[name] for name in _ANCHORS if name in short and short[name] not in anchors]
    spread = table.groupby("task")["accuracy"].agg(["count", "std"])
    seen = (spread["count"] * spread["std"].fillna(0.0)).sort_values(ascending=False, kind="stable")
    anchors += [str(task) for task in seen.index if task not in anchors]
    anchors = anchors[: model.factors]
    return (*anchors, *(task for task in evals.tasks if task not in anchors))


def prompting(table: pd.DataFrame) -> pd.Series[Any]:
    """How each score was asked for: the way of prompting where it is named, else the number of shots."""
    return table["prompt"].where(table["prompt"] != "", table["shots"])


def _prompts(model: CapabilityModel, table: pd.DataFrame) -> tuple[tuple[str, ...], Ints]:
    """Ways of prompting, the commonest first, and 1 + the place of each score's among the others."""
    level = prompting(table)
    several = level.groupby(table["task"]).transform("nunique") > 1
    nothing = np.zeros(len(table), dtype=np.int64)
    if not model.prompt_effects or not several.any():
        return (), nothing
    names = tuple(map(str, level[several].value_counts().index))
    found = places(names, level)
    return names, np.where(several & (found > 0), found, 0).astype(np.int64)


def _sources(model: CapabilityModel, table: pd.DataFrame) -> tuple[tuple[tuple[str, str], ...], Ints]:
    """Pairs of task and source that have effects, and 1 + the place of each score's among them.

    The commonest source of a task is its reference; a source that only one family was measured by is told by the family's own
    effect on the task.
    """
    nothing = np.zeros(len(table), dtype=np.int64)
    if not model.source_effects or table["eval_source"].nunique() < 2:
        return (), nothing
    counts = table.groupby(["task", "eval_source"])["family"].nunique().sort_values(ascending=False, kind="stable")
    first = {task: source for task, source in reversed(list(counts.index))}
    labels: list[tuple[str, str]] = [(str(task), str(source)) for task, source in counts.index[counts > 1]]
    pairs = tuple(sorted(pair for pair in labels if first[pair[0]] != pair[1]))
    if not pairs:
        return (), nothing
    found = pd.MultiIndex.from_tuples(pairs).get_indexer(pd.MultiIndex.from_frame(table[["task", "eval_source"]]))
    return pairs, (found + 1).astype(np.int64)


def _slots(family: Ints, task: Ints, families: int) -> tuple[Ints, Ints]:
    """Tasks of each family (family, slot), and the slot of each score."""
    seen = [np.unique(task[family == f]) for f in range(families)]
    slots = np.zeros((_rounded(families), max(map(len, seen))), dtype=np.int64)
    slot = np.zeros(len(task), dtype=np.int64)
    for f, tasks in enumerate(seen):
        slots[f, : len(tasks)] = tasks
        slot[family == f] = np.searchsorted(tasks, task[family == f])
    return slots, slot


def _ceilings(
    model: CapabilityModel, table: pd.DataFrame, tasks: tuple[str, ...], chance: Floats
) -> tuple[Floats, Floats, Floats]:
    share = (table["accuracy"] - table["chance"]) / (1 - table["chance"])
    seen = _told(table[share > _SEEN_SHARE], table)
    loc, scale, fixed = (np.zeros(len(tasks)) for _ in range(3))
    for i, task in enumerate(tasks):
        word = model.ceilings.get(task, "estimated" if task in seen else "near one")
        if isinstance(word, str):
            loc[i], scale[i] = _ESTIMATED if word == "estimated" else _NEAR_ONE
        fixed[i] = 1.0 if isinstance(word, str) else float(word)
    return loc, scale, fixed


def _told(some: pd.DataFrame, table: pd.DataFrame) -> set[str]:
    """Tasks of which some scores of a table are of enough models and families."""
    seen = some.groupby("task")[["model", "family"]].nunique()
    families = min(_SEEN_FAMILIES, table["family"].nunique())
    return set(map(str, seen.index[(seen["model"] >= _SEEN_MODELS) & (seen["family"] >= families)]))


def _rounded(size: int) -> int:
    """The size up to the next of eight steps to its double, so that tables of like size share a program."""
    step = max(1, 1 << max(0, (size - 1).bit_length() - 4))
    return -(-size // step) * step
