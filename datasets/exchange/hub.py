"""What a hub of data sets asks for: a data card with YAML front matter, and Croissant JSON-LD, from what the manifest knows.

Both stand beside shards and manifest when these are uploaded; no picture is copied. Nothing is said that header and table do
not say: where rights are unknown, the card says that they are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ...manifests.schema import COLUMNS
from ...manifests.store import HEADER, MANIFEST, Header, file_sha256, require_own_table
from ...manifests.summary import Summary, summarise
from .kept import sink

CARD, CROISSANT = "README.md", "croissant.json"
CONFORMS = "http://mlcommons.org/croissant/1.0"
MEMBERS = {
    "jpg / webp / png": "the picture, sRGB",
    "mask.png": "8 bits: 0 background, 255 head",
    "seg.png": "class ids, see the toolkit's datasets.classes",
    "beard.png": "8 bits: 255 where hair is beard; sets built with parse.beards=true only",
    "depth.png": "16 bits: distance along the optical axis in thousandths of a world unit, 0 unknown; rendered heads only",
    "cam.json": "25 numbers: cam2world row by row (OpenCV axes), intrinsics divided by the side",
    "json": "the manifest's row",
}
_TYPES = {"string": "sc:Text", "bool": "sc:Boolean", "int32": "sc:Integer", "int64": "sc:Integer", "double": "sc:Float"}
_TYPES |= {"float": "sc:Float"}
_CONTEXT: dict[str, Any] = {
    "@language": "en", "@vocab": "https://schema.org/", "citeAs": "cr:citeAs", "column": "cr:column",
    "conformsTo": "dct:conformsTo", "cr": "http://mlcommons.org/croissant/", "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"}, "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/", "examples": {"@id": "cr:examples", "@type": "@json"}, "extract": "cr:extract",
    "field": "cr:field", "fileObject": "cr:fileObject", "fileProperty": "cr:fileProperty", "fileSet": "cr:fileSet",
    "format": "cr:format", "includes": "cr:includes", "isLiveDataset": "cr:isLiveDataset", "jsonPath": "cr:jsonPath",
    "key": "cr:key", "md5": "cr:md5", "parentField": "cr:parentField", "path": "cr:path", "recordSet": "cr:recordSet",
    "references": "cr:references", "regex": "cr:regex", "repeated": "cr:repeated", "replace": "cr:replace",
    "sc": "https://schema.org/", "separator": "cr:separator", "source": "cr:source", "subField": "cr:subField",
    "transform": "cr:transform",
}  # fmt: skip


def write_hub(folder: Path, out: Path, name: str = "") -> tuple[str, ...]:
    """Write README.md and croissant.json of a data set.

    Args:
        folder: a finished data set.
        out: new or empty folder; its files are meant to lie beside the manifest.
        name: of the data set; the folder's where empty.

    Returns:
        The names of the files.

    Raises:
        ManifestError: header and table are missing or not of one build.
        ConfigError: something lies at `out` already.
    """
    header, summary = require_own_table(folder), summarise(folder)
    title = name or folder.resolve().name
    with sink(out) as files:
        files.add(CARD, card(title, header, summary).encode())
        document = croissant(folder, title, header, summary)
        files.add(CROISSANT, (json.dumps(document, indent=1) + "\n").encode())
    return CARD, CROISSANT


def licence_of(summary: Summary) -> str:
    """Return the one licence of all kept rows; "unknown" where a row has none, "other" where there are several."""
    found = {str(value or "") for value in summary.licences["license"]} if len(summary.licences) else {""}
    return "unknown" if "" in found else found.pop() if len(found) == 1 else "other"


def card(title: str, header: Header, summary: Summary) -> str:
    """Return the data card: front matter that Hugging Face's loader reads, then what the manifest knows."""
    splits = sorted({entry.split for entry in header.shards})
    count = sum(entry.count for entry in header.shards)
    front = {
        "license": licence_of(summary).lower(),
        "pretty_name": title,
        "tags": ["webdataset", "heads", "spherehead-toolkit"],
        "size_categories": [_size(count)],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": [entry.name for entry in header.shards if entry.split == split]}
                    for split in splits
                ],
            }
        ],
    }
    rows = [f"| `{entry.name}` | {entry.split} | {entry.count:,} | {entry.num_bytes:,} |" for entry in header.shards]
    licences = [
        f"| {row['source']} | {row['license'] or 'not told'} | {row['attribution'] or ''} | {int(row['rows']):,} |"
        for row in summary.licences.to_dict("records")
    ]
    stages = [str(stage.get("stage")) for stage in header.recipe.get("stages", ()) if isinstance(stage, dict)]
    files = ", ".join(repr(entry.name) for entry in header.shards[:1])
    text = [
        "---", yaml.safe_dump(front, sort_keys=False, allow_unicode=True).rstrip(), "---", "", f"# {title}", "",
        f"{count:,} pictures of heads by spherehead-toolkit {header.tool_version}, stages {', '.join(stages) or 'none'}.",
        "",
        "```python", "from datasets import load_dataset", "",
        f'heads = load_dataset("webdataset", data_files=[{files}], split="train", streaming=True)', "```", "",
        "| member | what it holds |", "| --- | --- |", *(f"| `{name}` | {told} |" for name, told in MEMBERS.items()), "",
        f"`{MANIFEST}` has a row for every head, refused ones too; `{HEADER}` the recipe, versions and digests.", "",
        "## Shards", "", "| file | split | samples | bytes |", "| --- | --- | --- | --- |", *rows, "",
        "## Rights", "", "| source | licence | attribution | pictures |", "| --- | --- | --- | --- |", *licences, "",
        "## Inputs", "", _table(summary.inputs), "", "## Refused", "", _table(summary.reasons), "",
        "## Views", "",
        f"{summary.balance.filled} of {summary.balance.cells} cells of equal area are filled, {summary.balance.smallest} to "
        f"{summary.balance.largest} pictures each.", "",
    ]  # fmt: skip
    return "\n".join(text)


