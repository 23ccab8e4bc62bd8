"""The model card, written from ``training.json`` so that it cannot disagree with it."""

from __future__ import annotations

from typing import Any

from wheresight.pocket.scenes import CELLS

_HEAD = """---
license: apache-2.0
library_name: transformers
pipeline_tag: image-text-to-text
tags: [{kind}, emoji, tiny, interpretability]
---

# The pocket LVLM

A small vision-language model of a stock class, trained from scratch by the wheresight project on
scenes made of emoji and coloured shapes. It exists so that experiments on *where* a model looks run
in minutes on a laptop. It is no product: it knows {names} things and nothing else.

{about}.

    from transformers import AutoModelForImageTextToText, AutoProcessor
    model = AutoModelForImageTextToText.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder)

## Data and licences

{emoji} emoji in two styles, 64 px, from the npm packages `emoji-datasource-google` (Noto Emoji,
Google LLC, Apache-2.0) and `emoji-datasource-twitter` (Twemoji, Twitter, Inc and other
contributors, CC-BY 4.0), and {shapes} coloured shapes drawn by this package; in the last part of
the training {drawn} shapes as the benchmark 2DS draws them (none of its pictures). Names are the
Unicode names, some of them shortened. The weights hold nothing from any other model.

## What it can be asked

Is a thing there ({matches} wordings, the question of the BaPA paper word for word among them);
what is this; what is at a cell ("top left"); where is a thing; is one thing left of, right of,
above or below another; what color, what shape, or what is at a side of a picture of shapes, or
left of, right of, above or below one of them. Where things are, and all about shapes, it can be
asked with a list of answers to choose from, too. Answers: `Yes`, `No`, `the red apple`, `top left`,
`nothing`, `red`, `star`, `red star`.

"""


def render_card(training: dict[str, Any]) -> str:
    """Markdown of the model card; ``training`` is what ``training.json`` holds."""
    from wheresight.pocket.architectures import architecture
    from wheresight.pocket.language import MATCHES
    from wheresight.pocket.shape_scenes import NAMES

    names = training["names"]
    kind = training["recipe"].get("architecture", "llava")
    text = _HEAD.format(
        kind=kind,
        names=names["all"],
        emoji=names["emoji"],
        shapes=names["all"] - names["emoji"],
        matches=len(MATCHES),
        about=architecture(kind).about,
        drawn=len(NAMES),
    )
    text += _recipe(training) + _curves(training)
    evaluation = training.get("evaluation")
    text += _evaluation(evaluation) if evaluation else "## Measured\n\nNot measured.\n\n"
    if training.get("notes"):
        text += "## Notes on this run\n\n" + "\n".join(f"- {n}" for n in training["notes"]) + "\n\n"
    return text + _LIMITS


def _recipe(training: dict[str, Any]) -> str:
    from wheresight.pocket.recipe import Recipe
    from wheresight.pocket.train_shapes import share_at_cell, stage_of

    recipe, parts, seconds = training["recipe"], training["parameters"], training["seconds"]
    kind = recipe.get("architecture", "llava")
    option = "" if kind == "llava" else f" --architecture {kind}"
    rounds = recipe.get("shape_rounds", 1)
    before, last = (share_at_cell(stage_of(Recipe(**recipe), turn)) for turn in (0, rounds - 1))
    again = (
        f"   All of this in {rounds} rounds, on new scenes each; in the last, {last:.0%} of the\n"
        f"   questions about other pictures ask what is at a cell ({before:.0%} before).\n"
        if rounds > 1
        else ""
    )
    return f"""## Recipe

{parts["all"] / 1e6:.1f} M parameters (tower {parts["tower"] / 1e6:.1f}, projector
{parts["projector"] / 1e6:.2f}, decoder {parts["decoder"] / 1e6:.1f}); {recipe["image_size"]} px
pictures, {(recipe["image_size"] // recipe["patch_size"]) ** 2} image tokens; seed {recipe["seed"]}.
`wheresight pocket train{option}` follows this recipe; it took {seconds["all"] / 60:.0f} minutes on
{recipe["threads"]} core{"s" * (recipe["threads"] > 1)} (tower {seconds["tower"] / 60:.0f}, decoder
{seconds["decoder"] / 60:.0f}, shapes {seconds.get("shapes", 0) / 60:.0f}). Every number is in
`training.json`.

1. Tower and projector, {recipe["tower_steps"]:,} steps of {recipe["tower_batch"]} pictures: each
   covered patch must point at its thing's name (mean of the name's word embeddings, norm about
   {recipe["embedding_std"] * recipe["width"] ** 0.5:.1f}), and tell its own place.
2. The projector is scaled to the length of the words. A least-squares readout of each token's
   place (x, y, and their squares; error {training["place_error"]:.3f} of their variance) is added
   to its last layer along four fixed random directions, {recipe["place_share"]:.0%} as long as the
   rest: the tower knows the place but writes it too small for the decoder to learn from. Then
   tower and projector are frozen.
3. Decoder, {recipe["decoder_steps"]:,} steps of {recipe["decoder_batch"]} pictures with
   {recipe["questions"]} questions each, all in parallel: every question sees the picture and
   itself. Few things and short wordings first, then what is at a cell, then where a named thing
   is, then how two named things stand to each other.
   {recipe["multi_turn_share"]:.0%} of the steps are true conversations.
4. Tower and projector again, {recipe["shape_tower_steps"]:,} steps, {recipe["shape_share"]:.0%} of
   the pictures of shapes in ten colours, 44 to 110 px on 336 px; the place in each token and the
   tokens' length are held. Then the decoder again, {recipe["shape_decoder_steps"]:,} steps:
   {recipe["shape_share"]:.0%} on shapes with {recipe["shape_questions"]} questions each, the others
   as before, {recipe["options_share"]:.0%} of their questions with the answers to choose from.
{again}
Scenes are natural: one to a few things (at most 5 for the decoder, 6 for the tower), centres drawn
from a normal distribution around the middle (standard deviation {recipe["centre_spread"]:.0%} of
the side), sizes and backgrounds varied; {recipe["grid_share"]:.0%} are grids of 2 to 9 things. No
preference for a place was planted, and none was removed.

"""


