"""Tidying of the benchmark scores of public models that Ruan et al. gathered."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bayescale.data.schema import FLOP_PER_PARAM_TOKEN

FOLDER = "eval_results"

#: Columns of the standard benchmarks, under our names.
BENCHMARKS = {
    "MMLU": "mmlu",
    "ARC-C": "arc_challenge",
    "HellaSwag": "hellaswag",
    "Winograd": "winogrande",  # of base models; the chat models' table says Winogrande
    "Winogrande": "winogrande",
    "TruthfulQA": "truthfulqa_mc2",
    "GSM8K": "gsm8k",
    "XWinograd": "xwinograd",
    "HumanEval": "humaneval",
}

#: Tokens above this are a slip of the source (BTLM-3B: 627T for 627B).
SUSPECT_TOKENS = 1e14

#: Column of the source, task, metric, number of items and chance rate of the emergent tasks.
EMERGENT = (
    ("arithmetic_2da_2_acc", "arithmetic_2digit_addition", "acc", 2000, 0.0),
    ("arithmetic_2dm_2_acc", "arithmetic_2digit_multiplication", "acc", 2000, 0.0),
    ("arithmetic_3da_2_acc", "arithmetic_3digit_addition", "acc", 2000, 0.0),
    ("arithmetic_3ds_2_acc", "arithmetic_3digit_subtraction", "acc", 2000, 0.0),
    ("ipa_transliterate_2_bleu", "ipa_transliterate", "bleu", None, None),
    ("ipa_transliterate_2_exact_match", "ipa_transliterate", "exact_match", None, 0.0),
    ("parsinlu_qa_2_acc", "parsinlu_qa", "acc", 1050, 0.25),
    ("word_unscrambling_2_exact_match", "word_unscrambling", "exact_match", 2000, 0.0),
)

#: Answers to choose from in the tasks of BIG-Bench Hard; the others are answered freely.
BBH_OPTIONS = {
    "boolean_expressions": 2,
    "causal_judgement": 2,
    "date_understanding": 6,
    "disambiguation_qa": 3,
    "formal_fallacies": 2,
    "geometric_shapes": 9,
    "hyperbaton": 2,
    "logical_deduction_five_objects": 5,
    "logical_deduction_seven_objects": 7,
    "logical_deduction_three_objects": 3,
    "movie_recommendation": 5,
    "navigate": 2,
    "penguins_in_a_table": 5,
    "reasoning_about_colored_objects": 18,
    "ruin_names": 4,
    "salient_translation_error_detection": 6,
    "snarks": 2,
    "sports_understanding": 2,
    "temporal_sequences": 4,
    "tracking_shuffled_objects_five_objects": 5,
    "tracking_shuffled_objects_seven_objects": 7,
    "tracking_shuffled_objects_three_objects": 3,
    "web_of_lies": 2,
}
BBH_ITEMS, BBH_FEWER_ITEMS = 250, {"causal_judgement": 187, "penguins_in_a_table": 146, "snarks": 178}
GSM8K_ITEMS = 500  # the source evaluated a subset

#: Ways of prompting for GSM8K by the source's name for them.
GSM8K_METHODS = {
    "gsm8k_5": "direct",
    "gsm8k_cot_8": "cot",
    "gsm8k_cot_zeroshot_0": "cot_zeroshot",
    "gsm8k_cot_self_consistency_8": "cot_sc",
}


def observational(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a base model, with its scores on the standard benchmarks."""
    raw = _read(sources, "base_llm_benchmark_eval.csv")
    table = _models(raw)
    table["suspect_tokens"] = (table["tokens"] > SUSPECT_TOKENS).astype(int)
    return table.join(_benchmarks(raw, 7))