def _size(count: int) -> str:
    for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")):
        if count < bound:
            return name
    return "1M<n<10M"


def _table(frame: Any) -> str:
    """Return a pandas table as Markdown."""
    plain = frame.reset_index()
    lines = [[str(name) for name in plain.columns], ["---"] * len(plain.columns)]
    lines += [[str(value) for value in row] for row in plain.itertuples(index=False)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def croissant(folder: Path, title: str, header: Header, summary: Summary) -> dict[str, Any]:
    """Return the Croissant 1.0 description: every file with its sha256, and the manifest's columns as fields."""
    files = [_file(MANIFEST, "application/x-parquet", header.manifest_sha256, (folder / MANIFEST).stat().st_size)]
    files.append(_file(HEADER, "application/json", file_sha256(folder / HEADER), (folder / HEADER).stat().st_size))
    files += [_file(entry.name, "application/x-tar", entry.sha256, entry.num_bytes) for entry in header.shards]
    fields = [found for column in pq.read_schema(folder / MANIFEST) if (found := _field(column))]
    count = sum(entry.count for entry in header.shards)
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": title,
        "description": f"{count:,} pictures of heads with labels in WebDataset shards, and a manifest of all inputs.",
        "conformsTo": CONFORMS,
        "license": licence_of(summary),
        "version": "1.0.0",
        "distribution": files,
        "recordSet": [{"@type": "cr:RecordSet", "@id": "heads", "name": "heads", "key": {"@id": "heads/id"}, "field": fields}],
    }


def _file(name: str, kind: str, sha256: str, size: int) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject", "@id": name, "name": name, "contentUrl": name, "encodingFormat": kind, "sha256": sha256,
        "contentSize": f"{size} B",
    }  # fmt: skip


def _field(column: pa.Field) -> dict[str, Any] | None:
    """Return a column of the manifest as a field; lists are repeated, types that Croissant lacks are left out."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    repeated = pa.types.is_list(kind)
    told = _TYPES.get(str(kind.value_type if repeated else kind))
    if told is None:
        return None
    name = str(column.name)
    meaning = COLUMNS[name][1] if name in COLUMNS else f"{name.partition('_')[0]} of the stages"
    found: dict[str, Any] = {
        "@type": "cr:Field", "@id": f"heads/{name}", "name": name, "description": meaning, "dataType": told,
        "source": {"fileObject": {"@id": MANIFEST}, "extract": {"column": name}},
    }  # fmt: skip
    return {**found, "repeated": True} if repeated else found
