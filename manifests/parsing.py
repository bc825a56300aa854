"""YAML and JSON from outside as plain data: bounded in size and depth, with one kind of error.

What the data means as settings is left to `config`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

MAX_VALUES = 100_000
"""Values that settings may have, aliases written out."""


def parse_yaml(text: str) -> Any:
    """Parse YAML of one document; aliases may not make it larger than settings ever are, nor lead back into themselves.

    Raises:
        ValueError: it is none, or its values are of no kind that YAML knows.
    """
    try:
        loader = yaml.SafeLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _num_values(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}"[:500]) from error


def _num_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for once its aliases are written out.

    Raises:
        ValueError: more than `MAX_VALUES`, or it contains itself.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError("an alias leads back into itself")
        return known[id(node)]
    known[id(node)] = 0
    parts: list[yaml.Node] = []
    if isinstance(node, yaml.SequenceNode):
        parts = node.value
    elif isinstance(node, yaml.MappingNode):
        parts = [part for pair in node.value for part in pair]
    known[id(node)] = 1 + sum(_num_values(part, known) for part in parts)
    if known[id(node)] > MAX_VALUES:
        raise ValueError(f"its aliases make it larger than {MAX_VALUES} values")
    return known[id(node)]


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: it is no JSON, or nested deeper than Python's parser goes.
        OSError: it cannot be read.
    """
    return parse_json(path.read_bytes())


def parse_json(data: bytes | str) -> Any:
    """Parse JSON.

    Raises:
        ValueError: it is no JSON, or nested deeper than Python's parser goes.
    """
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
