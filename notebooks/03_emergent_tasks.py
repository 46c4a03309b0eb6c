# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Tasks that nobody could do yet
#
# Some tasks stay at chance for model after model, and then a larger one can do them. Here the large models of the published
# tables are hidden, a model of capability is fitted to the small ones, and its forecasts are laid beside what came: tasks
# where every model that was seen is near chance, and tasks where the forecast fails.
#
# Both tables are bundled. What the model is, and when it cannot work, is in the documentation under "What emergence means
# here".

# %%
import os

import matplotlib.pyplot as plt
import pandas as pd

import bayescale as bs

QUICK = bool(os.environ.get("BAYESCALE_QUICK"))  # fewer families and tasks, one factor: to see that everything runs

# %% [markdown]
# ## The scores
#
# `evals=True` gives the rows that such a model should be fitted to, in long form: one score a row, with its chance rate. Of
# each model and task one score is kept, that with the most examples in the prompt.

# %%
tables = [bs.load_dataset(name, evals=True) for name in ("benchmark_accuracy", "emergent_tasks")]
scores = pd.concat(tables, ignore_index=True).dropna(subset=["flops"])

families = ["GPT-3", "LLaMA", "LLaMA-2", "Cerebras-GPT", "PaLM", "Falcon"]
tasks = ["HellaSwag", "ARC-C", "PIQA", "Winogrande", "MMLU", "GSM8K", "3-digit addition", "4-digit addition"]
if not QUICK:
    families += ["MPT", "Gemma", "Gemma-2", "Qwen", "DeepSeek-LLM"]
    tasks += ["TriviaQA"]
scores = scores[scores.family.isin(families) & scores.task.isin(tasks)]
scores = scores[~scores.model.str.contains("few-shot")]  # models that another row names by their size
shots = pd.to_numeric(scores.shots, errors="coerce").fillna(-1)
scores = scores.assign(examples=shots).sort_values("examples", ascending=False, kind="stable")
scores = scores.drop_duplicates(["model", "task"]).sort_index()
# One score each: nothing is left to tell sources and prompts apart by.
scores = scores.drop(columns=["examples", "shots", "eval_source"]).reset_index(drop=True)

LARGEST = 1e23  # FLOP
seen, hidden = scores[scores.flops <= LARGEST], scores[scores.flops > LARGEST].reset_index(drop=True)
print(f"to fit: {len(seen)} scores of {seen.model.nunique()} models")
print(f"hidden: {len(hidden)} scores of {hidden.model.nunique()} larger ones")

# %% [markdown]
# What the fit will know of each task: the best score of any model that it sees, beside chance. Nobody can add three digits,
# let alone four.

# %%
known = seen.groupby("task").agg(models=("model", "size"), chance=("chance", "first"), best_seen=("accuracy", "max"))
known["best_hidden"] = hidden.groupby("task").accuracy.max()
known.sort_values("best_seen").round(3)

# %% [markdown]
# ## The model
#
# `accuracy = floor + (ceiling - floor) · sigmoid(intercept + loading · capability)`. Capability is what a model's size and
# data, its family and it itself add up to. Benchmarks that everybody is scored on place the models, and a task's own few
# scores tell how it hangs on their capability.

# %%
sampler = bs.Hmc(chains=2, draws=400, max_draws=400, max_steps=8) if QUICK else None
fit = bs.fit(bs.CapabilityModel(factors=1), seen, seed=0, sampler=sampler, strict=not QUICK)
fit

# %%
figure, ax = plt.subplots(figsize=(9, 5), layout="constrained")
bs.plot_capability(fit, ax=ax)

# %% [markdown]
# Capability goes up steadily with compute, in every family. There is no jump in it. The jump is in the tasks: the larger the
# loading, the shorter the way from chance to mastery.

# %%
bs.plot_loadings(fit)

# %% [markdown]
# ## Three digits, and four
#
# The curve is a new GPT-3 model along compute: the fit has seen the filled points, the open one is GPT-3 175B.

# %%
ADDITION = ["3-digit addition", "4-digit addition"]
figure, axes = plt.subplots(2, 1, figsize=(9, 8), layout="constrained", sharex=True)
for ax, task in zip(axes, ADDITION, strict=True):
    bs.plot_task(fit, task, families=["GPT-3"], beyond=30, held_back=hidden, ax=ax)


# %%
def beside(fit: bs.CapabilityFit, rows: pd.DataFrame) -> pd.DataFrame:
    """Forecasts beside what came."""
    said = bs.summarize(bs.predict(fit, rows, seed=0), prob=0.9)
    table = rows[["model", "task", "chance"]].assign(
        best_seen=rows.task.map(known.best_seen), median=said["median"], lower=said["lower"], upper=said["upper"]
    )
    table["came"] = rows.accuracy
    return table.assign(inside=table.came.between(table.lower, table.upper))


beside(fit, hidden[hidden.task.isin(ADDITION)].reset_index(drop=True)).round(3)

