"""The fenced blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"# (\S+\.(?:py|toml|jsonl))\n")


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        page: where it stands.
        line: of its first line of content, from 1.
        language: what stands behind the fence.
        text: its content.
    """

    page: Path
    line: int
    language: str
    text: str

    @property
    def file(self) -> str | None:
        """The file that the block is, if its first line names one."""
        match = _FILE.match(self.text)
        return match[1] if match else None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks(page: Path, *languages: str) -> list[Block]:
    """The blocks of a page in these languages, in order; all blocks if none is named."""
    text = page.read_text("utf-8")
    found = []
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        block = Block(page, line, match[1].strip(), match[2])
        if not languages or block.language in languages:
            found.append(block)
    return found


def commands(block: Block) -> list[str]:
    """The commands of a shell block, one a line, without comments; continued lines are joined."""
    text = re.sub(r"\\\n\s*", " ", block.text)
    lines = [re.sub(r"(^|\s)#\s.*$", "", line).strip() for line in text.splitlines()]
    return [line for line in lines if line]
