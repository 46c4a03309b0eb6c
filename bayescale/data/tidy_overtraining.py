"""Tidying of the over-trained language models of Gadre et al.: losses, and scores on downstream tasks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from bayescale.data.schema import FLOP_PER_PARAM_TOKEN

MODELS, EVALS = "exp_data/models/", "exp_data/evals/evaluation_"

#: Training sets under readable names, in the order of the table.
TRAINING_SETS = {"c4_original": "C4", "rpj": "RedPajama", "rw_original": "RefinedWeb"}

#: Evaluation sets by a part of the path that the source gives them.
EVALUATION_SETS = {
    "val_tok_mult/openlm/": "openlm",
    "/c4_val/": "c4_val",
    "/paloma_c4_en/": "paloma_c4_en",
    "/paloma_dolma_100_programing_languages/": "paloma_100pl",
    "/paloma_falcon-refinedweb/": "paloma_refinedweb",
    "/paloma_ptb/": "paloma_ptb",
    "/paloma_redpajama/": "paloma_redpajama",
    "/de-en/": "c4_german",
}

#: Chinchilla multipliers count from 20 tokens a parameter.
TOKENS_PER_PARAM_AT_ONE = 20.0

#: The metadata repeat the size of ARC-Easy; the scores show the true one.
ITEMS_CORRECTED = {"arc_challenge": 1172}

#: Tasks whose score is a mean over sub-topics, so that score times items is no count.
MEANS = ("bbq", "jeopardy", "mmlu", "mmlu_zeroshot")

#: Tasks that the paper averages.
SUBSET = (
    "arc_easy",
    "bigbench_cs_algorithms",
    "bigbench_dyck_languages",
    "bigbench_novel_concepts",
    "bigbench_operators",
    "bigbench_qa_wikidata",
    "boolq",
    "commonsense_qa",
    "copa",
    "coqa",
    "hellaswag",
    "hellaswag_zeroshot",
    "lambada_openai",
    "piqa",
    "pubmed_qa_labeled",
    "squad",
    "winograd",
)


def overtraining(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a model, with its loss on each evaluation set and the source's bootstrap interval."""
    rows = []
    for path, file in sources.items():
        if path.startswith(MODELS):
            rows.append(_run(json.loads(file.read_text(encoding="utf-8"))))
    table = pd.DataFrame(rows)
    order = [*TRAINING_SETS.values()]
    table["place"] = table["dataset"].map(order.index)
    return table.sort_values(["place", "params", "tokens"], ignore_index=True).drop(columns="place")


def overtraining_downstream(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a model and task."""
    runs = overtraining(sources)
    keys = ["run_id", "dataset", "params", "tokens", "token_multiplier", "loss_nats_c4_val"]
    scores = []
    for run_id in runs["run_id"]:
        record = json.loads(sources[f"{EVALS}{run_id}_heavy.json"].read_text(encoding="utf-8"))
        scores += [{"run_id": run_id, "task": task, "raw": raw} for task, raw in record["eval_metrics"]["icl"].items()]
    table = runs[keys].merge(pd.DataFrame(scores), on="run_id").merge(_tasks(sources), on="task")
    counted = (table["raw"] * table["n_items"]).round() / table["n_items"]
    table["accuracy"] = table["raw"].where(table["n_items_exact"] == 0, counted).round(7)
    return table.drop(columns="raw").sort_values("task", kind="stable", ignore_index=True)


def _run(record: Mapping[str, Any]) -> dict[str, Any]:
    setting = record["hyperparameters"]
    arguments = record["open_lm_args"]
    params, tokens = setting["params"], setting["tokens"]
    row = {
        "run_id": record["name"],
        "dataset": TRAINING_SETS[record["dataset_name"]],
        "model": Path(setting["model"]).stem if setting["model"].endswith(".json") else setting["model"],
        "params": params,
        "params_non_embedding": setting["params_no_embed"],
        "tokens": tokens,
        "token_multiplier": TOKENS_PER_PARAM_AT_ONE * setting["chinchilla_multiplier"],
        "flops": FLOP_PER_PARAM_TOKEN * params * tokens,
        "learning_rate": setting["lr"],
        "weight_decay": setting["wd"],
        "warmup_steps": setting["warmup"],
        "batch_size_sequences": setting["global_bs"],
        "seed": int(arguments[arguments.index("--seed") + 1]),
    }
    for result in record["results"]:
        (name,) = [short for part, short in EVALUATION_SETS.items() if part in result["val_data"][0]]
        row[f"loss_nats_{name}"] = round(result["loss"], 6)
        row[f"loss_ci95_lo_{name}"] = round(result["loss_sequences_lower_95"], 6)
        row[f"loss_ci95_hi_{name}"] = round(result["loss_sequences_upper_95"], 6)
    return row


def _tasks(sources: Mapping[str, Path]) -> pd.DataFrame:
    """What is known of each task."""
    raw = pd.read_csv(sources["exp_data/eval_metadata.csv"])
    task = raw["Eval Task"]
    return pd.DataFrame(
        {
            "task": task,
            "category": raw["Task Category"].str.replace(" ", "_"),
            "task_type": raw["Task Type"].str.replace(" ", "_"),
            "shots": raw["#shots"],
            "n_items": task.map(ITEMS_CORRECTED).fillna(raw["#datapoints"]).astype(int),
            "n_items_exact": (~task.isin(MEANS)).astype(int),
            "chance": raw["Random baseline"] / 100,
            "in_17_subset": task.isin(SUBSET).astype(int),
        }
    )