# %% [markdown]
# The two intervals say different things. For three digits the last model that was seen is a little above the floor: that is
# where the bend begins, and the fit knows that the next model is past it. Where the rise ends it cannot know: its median is
# near 1, above the truth, and its interval goes from below the middle to the top. For four digits no score is above the
# floor: the bend may be anywhere from here on, and the interval says so. Its median is no forecast.
#
# ## Tasks with more families
#
# On GSM8K and MMLU many families have scores, and all small models are weak. The curve is that of a family which was not
# seen.

# %%
figure, axes = plt.subplots(2, 1, figsize=(9, 8), layout="constrained", sharex=True)
for ax, task in zip(axes, ["GSM8K", "MMLU"], strict=True):
    bs.plot_task(fit, task, beyond=30, held_back=hidden, ax=ax)

# %% [markdown]
# ## All that was hidden
#
# How many of the 90 % intervals hold what came, how wide they are, and whether the misses have a side.


# %%
def by_task(table: pd.DataFrame) -> pd.DataFrame:
    """Coverage, width and error of the forecasts of each task."""
    table = table.assign(width=table.upper - table.lower, error=table["median"] - table.came)
    groups = table.groupby("task")
    out = groups[["width", "error"]].mean()
    out.insert(0, "n", groups.size())
    out.insert(1, "inside", groups.inside.sum())
    return out.sort_values("error")


found = beside(fit, hidden)
print(f"{found.inside.sum()} of {len(found)} intervals hold what came")
by_task(found).round(3)

# %%
found[~found.inside].round(3)

# %% [markdown]
# Where it fails, it fails with a side: what came is lower. There are two reasons.
#
# - Curves end below 1. Disputed answers, and items that no model of the time could do, keep even the largest models from the
#   top, and no model that was seen is far enough up to tell where the end is.
# - One factor takes all that makes models better for one thing. A model that completes sentences well then counts as one that
#   knows much, and MMLU comes out far too high.
#
# ## A second factor
#
# With two factors a family may be better at one thing than at another, and families are paths in a plane, from their smallest
# model to their largest. The families that know more than their sentences say lie high.

# %%
if not QUICK:
    # A second factor is harder to sample: the line below says whether the chains agree.
    two = bs.fit(bs.CapabilityModel(factors=2), seen, seed=0, strict=False)
    print(two)
    figure, ax = plt.subplots(figsize=(9, 5.5), layout="constrained")
    bs.plot_capability(two, ax=ax)

# %%
if not QUICK:
    again = beside(two, hidden)
    print(f"{again.inside.sum()} of {len(again)} intervals hold what came")
    columns = ["inside", "width", "error"]
    both = by_task(found)[["n", *columns]].join(by_task(again)[columns], rsuffix="_two")
    print(both.round(3))

# %% [markdown]
# MMLU comes out less too high, and all of its intervals hold what came. They are wide, since every model was seen at chance or
# in the middle of the bend. The ends of ARC-C and Winogrande are missed as before, that of Winogrande more often: no number of
# factors tells a ceiling.
# Nothing in the first fit said that it would do worse; only the hidden scores did.
#
# ## From a forecast to a decision
#
# A level is met with a probability, and a level well below the top is safer to ask about than the score itself. GPT-3 175B, as
# if it were planned, by the fit of two factors:

# %%
chosen = fit if QUICK else two
planned = hidden[hidden.model == "GPT-3 175B"].drop(columns="accuracy")
planned = planned[planned.task.isin(ADDITION)].reset_index(drop=True)
draws = bs.predict(chosen, planned, seed=0)
levels = [0.25, 0.5, 0.75]
odds = pd.DataFrame({f"P(≥ {level})": (draws["accuracy"] >= level).mean(("chain", "draw")).to_numpy() for level in levels})
odds.set_index(planned.task).round(2)

# %% [markdown]
# Turned round: from which compute on does a model of this family get half of the sums right? `summarize` gives the interval
# over the draws, and `p_never`, the share of them in which the level is not reached within the range that was searched.

# %%
scales = bs.scale_for(chosen, "accuracy>=0.5", at=planned[["family", "task"]], path={"tokens": 3e11})
bs.summarize(scales).set_index("task")[["median", "lower", "upper", "p_never"]].map("{:.2g}".format)

# %% [markdown]
# And go or no-go: three digits, half of them right, with a probability of at least 0.9. The review says what speaks against
# relying on the forecast.

# %%
three = planned[planned.task == "3-digit addition"].reset_index(drop=True)
rule = bs.Threshold("accuracy", ">=", 0.5, probability=0.9)
draws = bs.predict(chosen, three, seed=0)
decision = bs.decide(draws, rule, bs.review(chosen, three))
decision

# %%
bs.plot_decision(decision, draws)

# %% [markdown]
# What to take from this:
#
# - A task that every model fails can be forecast once its bend has begun: one score above the floor, and other benchmarks
#   that place the models, say more than a line through accuracies.
# - Where no score is above the floor, the forecast is an interval from floor to ceiling, and rightly so. Make an easier form
#   of the task, or train one model more.
# - How high a task goes cannot be seen from below its bend. Do not rely on the upper end of a forecast, nor on how narrow it
#   is there.
# - Hide the largest models that you have, and count coverage by task. A model that covers on the whole may miss one task
#   every time.
