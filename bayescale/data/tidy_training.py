"""Tidying of public tables of training runs: Chinchilla, Step Law, routed models, CLIP and MaMMUT."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from bayescale.data.schema import FLOP_PER_PARAM_TOKEN, Floats

#: A second calibration of the figure's y axis, in pixels and parameters (commented out in the source's notebook).
CHINCHILLA_ALT_AXIS = ((26.872, 1e11), (322.703, 1e8))

#: The replication leaves out the runs with the largest losses.
CHINCHILLA_DROPPED = 5

#: Length of the sequences that Step Law counts its batches in.
STEPLAW_SEQUENCE = 2048

IMAGENET_ITEMS, IMAGENET_CHANCE = 50_000, 0.001


def significant(values: Any) -> Floats:
    """Seven significant digits: the precision that the tables are kept to, well above that of the figures in them."""
    return np.array([float(f"{value:.6e}") for value in np.asarray(values, dtype=np.float64)])


def chinchilla(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a dot of Hoffmann et al., Figure 4, as read from the figure by Besiroglu et al."""
    raw = pd.read_csv(sources["data/svg_extracted_data.csv"])
    params, flops = raw["Model Size"], raw["Training FLOP"]
    (low, at_low), (high, at_high) = CHINCHILLA_ALT_AXIS
    alternative = at_low * (at_high / at_low) ** ((raw["y"] - low) / (high - low))
    return pd.DataFrame(
        {
            "run_id": np.arange(len(raw)),
            "params": significant(params),
            "flops": significant(flops),
            "tokens": significant(flops / (FLOP_PER_PARAM_TOKEN * params)),
            "loss_nats": raw["loss"].round(6),
            "dropped_by_replication": (raw["loss"].rank(ascending=False, method="first") <= CHINCHILLA_DROPPED).astype(int),
            "color_hex": raw["color"],
            "svg_x_px": raw["x"],
            "svg_y_px": raw["y"],
            "params_alt_axis": significant(alternative),
        }
    )


def hyperparameters(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a run of Step Law's grids of learning rate and batch size, dense models first."""
    dense = pd.read_csv(sources["data/dense_lr_bs_loss.csv"]).assign(architecture="dense", nume=1, topk=1)
    dense = dense.assign(Na=dense["N"], moeh=np.nan)
    mixed = pd.read_csv(sources["data/moe_lr_bs_loss.csv"]).assign(architecture="moe")
    order = ["N", "Na", "D", "lr", "bs"]
    raw = pd.concat([part.sort_values(order, kind="stable") for part in (dense, mixed)], ignore_index=True)
    return pd.DataFrame(
        {
            "run_id": [f"r{i:04d}" for i in range(len(raw))],
            "architecture": raw["architecture"],
            "params_non_embedding": raw["N"],
            "params_active": raw["Na"],
            "tokens": raw["D"],
            "learning_rate": raw["lr"],
            "batch_size_sequences": raw["bs"],
            "batch_size_tokens": STEPLAW_SEQUENCE * raw["bs"],
            "steps": raw["ti"],
            "d_model": raw["h"],
            "d_ffn": raw["ffnh"],
            "n_heads": raw["numh"],
            "n_layers": raw["numl"],
            "n_experts": raw["nume"],
            "experts_per_token": raw["topk"],
            "d_expert": raw["moeh"],
            "loss_nats": raw["loss"].round(6),
            "loss_nats_smoothed": raw["smooth loss"].round(6),
        }
    )


def routed_moe(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a model of Clark et al., at its last recorded step."""
    curves = pd.read_csv(sources["data/curves.csv.gz"])
    raw = curves.loc[curves.groupby("hyper_id")["step"].idxmax()]
    raw = raw.assign(
        architecture=raw["router_type"].str.lower().str.replace("-", "_"),
        routing_frequency=raw["routing_frequency"].round(6),
    )
    order = ["architecture", "dense_parameter_count", "num_experts", "k", "routing_frequency", "seed", "hyper_id"]
    raw = raw.sort_values(order, ignore_index=True)
    texts = ("validation", "c4", "curation_corpus", "lambada", "pile", "wikitext103")
    return pd.DataFrame(
        {
            "run_id": raw["hyper_id"],
            "architecture": raw["architecture"],
            "step": raw["step"],
            "model_size": raw["model_size_label"],
            "params_dense": raw["dense_parameter_count"].astype(int),
            "params_total": raw["total_parameter_count"].astype(int),
            "n_experts": raw["num_experts"],
            "experts_per_token": raw["k"],
            "routing_frequency": raw["routing_frequency"],
            "ffn_flop_increase": raw["flop_increase"],
            "d_model": raw["d_model"],
            "n_layers": raw["num_blocks"],
            "n_heads": raw["num_heads"],
            "d_head": raw["kqv_size"],
            "seed": raw["seed"],
            "flops_per_step_forward": significant(raw["flops_per_step"]),
            **{f"loss_nats_{text}": raw[f"loss_{text}"].round(6) for text in texts},
        }
    )


def crossover(sources: Mapping[str, Path]) -> pd.DataFrame:
    """One row a finished run of CLIP or MaMMUT on DataComp-1.4B, whole sweep."""
    raw = pd.read_parquet(sources["scaling_laws/data/segmentation_results.parquet"])
    cell = ["namespace", "model_simple", "samples_seen"]
    raw = raw.sort_values([*cell, "lr", "global_batch_size"], kind="stable", ignore_index=True)
    best = np.zeros(len(raw), dtype=int)
    best[raw.groupby(cell)["acc1"].idxmax()] = 1
    return pd.DataFrame(
        {
            "run_id": [f"x{i:04d}" for i in range(len(raw))],
            "architecture": raw["namespace"],
            "vision_tower": raw["model_simple"],
            "dataset": raw["pretrain_dataset"].replace({"datacomp_1b": "DataComp-1.4B"}),
            "params": (1e6 * raw["model_mparams"]).round().astype(int),
            "gflops_per_sample": raw["model_gflops"],
            "samples_seen": raw["samples_seen"],
            "samples_seen_scale": raw["samples_seen_scale_pretty"],
            "compute_gflops": raw["model_gflops"] * raw["samples_seen"],
            "batch_size": raw["global_batch_size"],
            "learning_rate": raw["lr"],
            "warmup_steps": raw["warmup"],
            "steps": raw["steps"],
            "gpu_hours": raw["gpu_hours"].round(3),
            "train_contrastive_loss": raw["train_contrastive_loss"],
            "train_caption_loss": raw["train_caption_loss"],
            "imagenet1k_n_items": IMAGENET_ITEMS,
            "imagenet1k_chance": IMAGENET_CHANCE,
            "imagenet1k_accuracy": raw["acc1"],
            "imagenet1k_error": (1 - raw["acc1"]).round(5),
            "ade20k_miou": raw["miou"].round(6),
            "best_in_cell": best,
        }
    )