def observational_emergent(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a base model, task and metric, on tasks that small models cannot do."""
    raw = _read(sources, "base_llm_emergent_capability_eval.csv")
    parts = [
        pd.DataFrame(
            {
                "model": raw["Model"],
                "task": task,
                "metric": metric,
                "shots": 2,
                "n_items": float("nan") if items is None else items,
                "chance": float("nan") if chance is None else chance,
                "score": (raw[column] / (100 if metric == "bleu" else 1)).round(7),
            }
        )
        for column, task, metric, items, chance in EMERGENT
    ]
    long = pd.concat(parts, ignore_index=True).dropna(subset="score")
    return _with_models(sources, long, ["task", "metric", "family", "model"])


def observational_post_training(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a base model, task and way of prompting, scores by flexible extraction of the answer."""
    raw = _read(sources, "base_llm_post_training_eval.csv")
    parts = []
    for column in raw.columns:
        name, _, how = column.partition("_exact_match,")
        if not how.endswith("flexible-extract") or "overall" in name:
            continue
        task, method, shots, items, chance = _prompting(name, how)
        accuracy = raw[column]
        count = accuracy * items
        whole = (count - count.round()).abs() < 1e-3
        parts.append(
            pd.DataFrame(
                {
                    "model": raw["Model"],
                    "task": task,
                    "method": method,
                    "shots": shots,
                    "n_items": items,
                    "count_is_integer": whole.astype(int),
                    "chance": round(chance, 6),
                    "accuracy": accuracy.round(6),
                }
            )
        )
    long = pd.concat(parts, ignore_index=True).dropna(subset="accuracy")
    return _with_models(sources, long, ["task", "method", "family", "model"])


def observational_agent(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a chat model, with its scores on the standard benchmarks and as an agent."""
    raw = _read(sources, "instruct_llm_benchmark_eval.csv")
    table = _models(raw)
    table["arena_elo_norm"] = raw["Arena-Elo"].round(6)
    table["mtbench_norm"] = raw["MTBench"].round(6)
    table = table.join(_benchmarks(raw, 6))
    agent = _read(sources, "instruct_llm_agent_eval.csv").rename(columns={"Model": "model"})
    agent.columns = [column.lower().replace("-", "_").replace(" ", "_") for column in agent.columns]
    return table.merge(agent, on="model", how="left").sort_values(["family", "model"], ignore_index=True)


def _read(sources: Mapping[str, Path], name: str) -> pd.DataFrame:
    return pd.read_csv(sources[f"{FOLDER}/{name}"])


def _models(raw: pd.DataFrame) -> pd.DataFrame:
    """What is known of each model: family, size, data and compute."""
    params, tokens = 1e9 * raw["Model Size (B)"], (1e12 * raw["Pretraining Data Size (T)"]).round()
    return pd.DataFrame(
        {
            "model": raw["Model"],
            "family": raw["Model Family"],
            "params": params.round(),
            "tokens": tokens,
            "flops": FLOP_PER_PARAM_TOKEN * params * tokens,
        }
    )


def _benchmarks(raw: pd.DataFrame, digits: int) -> pd.DataFrame:
    held = {column: name for column, name in BENCHMARKS.items() if column in raw}
    return raw[list(held)].rename(columns=held).round(digits)


def _with_models(sources: Mapping[str, Path], long: pd.DataFrame, order: list[str]) -> pd.DataFrame:
    """A table of scores behind what is known of the models, in that order."""
    models = _models(_read(sources, "base_llm_benchmark_eval.csv"))
    return models.merge(long, on="model", how="inner").sort_values(order, ignore_index=True)


def _prompting(name: str, how: str) -> tuple[str, str, int, int, float]:
    """Task, way of prompting, examples shown, number of items and chance rate, from a column of the source."""
    stem, _, shots = name.rpartition("_")
    if name in GSM8K_METHODS:
        method = GSM8K_METHODS[name]
        if method == "cot_sc":
            method += "_first" if how.startswith("score-first") else "_maj5"
        return "gsm8k", method, int(shots), GSM8K_ITEMS, 0.0
    method = "cot" if stem.startswith("bbh_cot_") else "direct"
    task = stem.removeprefix("bbh_").removeprefix("cot_").removeprefix("fewshot_")
    chance = 1 / BBH_OPTIONS[task] if task in BBH_OPTIONS else 0.0
    return f"bbh_{task}", method, int(shots), BBH_FEWER_ITEMS.get(task, BBH_ITEMS), chance
