"""Rebuild ``emoji.parquet`` from the two npm tarballs.

    python -m wheresight.pocket.build_emoji \\
        emoji-datasource-google-16.0.0.tgz emoji-datasource-twitter-16.0.0.tgz

Each row is one 64 px picture in one style. The pictures are stored as they come in the
packages, byte for byte, so that the licences of the originals can be checked against them.
"""

from __future__ import annotations

import argparse
import json
import tarfile
from pathlib import Path
from typing import Any

from wheresight.errors import WheresightError
from wheresight.pocket.names import known_names

LICENCES = {"google": "Apache-2.0", "twitter": "CC-BY-4.0"}
ATTRIBUTIONS = {
    "google": "Noto Emoji, Copyright Google LLC, https://github.com/googlefonts/noto-emoji",
    "twitter": "Twemoji, Copyright Twitter, Inc and other contributors, "
    "https://github.com/twitter/twemoji",
}


def read_style(tarball: Path) -> tuple[str, str, list[dict[str, Any]]]:
    """One tarball's rows: ``(style, package version, rows)``."""
    with tarfile.open(tarball, "r:gz") as archive:
        members = {member.name: member for member in archive.getmembers()}

        def read(name: str) -> bytes:
            handle = archive.extractfile(members[name]) if name in members else None
            if handle is None:
                raise WheresightError(f"{tarball}: {name} is missing")
            return handle.read()

        package = json.loads(read("package/package.json"))
        style = str(package["name"]).removeprefix("emoji-datasource-")
        if style not in LICENCES:
            raise WheresightError(f"{tarball}: expected a google or twitter package, got {style}")
        table = {entry["unified"]: entry for entry in json.loads(read("package/emoji.json"))}
        rows = []
        for known in known_names():
            entry = table[known.code]
            picture = read(f"package/img/{style}/64/{entry['image']}")
            rows.append(
                {
                    "id": f"{style}/{known.code.lower()}",
                    "group": known.code.lower(),
                    "caption": known.name,
                    "style": style,
                    "image": {"bytes": picture, "path": f"{style}-{entry['image']}"},
                    "siblings": [f"{style}/{code.lower()}" for code in known.siblings],
                    "category": entry["category"],
                    "subcategory": entry["subcategory"],
                    "licence": LICENCES[style],
                    "attribution": ATTRIBUTIONS[style],
                }
            )
    return style, str(package["version"]), rows


def build(tarballs: list[Path], out: Path) -> int:
    """Write the Parquet file; returns the number of rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[dict[str, Any]] = []
    source: dict[str, str] = {}
    for tarball in tarballs:
        style, version, style_rows = read_style(tarball)
        rows += style_rows
        source[style] = f"emoji-datasource-{style} {version} (npm), img/{style}/64"
    hub_types: dict[str, Any] = {
        name: {"dtype": "string", "_type": "Value"}
        for name in (
            "id",
            "group",
            "caption",
            "style",
            "category",
            "subcategory",
            "licence",
            "attribution",
        )
    }
    hub_types["image"] = {"_type": "Image"}
    hub_types["siblings"] = {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"}
    order = (
        "id",
        "group",
        "caption",
        "style",
        "image",
        "siblings",
        "category",
        "subcategory",
        "licence",
        "attribution",
    )
    metadata = {
        "licence": json.dumps(LICENCES),
        "attribution": json.dumps(ATTRIBUTIONS),
        "source": json.dumps(source),
        "note": "Pictures unchanged from the npm packages; names shortened by this project.",
        "huggingface": json.dumps({"info": {"features": {k: hub_types[k] for k in order}}}),
    }
    text = pa.string()
    schema = pa.schema(
        [
            ("id", text),
            ("group", text),
            ("caption", text),
            ("style", text),
            ("image", pa.struct([("bytes", pa.binary()), ("path", text)])),
            ("siblings", pa.list_(text)),
            ("category", text),
            ("subcategory", text),
            ("licence", text),
            ("attribution", text),
        ],
        metadata=metadata,
    )
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), out, compression="zstd")
    return len(rows)


def main() -> None:
    """Command line: two tarballs in, one Parquet file out."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("tarballs", type=Path, nargs=2)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "emoji.parquet")
    arguments = parser.parse_args()
    count = build(arguments.tarballs, arguments.out)
    print(f"{count} pictures, {arguments.out.stat().st_size:,} bytes, {arguments.out}")


if __name__ == "__main__":
    main()
