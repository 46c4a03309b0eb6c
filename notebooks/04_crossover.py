# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Which method wins at scale?
#
# Methods have been compared at sizes that can be afforded, and one of them is ahead. Will it be ahead at the size that
# matters? The answers are a probability at each scale, a crossing with an interval, "never" with a probability, and
# beside them the plain rank at the largest size that was measured, which is hard to beat.
#
# Two comparisons from published figures. In both the larger models are held back, so that the answers can be looked up:
# one goes well, and one does not.

# %%
import matplotlib.pyplot as plt
import pandas as pd

import bayescale as bs

runs = bs.load_dataset("pretraining_losses", runs=True)

# %% [markdown]
# ## Four architectures on one text
#
# Six sizes of each, 70 million to 7 billion parameters, trained and measured by the same group. The four smaller sizes
# are shown.

# %%
wiki = runs[runs.dataset == "WikiText-2"].assign(architecture=lambda t: t.family.str.replace(" (OpenNLPLab)", "", regex=False))
shown, hidden = wiki[wiki.params < 2e9], wiki[wiki.params > 2e9]
shown.pivot_table(index="params", columns="architecture", values="loss").round(3)

# %% [markdown]
# One law for each architecture, each on its own: no floor is shared, since what a larger model of one architecture can
# reach is the question.

# %%
law = bs.ScalingModel("power_law_offset", axes={"x": "params"})
fits = {name: bs.fit(law, own) for name, own in shown.groupby("architecture")}
ranks = bs.rank_methods(fits, [1e9, 3e9, 7e9], along="params")
best = ranks["p_best"].to_pandas()
best["rank at 1e9, as measured"] = ranks["baseline"].to_series()
best.round(2)

# %% [markdown]
# At the largest size that was measured HGRN2 is ahead. The law says that cosFormer2, second there, falls faster, and that
# it is more likely than not to be the best at seven billion. The rank and the law disagree, and neither is sure. `regret`
# is what choosing a method now costs in expectation, in nats: the choice of least regret is what to train when nothing
# more can be measured.

# %%
ranks["regret"].to_pandas().round(3)

# %%
crossed = bs.crossover(fits["HGRN2"], fits["cosFormer2"], along="params", within=(7e7, 1e11))
bs.summarize(crossed).round(2)

# %%
bs.plot_crossover(crossed, names=("HGRN2", "cosFormer2"))
# %% [markdown]
# What came:

# %%
hidden.pivot_table(index="params", columns="architecture", values="loss").round(3)

# %% [markdown]
# At three billion HGRN2 was still ahead, at seven billion cosFormer2 was, and the interval of the crossing has room for it.
# It is one pair, and no proof of a method: here is what was said of the two sizes.


# %%
crossed["p_b_better"].sel(scale=[3e9, 7e9], method="nearest").to_series().round(2)

# %% [markdown]
# ## A pair that crosses where its law did not foretell it
#
# FloatLM and TriLM are the same models with 16-bit and with ternary weights, nine sizes each. Seven are shown. The loss
# is the logarithm of the perplexity on LAMBADA.

# %%
pair = runs[runs.family.isin(["FloatLM", "TriLM"])]
rank = pair.groupby("family").params.rank()
shown, hidden = pair[rank <= 7].reset_index(drop=True), pair[rank > 7]
shown.pivot_table(index="params", columns="family", values="loss").round(3)

# %% [markdown]
# One fit for both: they were measured in the same way, so they share a floor; amplitude and exponent are each family's
# own. Two groups of one fit are compared draw by draw, and what is uncertain for both cancels.

# %%
shares = {"A": bs.NoPooling("family"), "alpha": bs.NoPooling("family")}
both = bs.fit(bs.ScalingModel("power_law_offset", axes={"x": "params"}, pooling=shares, noise=bs.Gaussian()), shown)
floats, ternary = both.select(family="FloatLM"), both.select(family="TriLM")
crossed = bs.crossover(floats, ternary, along="params", within=(1e8, 1e11))
found = bs.crossings(floats, ternary, along="params", within=(1e8, 1e11))
print(f"P(no crossing between 1e8 and 1e11 parameters) = {float(found['p_none']):.2f}")
crossed["p_b_better"].sel(scale=[2.4e9, 3.9e9, 1e11], method="nearest").to_series().round(3)

# %%
figure, axes = plt.subplots(1, 2, figsize=(13, 4.5), layout="constrained")
bs.plot_fit(both, along="params", by="family", held_back=hidden, ax=axes[0])
bs.plot_crossover(crossed, names=("FloatLM", "TriLM"), ax=axes[1])
# %% [markdown]
# And what came:

# %%
hidden.pivot_table(index="params", columns="family", values="loss").round(3)

# %% [markdown]
# The ternary models fell off their own curve, and at the last size they overtook. Hardly a draw of the law made room for
# that. The rank at the largest shown size was as wrong. What a careful reader has is in the figure: the shown ternary
# runs bend away from their law, above it in the middle and below it at both ends. The review does not see it. No backtest
# was given, and it says that too:

# %%
print(bs.review(both, {"params": [3.9e9], "family": ["TriLM"]}))

# %% [markdown]
# A law that may drift is less sure of what it says:

# %%
drifting = bs.fit(
    bs.ScalingModel(
        "power_law_offset", axes={"x": "params"}, pooling=shares, noise=bs.Gaussian(), discrepancy=bs.SlopeDrift("params")
    ),
    shown,
    strict=False,
)
print(drifting)
later = bs.crossover(drifting.select(family="FloatLM"), drifting.select(family="TriLM"), along="params", within=(1e8, 1e11))
pd.DataFrame(
    {
        name: draws["p_b_better"].sel(scale=[2.4e9, 3.9e9, 1e11], method="nearest").to_series()
        for name, draws in {"law alone": crossed, "with drift": later}.items()
    }
).round(3)

# %% [markdown]
# What to take from this:
#
# - Put the rank at the largest measured size beside the probability. Where they disagree the probability says how far to
#   trust the law; that they agree is no evidence, as the second pair shows.
# - P(never) belongs to a range. Ask for the range that can be paid for.
# - A probability near 0 or 1 far beyond the runs is the law's word. A drift, or a run at a size in between, is how to
#   doubt it.
