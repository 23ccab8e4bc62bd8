"""Options that all trainings share, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Option(
        "--data",
        help="Conversations: .json (a list), .jsonl or .parquet, in LLaVA's form "
        "(conversations, image) or TRL's (messages, images). Rows of text alone are welcome.",
    ),
]
DataWithPictures = Annotated[
    str,
    typer.Option(
        "--data",
        help="Conversations: .json (a list), .jsonl or .parquet, in LLaVA's form "
        "(conversations, image) or TRL's (messages, images). Each row needs a picture.",
    ),
]
Images = Annotated[
    str | None, typer.Option("--images", help="Folder of the files that the data names.")
]
MicroBatch = Annotated[
    int | None,
    typer.Option(help="Rows in one forward pass. Default: the batch's largest divisor to 8."),
]
Epochs = Annotated[float | None, typer.Option(help="Passes over the rows. Default: 1.")]
SkipBad = Annotated[
    bool,
    typer.Option(
        "--skip-bad",
        help="Leave out rows that are too long or cannot be read, and draw others.",
    ),
]
Seed = Annotated[int, typer.Option(help="Of the draw, the first weights, the order.")]
Dtype = Annotated[str, typer.Option(help="float32 or bfloat16.")]
Device = Annotated[
    str | None, typer.Option(help="cpu or cuda. Default: the accelerator, if there is one.")
]
GradientCheckpointing = Annotated[
    bool | None,
    typer.Option(
        "--gradient-checkpointing/--no-gradient-checkpointing",
        help="Compute layers again in the backward pass, to save memory. Default: on an "
        "accelerator.",
    ),
]
PictureWorkers = Annotated[
    int | None,
    typer.Option(help="Processes that make rows ready; 0 makes them in this one."),
]
# Of the two stages.
StageMaxLength = Annotated[
    int | None,
    typer.Option(
        help="Tokens that a row may have, its pictures' included. Default: 2048, or the model's "
        "most if that is less. Longer rows are refused, never cut."
    ),
]
ModelFolder = Annotated[
    str, typer.Option("--out", "-o", help="Folder for the whole model; a plain model's folder.")
]
StageSamples = Annotated[int | None, typer.Option(help="Rows to draw by the seed. Default: all.")]
