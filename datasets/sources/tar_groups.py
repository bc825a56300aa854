"""Members of a tar that belong together: one key's photographs, and which of their neighbours label which of them.

Which entries these become is left to `tars`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

from ..depth import MEMBER as DEPTH
from ..tar_members import Member
from .names import PICTURES

SIDECARS = {"mask": "mask.png", "parsing": "seg.png", "depth": DEPTH, "camera": "cam.json", "record": "json"}
"""Kind of sidecar -> its suffix."""


@dataclass
class Group:
    """The members of one key."""

    folder: str
    key: str
    members: dict[str, list[Member]] = field(default_factory=dict)
    """What follows the key in lower case, such as ".cam.json" -> the members of that name."""

    def add(self, suffix: str, member: Member) -> None:
        """Take a member in, under what follows the key."""
        self.members.setdefault(suffix.lower(), []).append(member)


def parts_of(member: Member) -> list[str]:
    """Return the parts of a member's name."""
    return [part for part in member.name.split("/") if part not in ("", ".")]


def key_of(parts: list[str]) -> tuple[str, str]:
    """Return (folder with a slash, key): the key ends at the first dot of the last part."""
    folder = "/".join(parts[:-1])
    return folder + "/" if folder else "", parts[-1].partition(".")[0]


def _stem(suffix: str) -> str:
    """Return a suffix without its last ending: ".input.jpg" -> ".input"."""
    return suffix.rpartition(".")[0]


@dataclass(frozen=True)
class Label:
    """What lies beside a picture."""

    suffix: str
    clear: bool
    """Whether no other picture could claim it."""


def sorted_out(group: Group) -> tuple[dict[str, list[Member]], dict[str, list[Member]]]:
    """Part a group's members into files to decode (which tells what they are, as in a folder) and labels beside pictures."""
    endings = tuple(f".{ending}" for ending in SIDECARS.values())
    beside = {suffix: copies for suffix, copies in group.members.items() if suffix.endswith(endings)}
    return {suffix: copies for suffix, copies in group.members.items() if suffix not in beside}, beside


def labels_beside(suffix: str, pictures: Iterable[str], beside: Container[str]) -> dict[str, Label]:
    """Return kind of sidecar -> its suffix for one picture: of the picture's own name, else of the key.

    Rights may hold for several pictures; a camera, mask or map belongs to one.
    """
    named = [other for other in pictures if other.rpartition(".")[2] in PICTURES] or list(pictures)
    stem, found = _stem(suffix), dict[str, Label]()
    for kind, ending in SIDECARS.items() if suffix in named else ():
        if f"{stem}.{ending}" in beside:
            found[kind] = Label(f"{stem}.{ending}", kind == "record" or [_stem(other) for other in named].count(stem) == 1)
        elif f".{ending}" in beside:
            found[kind] = Label(f".{ending}", kind == "record" or len(named) == 1)
    return found
