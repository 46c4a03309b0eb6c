# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # From a table of runs to a go/no-go
#
# What `bayescale demo` does, step by step. The table holds published losses of language models; the largest model of each
# family is held back, and one hierarchical model forecasts it from the smaller ones.

# %%
import os

import matplotlib.pyplot as plt

import bayescale as bs

QUICK = bool(os.environ.get("BAYESCALE_QUICK"))  # a smaller table, to see that everything runs

# %% [markdown]
# ## The table
#
# One row a model and text set: the loss in nats per token (`ln(perplexity)`), the size, and what it belongs to. A loss
# compares only within one text and tokenizer, so the floor of the law will belong to these; `curve` is a family on a text.

# %%
runs = bs.load_dataset("pretraining_losses", runs=True)
texts = ["SlimPajama validation", "WikiText-2"] + ([] if QUICK else ["Pile test", "Pile validation"])
runs = runs[runs.dataset.isin(texts)].reset_index(drop=True)
runs["curve"] = runs.family + ", " + runs.text

largest = runs.groupby("curve").params.idxmax()
held = runs.loc[largest].reset_index(drop=True)
shown = runs.drop(index=largest).reset_index(drop=True)
print(f"{len(shown)} runs to fit, {len(held)} held back; {runs.family.nunique()} families, {runs.text.nunique()} texts")
shown.head()

# %% [markdown]
# `check` looks at a table before any fitting.

# %%
bs.check(shown, groups=("family", "architecture"))

# %% [markdown]
# ## The model
#
# `loss = E + A (params / reference)^-alpha`, with Student-t noise on its logarithm:
#
# - the floor `E` belongs to the text and its tokenizer, and is not pooled;
# - the amplitude `A` belongs to a family on a text, and all of them share a population;
# - the exponent `alpha` belongs to a family, which varies about its architecture, which varies about all of them.

# %%
model = bs.ScalingModel(
    "power_law_offset",
    axes={"x": "params"},
    pooling={
        "E": bs.NoPooling(("dataset", "tokenizer", "source")),
        "A": bs.PartialPooling("curve"),
        "alpha": bs.PartialPooling(("architecture", "family")),
    },
)
fit = bs.fit(model, shown, seed=0)
fit

# %% [markdown]
# Priors first: what the model believes before it sees a loss. The prior predictive draws of the fitted rows should look like
# plausible losses, no more.

# %%
fit.tree["prior_predictive"]["loss"].quantile([0.05, 0.5, 0.95]).to_series().round(2)

# %% [markdown]
# ## Do the forecasts cover?
#
# The largest model of each family was not fitted. Here is its forecast, the 90 % interval and the published value.

# %%
forecasts = bs.summarize(bs.predict(fit, held, seed=0), prob=0.9)
table = held[["dataset", "model", "params"]].assign(
    median=forecasts["median"].to_numpy(), lower=forecasts["lower"].to_numpy(), upper=forecasts["upper"].to_numpy()
)
table["published"] = held.loss
table["inside"] = table.published.between(table.lower, table.upper)
print(f"{table.inside.sum()} of {len(table)} intervals cover")
table.round(3)

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
for ax, text in zip(axes, shown.text.unique()[:2], strict=True):
    bs.plot_fit(fit, along="params", by="family", at={"text": text}, held_back=held, ax=ax)
    ax.set_title(text)

# %% [markdown]
# ## What the families share
#
# Exponents of the families, beside the population from which an unseen family would be drawn.

# %%
figure, ax = plt.subplots(figsize=(8.5, 6), layout="constrained")
bs.plot_exponents(fit, "alpha", ax=ax)
# %% [markdown]
# ## Which size reaches a loss, and which architecture wins?
#
# Both are posterior arithmetic: draws, with the probability that it never happens.

# %%
slim = shown[shown.dataset == "SlimPajama validation"]
curves = slim.loc[slim.groupby("curve").params.idxmax(), list(fit.model.group_columns)].reset_index(drop=True)
bs.summarize(bs.scale_for(fit, "loss<=2.0", along="params", at=curves))


# %%
def on_text(family: str) -> bs.Fit:
    row = slim[slim.family == family].iloc[0]
    return fit.select(**{column: row[column] for column in fit.model.group_columns})


crossed = bs.crossover(on_text("Llama (SlimPajama)"), on_text("RWKV-4 (SlimPajama)"), along="params")
bs.summarize(crossed)

# %% [markdown]
# This law knows no tokens, so it says nothing of how compute should be split between size and data:

# %%
try:
    bs.compute_optimal(fit, 1e22)
except bs.NotIdentifiedError as answer:
    print(answer)

# %% [markdown]
# ## Go or no-go
#
# A rule states a target and how probable it must be. `review` gathers the findings about the fit and the forecast; without
# one there is never a GO, and a failed one means HOLD.

# %%
planned = held[held.family == "xLSTM[1:0] (SlimPajama)"].head(1)
draws = bs.predict(fit, planned, seed=0)
review = bs.review(fit, planned)
decision = bs.decide(draws, bs.Threshold("loss", "<=", 2.25, probability=0.9), review)
decision

# %%
bs.plot_decision(decision, draws)

# %% [markdown]
# Kept for later: `bs.save(fit, "fit.nc")` writes one netCDF file with draws, data, specification and versions, which
# `bs.load`, xarray and ArviZ open.
