"""What a model of capability sees of a table of scores: arrays only, so that tables of like shape share a program."""

from __future__ import annotations

from dataclasses import dataclass

import jax

from bayescale.models.design import Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class EvalsDesign:
    """A table of scores; models are sorted by family, and padded.

    The scores of a model are cells (repeat, slot): the slot is the place of the task among those of the family, several scores
    of a model on a task are repeats.

    Parameters
    ----------
    y, per_item, start : float array (repeat, slot, model)
        Score; 1 over the number of items (0 where not known); logit to start the search for the mode from.
    mask : bool array (repeat, slot, model)
    task : int array (slot, model)
    prompt, source : int array (repeat, slot, model)
        1 + way of prompting, 1 + pair of task and source; 0 where it has no effect.
    family, place : int array (model,)
        Which family, and which of its models.
    members : int array (family, place)
        Each family's models; the number of models where it has no more.
    x : float array (covariate, model)
        Covariates, 0 where they are not known.
    unknown : float array (latent, covariate, model)
        How covariates depend on the standard normal quantities that stand for what is not known of the model.
    prompts, sources : float array (prompt,), (pair,)
        As many as there are; their values are not used.
    floor_loc, floor_scale : float array (floor,)
        Prior of the logarithm of each floor that is free.
    slots : int array (family, slot)
        Task at each place.
    chance, ceiling_loc, ceiling_scale, ceiling : float array (task,)
        Chance rate; prior of the logit of the ceiling's share of what is above chance; the ceiling itself where the scale is 0.
    floor : int array (task,)
        1 + place among the floors that are free; 0 where the floor is the chance rate.
    """

    y: Array
    per_item: Array
    start: Array
    mask: Array
    task: Array
    prompt: Array
    source: Array
    family: Array
    place: Array
    members: Array
    x: Array
    unknown: Array
    prompts: Array
    sources: Array
    floor_loc: Array
    floor_scale: Array
    slots: Array
    chance: Array
    ceiling_loc: Array
    ceiling_scale: Array
    ceiling: Array
    floor: Array
