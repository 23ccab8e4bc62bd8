"""The seven kinds of relation by which VSR reports (Liu, Emerson and Collier, TACL 2023).

The table is that of the release. It names `among` twice, under Topological and Unallocated, and the
release counts it under the second, so we do too.
"""

from __future__ import annotations

# A relation that the release does not list, which its script leaves out of its numbers.
UNLISTED = "Unlisted"

KINDS = {
    "Adjacency": (
        "adjacent to", "alongside", "at the side of", "at the right side of",
        "at the left side of", "attached to", "at the back of", "ahead of", "against",
        "at the edge of",
    ),
    "Directional": (
        "off", "past", "toward", "down", "deep down", "up", "away from", "along", "around", "from",
        "into", "to", "across", "across from", "through", "down from",
    ),
    "Orientation": ("facing", "facing away from", "parallel to", "perpendicular to"),
    "Projective": (
        "on top of", "beneath", "beside", "behind", "left of", "right of", "under", "in front of",
        "below", "above", "over", "in the middle of",
    ),
    "Proximity": ("by", "close to", "near", "far from", "far away from"),
    "Topological": (
        "connected to", "detached from", "has as a part", "part of", "contains", "within", "at",
        "on", "in", "with", "surrounding", "consists of", "out of", "between", "inside", "outside",
        "touching",
    ),
    "Unallocated": ("beyond", "next to", "opposite to", "after", "among", "enclosed by"),
}  # fmt: skip
_KIND = {relation: kind for kind, relations in KINDS.items() for relation in relations}


def kind_of(relation: str) -> str:
    """The kind of a relation as it is written in the rows.

    >>> kind_of("left of")
    'Projective'
    """
    return _KIND.get(" ".join(relation.split()).casefold(), UNLISTED)
