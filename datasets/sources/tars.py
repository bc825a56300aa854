"""Photographs inside tar files, with the camera, mask, class map and rights that lie beside them under the same key.

A tar is taken for finished heads only where the manifest of a data set says so (`finished`); any other is an archive of
photographs. Neighbours whose names agree up to the first dot are one sample (WebDataset's rule), and so are members of one key
that lie apart. Nothing is unpacked to disk, and every member that is no folder is a photograph, a label of one, or refused.
"""

from __future__ import annotations

import dataclasses
import glob
import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import BinaryIO

from ...manifests.config import brief
from ...manifests.identity import content_sha256
from ..sample import Drop, Rights, SourceImage
from ..tar_members import Member, walk_file
from .base import Refused, Source, SourceError
from .finished import FinishedShard, finished_shard
from .folder import file_stamp, guard_size, io_error, open_regular
from .names import from_native, hidden_part, is_text
from .outside_json import MAX_BYTES, parse
from .tar_groups import SIDECARS, Group, Label, key_of, labels_beside, parts_of, sorted_out


class TarSource(Source):
    """The photographs, or finished heads, of tar files."""

    def __init__(self, label: str, tars: tuple[str, ...], strays: tuple[str, ...] = ()) -> None:
        """Read the archives in the given order.

        Args:
            label: name in manifests.
            tars: their paths.
            strays: names of archives that lie in the data set's folder and are none of it; each is reported.
        """
        self.label, self._strays = label, strays
        self.tars = tuple(os.path.abspath(tar) for tar in tars)  # noqa: PTH100

    @classmethod
    def matching(cls, pattern: Path, label: str) -> TarSource:
        """Open every archive whose path matches a pattern such as `set/*.tar`, in the order of names.

        Raises:
            SourceError: none does.
        """
        tars = tuple(sorted(glob.glob(os.fspath(pattern))))  # noqa: PTH207 - the pattern may be absolute
        if not tars:
            raise SourceError(f"expected at least one shard that matches {str(pattern)!r}, found none")
        return cls(label, tars)

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Name every photograph; damage refuses what it touches, and what stands behind it is read on."""
        for index, tar in enumerate(self.tars):
            try:
                with open_regular(os.fsencode(tar)) as file:
                    finished = finished_shard(Path(tar))
                    walk = _Walk(self.label, index, from_native(Path(tar).name), file, finished)
                    yield from walk.entries()
            except OSError as error:
                drop = io_error(error)
                yield Refused(self.label, from_native(Path(tar).name), drop.reason, drop.detail)
        for name in self._strays:
            text = "an archive that the data set's manifest does not list; name it as a source of its own"
            yield Refused(self.label, name, "not_an_image", text)

    def read(self, image: SourceImage) -> bytes:
        """Read one picture; see `Source.read`."""
        data = self._piece(image.sidecar["picture"])
        told = image.sidecar.get("image_sha256", "")
        if told and content_sha256(data) != told:
            raise Drop("changed_while_reading", "the picture is not the one that the data set's manifest lists")
        return data

    def sidecar(self, image: SourceImage, kind: str) -> bytes | None:
        """Return a sidecar's bytes, "id" as the sample's key; see `Source.sidecar`."""
        if kind not in image.sidecar:
            return None
        return image.sidecar[kind].encode() if kind == "id" else self._piece(image.sidecar[kind])

    def _piece(self, place: str) -> bytes:
        index, offset, size = map(int, place.split(":"))
        try:
            with open_regular(os.fsencode(self.tars[index])) as file:
                file.seek(offset)
                if size > self.max_bytes:
                    guard_size(file.read(4096), size, self.max_bytes)
                data = file.read(size)
        except OSError as error:
            raise io_error(error) from error
        if len(data) != size:
            raise Drop("truncated", f"the shard holds {len(data)} of {size} bytes")
        return data


@dataclass
class _Walk:
    """One archive's way into entries."""

    label: str
    index: int
    tar: str
    file: BinaryIO
    finished: FinishedShard | None

    def entries(self) -> Iterator[SourceImage | Refused]:
        """Yield the entries of every group of members, a group where its last member lies."""
        apart = self._keys_apart()
        self._stamp = file_stamp(os.fstat(self.file.fileno()))
        waiting: dict[tuple[str, str], Group] = {}
        group = Group("", "")
        told: set[str] = set()
        for member in walk_file(self.file):
            refused, parts = self._refused(member, told)
            if parts is None:
                if member.kind == "damage":  # what stands before it comes before it
                    yield from self._group(group)
                    group = Group("", "")
                if refused is not None:
                    yield refused
                continue
            place = key_of(parts)
            if hash(place) in apart:
                waiting.setdefault(place, Group(*place)).add(parts[-1][len(place[1]) :], member)
                continue
            if place != (group.folder, group.key):
                yield from self._group(group)
                group = Group(*place)
            group.add(parts[-1][len(place[1]) :], member)
        yield from self._group(group)
        for late in waiting.values():
            yield from self._group(late)

    def _keys_apart(self) -> set[int]:
        """Return the hashes of keys whose members do not all lie side by side, so that only those are held back."""
        seen, apart, last = set[int](), set[int](), None
        for member in walk_file(self.file):
            parts = parts_of(member)
            if member.kind != "file" or not parts or hidden_part(parts):
                continue
            place = hash(key_of(parts))
            if place != last and place in seen:
                apart.add(place)
            seen.add(place)
            last = place
        return apart

    def _refused(self, member: Member, told: set[str]) -> tuple[Refused | None, list[str] | None]:
        """Return why a member is no file to look at, or the parts of its name; neither for folders and what was told."""
        parts = parts_of(member)
        path = f"{self.tar}/{'/'.join(parts)}" if parts else self.tar
        hidden = hidden_part(parts)
        if member.kind == "damage" and member.problem is not None:
            return Refused(self.label, path, *member.problem), None
        if member.kind == "folder":
            return None, None
        if not parts:
            detail = f"a member without a name at byte {member.start}"
            return Refused(self.label, f"{self.tar}/byte {member.start}", "not_an_image", detail), None
        if hidden:
            if hidden in told:
                return None, None
            told.add(hidden)
            detail = "a folder, not entered" if hidden.endswith("/") else ""
            return Refused(self.label, f"{self.tar}/{hidden}", "hidden_file", detail), None
        if member.kind != "file":
            detail = f"a {member.kind} inside the tar; only files are read"
            return Refused(self.label, path, "special_file", detail), None
        return None, parts

    def _group(self, group: Group) -> Iterator[SourceImage | Refused]:
        """Yield the photographs of one key, each with what lies beside it; whatever belongs to none is an entry of its own."""
        if self.finished is not None:
            yield from self._finished_group(group, self.finished)
            return
        pictures, beside = sorted_out(group)
        used: set[str] = set()
        for suffix, copies in pictures.items():
            sidecars = labels_beside(suffix, pictures, beside)
            used.update(label.suffix for label in sidecars.values())
            unclear = self._unclear(sidecars, beside, copies)
            digests: set[str] = set()
            for member in copies:
                path = f"{self.tar}/{group.folder}{parts_of(member)[-1]}"
                drop = Drop(*member.problem) if member.problem else unclear
                if drop is None and len(copies) > 1:
                    digest = self._digest(member)
                    if digest in digests:
                        drop = Drop("exact_duplicate", "the same bytes as an earlier member of the same name")
                    digests.add(digest)
                if drop is None:
                    yield self._image(member, path, {kind: beside[label.suffix][0] for kind, label in sidecars.items()})
                else:
                    yield Refused(self.label, path, drop.reason, drop.detail)
        for member in [member for suffix, copies in beside.items() if suffix not in used for member in copies]:
            reason = member.problem or ("not_an_image", "a label without its picture")
            yield Refused(self.label, f"{self.tar}/{group.folder}{parts_of(member)[-1]}", *reason)

    def _unclear(self, sidecars: dict[str, Label], beside: dict[str, list[Member]], copies: list[Member]) -> Drop | None:
        """Say why it is not clear what belongs to a picture, or that it cannot be read."""
        for kind, label in sidecars.items():
            found = beside[label.suffix]
            broken = next((member.problem for member in found if member.problem), None)
            if not label.clear:
                text = f"several pictures could claim {found[0].name!r}; give each a {kind} of its own"
                return Drop("sidecar_mismatch", text)
            if broken:
                return Drop("sidecar_mismatch", f"{found[0].name!r} cannot be read: {broken[1]}")
            if self._differ(found):
                return Drop("sidecar_mismatch", f"{len(found)} members named {found[0].name!r} differ; which one counts?")
        labels = [kind for kind in sidecars if kind != "record"]
        if labels and self._differ(copies):
            text = f"{len(copies)} members named {copies[0].name!r} differ; no telling to which the {labels[0]} belongs"
            return Drop("sidecar_mismatch", text)
        return None

    def _differ(self, members: list[Member]) -> bool:
        """Tell whether members of one name have other bytes."""
        return len(members) > 1 and len({self._digest(member) for member in members if not member.problem}) > 1

    def _digest(self, member: Member) -> str:
        digest, left = hashlib.sha256(), member.size
        self.file.seek(member.offset)
        while left > 0 and (piece := self.file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
        return digest.hexdigest()

    def _image(self, member: Member, path: str, beside: Mapping[str, Member]) -> SourceImage | Refused:
        """Describe one photograph; its sidecars are named by archive, offset and size."""
        places = {"picture": self._place(member), **{kind: self._place(label) for kind, label in beside.items()}}
        rights = Rights()
        if "record" in beside:
            try:
                rights = self._rights(beside["record"])
            except ValueError as error:
                return Refused(self.label, path, "sidecar_mismatch", f"its JSON cannot be read: {error}")
        tag = f"{member.size}-{member.offset}-{self._stamp}"
        return SourceImage(self.label, path, member.size, tag, rights, places)

    def _finished_group(self, group: Group, shard: FinishedShard) -> Iterator[SourceImage | Refused]:
        """Yield a finished head, where the manifest lists a sample of this key at this place."""
        members = [member for copies in group.members.values() for member in copies]
        if not members:
            return
        suffix = next((f".{ending}" for ending in shard.endings if f".{ending}" in group.members), "")
        path = f"{self.tar}/{group.folder}{group.key}{suffix}"
        digest = shard.digest(group.key, min(member.start for member in members))
        problem = next((member.problem for member in members if member.problem), None)
        if problem is not None:
            yield Refused(self.label, path, *problem)
            return
        if digest is None or not suffix or len(members) > len(group.members):
            yield Refused(self.label, path, "sidecar_mismatch", "the data set's manifest lists no such sample")
            return
        beside = {kind: group.members[f".{ending}"][0] for kind, ending in SIDECARS.items() if f".{ending}" in group.members}
        image = self._image(group.members[suffix][0], path, beside)
        if isinstance(image, SourceImage):
            known = {"id": group.key, **({"image_sha256": digest} if digest else {})}
            image = dataclasses.replace(image, sidecar={**image.sidecar, **known})
        yield image

    def _place(self, member: Member) -> str:
        return f"{self.index}:{member.offset}:{member.size}"

    def _read(self, member: Member) -> bytes:
        self.file.seek(member.offset)
        return self.file.read(member.size)

    def _rights(self, member: Member) -> Rights:
        """Read what a sample's JSON says of rights; empty where it says nothing.

        Raises:
            ValueError: it is no JSON, or a right is no text.
        """
        if member.size > MAX_BYTES:
            raise ValueError(f"{member.size} bytes; expected at most {MAX_BYTES}")
        record = parse(self._read(member))
        if not isinstance(record, dict):
            return Rights()
        names = [item.name for item in fields(Rights)]
        texts = {name: record[name] for name in names if isinstance(record.get(name), str)}
        strange = next((name for name, value in texts.items() if not is_text(value)), "")
        if strange:
            raise ValueError(f"{strange} is no text: {brief(texts[strange])}")
        return Rights(**texts)