def _curves(training: dict[str, Any]) -> str:
    text = "## Learning curves\n\n"
    columns = {
        "tower": ("loss", "patches_right", "background_right", "cosine", "place_error"),
        "decoder": ("loss", "yes_no", "words"),
    }
    for phase, curve in training["curves"].items():
        keys = columns[phase.split(",")[0]]
        every = max(1, len(curve) // 12)
        points = [*curve[:-1:every], curve[-1]] if curve else []
        text += f"{phase}\n\n| step | minutes | {' | '.join(keys)} |\n|{'---|' * (len(keys) + 2)}\n"
        for point in points:
            values = " | ".join(f"{point.get(key, float('nan')):.3f}" for key in keys)
            text += f"| {point['step']:.0f} | {point['seconds'] / 60:.1f} | {values} |\n"
        text += "\n"
    return text


def _evaluation(evaluation: dict[str, Any]) -> str:
    text = "## Measured on the saved folder\n\n"
    text += "Known pictures and names, new scenes.\n\n"
    text += "| bar | wanted | measured | met |\n|---|---|---|---|\n"
    for name, bar in evaluation["bars"].items():
        met = "yes" if bar["met"] else "**no**"
        text += f"| {name} | {bar['bar']:.2f} | {bar['measured']:.3f} | {met} |\n"
    text += "\n3x3 grids of emoji (nine 270 px tiles on 840 px, absent captions drawn at random "
    text += "or, in the last block, look-alikes of the tile):\n\n"
    text += f"| question | measure | {' | '.join(CELLS)} | mean |\n|{'---|' * 12}\n"
    for name, grid in evaluation["grid"].items():
        hits = " | ".join(f"{value:.3f}" for value in grid["hit"])
        aucs = " | ".join(f"{value:.3f}" for value in grid["auc"])
        margins = " | ".join(f"{value:.2f}" for value in grid["margin"])
        text += (
            f"| {name} | hit rate (n = {grid['n_per_cell']}) | {hits} | {grid['hit_mean']:.3f} |\n"
        )
        text += f"| {name} | AUC | {aucs} | {grid['auc_mean']:.3f} |\n"
        text += f"| {name} | mean margin | {margins} | {sum(grid['margin']) / 9:.2f} |\n"
        text += f"| {name} | false alarms {'| ' * 9}| {grid['false_alarm']:.3f} |\n"
        text += f"| {name} | balanced accuracy {'| ' * 9}| {grid['balanced_accuracy']:.3f} |\n"
    text += "\nWhatever differs between the cells was not planted; it came with the training.\n"
    text += "\nNatural scenes of one to four things, share of whole answers right:\n\n"
    text += "| task | short wording | n | long wordings | n |\n|---|---|---|---|---|\n"
    short, long = evaluation["tasks"]["short"], evaluation["tasks"]["long"]
    empty = {"accuracy": float("nan"), "n": 0}
    for task in short:
        a, b = short[task], long.get(task, empty)
        text += f"| {task} | {a['accuracy']:.3f} | {a['n']:.0f} "
        text += f"| {b['accuracy']:.3f} | {b['n']:.0f} |\n"
    text += "\nNew pictures of two to six shapes, all wordings mixed, share of whole answers "
    text += "right:\n\n| category | right | n |\n|---|---|---|\n"
    for category, row in evaluation["shapes"].items():
        text += f"| {category} | {row['accuracy']:.3f} | {row['n']:.0f} |\n"
    return text + "\n"


_LIMITS = """## Limits

It knows its own pictures, at about 18 px and larger in a 96 px frame, on plain or soft
backgrounds. Photographs, other drawings, other names, and questions in other words are out of its
reach; it will answer them anyway. Counting, colours of emoji, and text in pictures were not taught.
Pieces of the tokenizer cover the paper's two fixed sentences whole, so the question is about ten
tokens long; token-level findings on those sentences do not carry over to other models.
"""
