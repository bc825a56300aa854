"""Rows of heads become the columns that plain Python makes of them, and lists of inputs change only where they differ."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spherehead.manifests.config import canonical_json
from spherehead.manifests.schema import COLUMNS, flatten, schema_for, to_table
from spherehead.pipeline.building.memory.alignment import GAP, Alignment, Known
from spherehead.pipeline.building.memory.head_rows import Page, RowReader

TEXT = st.text(max_size=6) | st.sampled_from(["2026-11-28", "2026-11-28T10:00:00Z", "true", "1", "null", '"', "\\ud800", ""])
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**40), 2**40) | st.sampled_from([-0.0, 1e-320, 6])


def values(kind: pa.DataType) -> st.SearchStrategy[object]:
    if pa.types.is_list(kind):
        single = st.floats(width=32, allow_nan=False, allow_infinity=False)
        return st.lists(NUMBER if kind.value_type == pa.float64() else single, max_size=4)
    if pa.types.is_floating(kind):
        return NUMBER
    if pa.types.is_integer(kind):
        return st.integers(-(2**31), 2**31 - 1)
    return st.booleans() if pa.types.is_boolean(kind) else TEXT


ROWS = st.lists(
    st.fixed_dictionaries(
        {"id": st.text("0123456789abcdef", min_size=16, max_size=16), "status": st.just("dropped"), "head_index": st.just(0)},
        optional={
            **{
                name: values(kind) | st.none()
                for name, (kind, _) in COLUMNS.items()
                if name not in ("id", "status", "head_index")
            },
            "landmarks": st.lists(NUMBER, max_size=4),
            "scores": st.dictionaries(st.sampled_from(["blur", "head px", "2"]), NUMBER, max_size=3),
            "notes": st.dictionaries(st.sampled_from(["blur", "pose", "2"]), TEXT, max_size=3),
        },
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROWS, min_size=1, max_size=3))
def test_rows_parsed_by_arrow_are_those_of_plain_python(pages: list[list[dict[str, object]]]) -> None:
    reader = RowReader()
    found = [reader.table([canonical_json(row) for row in rows]) for rows in pages]
    schema = schema_for(reader.names["scores"], reader.names["notes"])
    met = [row for rows in pages for row in rows]
    assert schema == schema_for(
        *({name for row in met for name in row.get(group, {})} for group in ("scores", "notes"))  # type: ignore[attr-defined]
    )
    for rows, table in zip(pages, found, strict=True):
        plain = [json.loads(canonical_json(row)) for row in rows]
        flat = [flatten({name: value for name, value in row.items() if name != "landmarks"}) for row in plain]
        size = len(rows)
        page = Page([str(row["id"]) for row in rows], [""] * size, ["dropped"] * size, [""] * size, {}, table, "")
        assert page.with_columns({}, {}, schema).equals(to_table(flat, schema))
        assert page.with_columns({"split": "train"}, {"width": {0: 7}}, schema).column("width").to_pylist()[0] == 7


def test_labels_are_rounded_by_way_of_doubles_as_python_does() -> None:
    """1 + 2**-24 is half way between two float32; its shortest text lies a little above it."""
    (label,) = RowReader().table(['{"camera":[1.0000000596046448]}'])["camera"].to_pylist()
    assert label == to_table([{"camera": [1.0 + 2.0**-24]}], schema_for((), ())).column("camera").to_pylist()[0] == [1.0]


def test_a_field_that_is_no_column_is_named() -> None:
    with pytest.raises(KeyError, match="unknown manifest columns \\['colour'\\]"):
        RowReader().table(['{"id":"0","colour":1}'])


PLACES = st.lists(st.integers(0, 12), unique=True, max_size=12)
"""Inputs by name: 0 to 3 have no stamp, 10 and above are no files."""


def row(name: int, told: str = "") -> tuple[object, ...]:
    reason = (f"hidden {told}", "", "") if name >= 10 else ("", "", "")
    return (0, b"", b"%d" % name, b"" if name < 4 or name >= 10 else b"mark", 1, "", "", "", *reason)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(PLACES, PLACES, st.integers(0, 12), st.sampled_from([1, 3, GAP]))
def test_a_changed_list_is_made_by_its_changes_alone(before: list[int], after: list[int], odd: int, gap: int) -> None:
    known = [
        Known(gap * place, name >= 10 or name % 3 == 0, row(name)[8:] if name >= 10 else ("failed", "", ""), row(name)[:8])
        for place, name in enumerate(before, 1)
    ]
    changes = Alignment(iter(known), iter([row(name, "otherwise" * (name == odd)) for name in after])).changes()
    assert not Alignment(iter([Known(1, True, ("", "", ""), row(3)[:8])]), iter([row(3)])).changes().any  # it is open already
    numbers = {old.number: row(name) for old, name in zip(known, before, strict=True)}
    for number in changes.gone:
        del numbers[number]
    assert set(changes.again) <= set(numbers)
    for number, item in changes.new:
        assert number not in numbers
        numbers[number] = item
    if changes.rest is not None:
        numbers = {number: item for number, item in numbers.items() if number <= changes.last}
        numbers |= {changes.last + place: item for place, item in enumerate(changes.rest, 1)}
    assert [numbers[number] for number in sorted(numbers)] == [row(name, "otherwise" * (name == odd)) for name in after]
    same = [name for name in before if name in after]
    if before == after and odd not in [name for name in after if name >= 10]:
        assert not changes.gone and not changes.new and changes.rest is None
        assert len(changes.again) == sum(name < 4 or (name < 10 and name % 3 == 0) for name in same)


def test_one_input_more_or_less_changes_one_row() -> None:
    names = range(4, 10)
    known = [Known(GAP * place, False, ("", "", ""), row(name)[:8]) for place, name in enumerate(names, 1)]
    less = Alignment(iter(known), iter([row(name) for name in names if name != 6])).changes()
    assert (less.gone, less.new, less.again, less.rest) == ([GAP * 3], [], [], None)
    more = Alignment(iter([old for old in known if old.number != GAP * 3]), iter([row(name) for name in names])).changes()
    assert (more.gone, more.new, more.again, more.rest) == ([], [(GAP * 3, row(6))], [], None)


def test_lists_that_have_little_in_common_are_taken_anew() -> None:
    known = [Known(GAP * place, False, ("", "", ""), (0, b"a", b"%d" % place, b"m", 1, "", "", "")) for place in range(1, 9000)]
    other = [(0, b"b", b"%d" % place, b"m", 1, "", "", "", "", "", "") for place in range(9000)]
    changes = Alignment(iter(known), iter(other)).changes()
    assert changes.rest is not None and (changes.gone, changes.last, list(changes.rest)) == ([], 0, other)
