# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---

# %% [markdown]
# # Go or no-go
#
# For the person who has to say yes or no. A family of models has been trained at five sizes; the largest planned one
# would cost many times as much as all of them. Is it worth its money, how sure is that, and is there a cheaper run that
# would tell?
#
# The runs are Cerebras-GPT's, published with their compute. We stand where its authors stood after the 2.7B model: the
# 6.7B and the 13B models are not looked at until their turn comes.

# %%
import os
import tempfile
from pathlib import Path

import pandas as pd

import bayescale as bs

QUICK = bool(os.environ.get("BAYESCALE_QUICK"))  # one cut-off fewer, to see that everything runs

# %%
table = bs.load_dataset("pretraining_losses").rename(columns={"value": "loss"})
family = table[(table.family == "Cerebras-GPT") & (table.dataset == "Pile test")].sort_values("params")
seen = family[family.params < 3e9].reset_index(drop=True)
seen[["model", "params", "tokens", "flops", "loss"]]

# %% [markdown]
# Twenty tokens a parameter throughout, so one axis tells all there is: compute. Here is the run that is planned, without
# its loss, and how many times the compute of the largest run seen it takes.

# %%
plan = family.tail(1)[["model", "params", "tokens", "flops"]].reset_index(drop=True)
plan.assign(times=(plan.flops / seen.flops.max()).round(1))

# %% [markdown]
# ## The question, before the answer
#
# A loss of 1.60 is what would make the model useful. Say that success is worth ten million dollars, that the run costs
# what its compute costs, and that a model which falls short costs one million more. All of it is written down before the
# forecast is seen: a line that is drawn afterwards is drawn around the answer.

# %%
planned = plan[["flops"]]
target = bs.Threshold("loss", "<=", 1.60, probability=0.9)
price = bs.Cost("flops", price=2.0 / (1e14 * 3600), unit="USD")  # 1e14 FLOP a second, two dollars an hour
worth = bs.Utility("loss<=1.60", value=1e7, cost=price, wrong=1e6)

# %% [markdown]
# ## The forecast
#
# `forecast` takes the model that suits the table, fits it, reviews it and applies the rule.

# %%
found = bs.forecast(seen, planned, target=target, progress=False)
found

# %%
bs.plot_decision(found.decision, found.draws)
# %% [markdown]
# P = 0.39: the rule of 90 % says NO_GO. The interval is wide, as five runs and a factor of 21 in compute make it.
#
# ## Is it to be relied on?
#
# The review says what speaks for and against the forecast, and what is not known. A backtest inside the five runs is the
# only evidence from larger runs that there is: fit the smallest, forecast the others, count.

# %%
test = bs.backtest(found.model, seen, along="flops", cutoffs=[1e20] if QUICK else [2e19, 1e20], progress=False)
test.summary("distance")[["n", "relative_error", "coverage_90", "width_90", "converged"]].round(3)

# %%
review = bs.review(found.fit, planned, test)
print(review)

# %% [markdown]
# Nothing here fails, and nothing is strong. There are more parameters than runs, so that priors decide a part. One draw
# diverged. One of the two fits of the backtest missed the convergence rule. Of its two forecasts at ten to thirty times
# the runs, which is where the planned run lies, one was covered, and the error was 8 %. "Worth 2.6 independent forecasts"
# is the sentence to remember.
#
# ## What would change the answer

# %%
for sentence in bs.flip(found.draws, target)["sentence"]:
    print("-", sentence)

# %% [markdown]
# The bad end of the forecast: the loss that is exceeded with probability 0.1, and its mean beyond that.

# %%
bs.risk(found.draws, tail=0.1).round(3)

# %%
shares = bs.uncertainty_shares(found.fit, planned)
shares.filter(like="share").T.set_axis(["share of the variance"], axis=1).round(2)

# %% [markdown]
# The noise of the run itself is next to nothing. Parameters and misfit are what larger runs would tell: this uncertainty
# can be bought down.
#
# ## The same question in money
#
# A rule that asks for 90 % says no to every bet that is not nearly safe, whatever is at stake. A utility weighs it: the
# run costs little beside what success is worth, so that it pays from a small probability on.

# %%
print(bs.decide(found.draws, worth, review))

# %% [markdown]
# The two rules disagree about the same draws. Neither is wrong: they answer different questions, and whoever decides has
# to say which of them is meant.
#
# ## Which pilot run would settle it?
#
# The 6.7B model would cost about a quarter of the planned run, smaller ones less. `next_runs` ranks the pilots: by what
# each takes off the variance of the forecast, and by what it is worth to the decision, in dollars, before it is made.

# %%
pilots = pd.DataFrame({"flops": [1.1e21, 2.5e21, 6.3e21]})
budget = 6.3e21 * price.price
weighed = bs.next_runs(found.fit, pilots, target=worth, at=planned, budget=budget, cost=price, batch=False)
weighed[["flops", "cost", "sd_before", "sd_after", "variance_removed", "value"]].round(3)

# %% [markdown]
# A second run at the largest size seen takes off some of the variance and is worth less than it costs. The 6.7B model,
# the dearest, takes off most of it, and is worth ten times what it costs, in expectation and if the model is right.
#
# ## After the pilot
#
# The 6.7B model was trained. Here is the forecast with it, and what the 13B model came to.

# %%
more = family[family.params < 1e10].reset_index(drop=True)
after = bs.forecast(more, planned, target=target, progress=False)
both = pd.concat({"before the pilot": bs.summarize(found.draws), "after it": bs.summarize(after.draws)}).droplevel(1)
both["P(loss <= 1.60)"] = [float((one.draws["loss"] <= 1.60).mean()) for one in (found, after)]
both["published"] = family.loss.iloc[-1]
both[["median", "lower", "upper", "P(loss <= 1.60)", "published"]].round(3)

# %%
print(bs.decide(after.draws, worth, after.review))

# %% [markdown]
# The interval became less than half as wide and still holds the published loss, at its lower end: this family did better
# at its last step than its earlier ones foretold. The pilot settled nothing: it changed neither verdict, and moved the
# probability down before a success. What was worth ten times its cost was so on average over what it might have shown.
#
# The rule of 90 % would have said no twice, and the run would have met the target. One in five happens; a single case
# cannot tell whether one in five was right. The utility said go both times.
#
# ## The page for the meeting
#
# One HTML file without a script: verdict, forecast, evidence, what would change the answer, provenance. It is by the rule
# that the meeting decides by, here what the outcomes are worth.

# %%
report = bs.decision_report(found.fit, planned, target=worth, backtest=test, title="Cerebras-GPT 13B")
with tempfile.TemporaryDirectory() as folder:
    page = bs.write_report(report, Path(folder) / "report.html")
    print(f"{page.name}: {page.stat().st_size / 1e3:.0f} kB")
print(report)

# %% [markdown]
# What to take from this:
#
# - Write the target, the probability and the stakes down first.
# - A probability far from 0 and 1 is an answer: the runs do not tell. `next_runs` says which run would.
# - A threshold rule and a utility can disagree on the same draws. The report shows the probability and the line, so that
#   both can be read off.
