"""Options that several verbs share, each written once."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wheresight.cli.batch_size import read_batch_size
from wheresight.cli.names import complete_intervention, complete_model

Model = Annotated[
    str,
    typer.Option(
        help="pocket, pocket-qwen, pocket-gemma, a folder, a hub id of a supported LVLM, or "
        "skeleton:NAME for random weights (see: wheresight list models).",
        autocompletion=complete_model,
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(help="Folder of a trained adapter (see: wheresight train)."),
]
Source = Annotated[
    str,
    typer.Option(
        help="Image-caption pairs: pocket, folder:PATH, parquet:PATH, dataset:NAME\\[@split], "
        "webdataset:PATTERN."
    ),
]
Question = Annotated[
    str, typer.Option(help="paper, contains, short, or your own text with {caption}.")
]
Grid = Annotated[str, typer.Option(help="Rows x columns, 1x2 to 8x8.")]
Layout = Annotated[
    str,
    typer.Option(help="swap: the key trades places; insert: the others slide, as published."),
]
Canvas = Annotated[
    int | None,
    typer.Option(help="Side of the composite in pixels. Default: the tower's size, else 840."),
]
Tile = Annotated[
    int | None, typer.Option(help="Side of one picture's box in pixels. Default: what fits.")
]
Background = Annotated[str, typer.Option(help="Colour name or #rrggbb.")]
ImageColumn = Annotated[
    str | None, typer.Option(help="Column with pictures. Default: found by name.")
]
CaptionColumn = Annotated[
    str | None, typer.Option(help="Column with captions. Default: found by name.")
]
Sample = Annotated[
    int | None, typer.Option(help="Keep only so many pairs of the source, drawn by the seed.")
]
SkipBad = Annotated[
    bool, typer.Option("--skip-bad", help="Pass over pictures and captions that are unusable.")
]
Dtype = Annotated[str, typer.Option(help="float32, bfloat16, float16 or float64.")]
Device = Annotated[
    str | None, typer.Option(help="cpu, cuda:0, ... Default: the accelerator, if there is one.")
]
Attention = Annotated[str, typer.Option(help="sdpa, eager or flash_attention_2.")]
AutoBatchSize = Annotated[
    Any,
    typer.Option(
        parser=read_batch_size,
        metavar="N|auto",
        help="Questions in one forward pass; auto tries out what is fastest. Halved when "
        "memory runs out.",
    ),
]
Replicates = Annotated[int, typer.Option(help="Bootstrap replicates.")]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
]
AllowPickle = Annotated[
    bool, typer.Option("--allow-pickle", help="Accept weights that are not safetensors.")
]
Interventions = Annotated[
    list[str] | None,
    typer.Option(
        "--intervention",
        "-i",
        help="none, bapa, ... Repeat to compare several with the first. Default: what the "
        "adapter or model was trained under, else none.",
        autocompletion=complete_intervention,
    ),
]
BatchSize = Annotated[int, typer.Option(help="Questions in one forward pass.")]
RecordsFolder = Annotated[
    str, typer.Option("--out", "-o", help="Folder for records and numbers; s3://... works too.")
]
Letters = Annotated[
    bool, typer.Option("--letters", help="Put letters before the options and ask for one.")
]
MaxNewTokens = Annotated[
    int,
    typer.Option(help="Generate so many tokens and read the text too. 0: score options only."),
]
BootstrapSeed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]
