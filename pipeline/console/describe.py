"""A recipe as YAML that a person can read and edit: every setting with its value and, from the code, its meaning.

The text is read back by `Recipe.from_plain`; the meaning of a setting is the docstring under its field, kept in one place.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import textwrap
from collections.abc import Iterator
from typing import Any

import yaml

from ...manifests.config import to_plain
from ..recipe import Recipe

COLUMN = 44
"""Where comments begin, if the setting leaves room."""


def meanings(cls: type) -> dict[str, str]:
    """Return the docstring under each field of a dataclass, with those of its bases, on one line each."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        statements = body.body if isinstance(body, ast.ClassDef) else []
        for field, text in itertools.pairwise(statements):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                value = text.value
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    found[field.target.id] = " ".join(value.value.split())
    return found


def describe(recipe: Recipe) -> str:
    """Return a recipe as commented YAML that names every setting; `Recipe.from_plain` of it gives the recipe again."""
    lines: list[str] = []
    docs = meanings(type(recipe))
    for field in dataclasses.fields(recipe):
        if field.name != "stages":
            lines += _setting(field.name, getattr(recipe, field.name), docs.get(field.name, ""), 0)
    lines.append(_commented("stages:", docs.get("stages", "")))
    for stage in recipe.stages:
        lines.append(_commented(f"- stage: {stage.name}", _first_sentence(stage)))
        stage_docs = meanings(type(stage))
        for field in dataclasses.fields(stage):  # type: ignore[arg-type]  # stages are dataclasses, which Stage cannot say
            lines += _setting(field.name, getattr(stage, field.name), stage_docs.get(field.name, ""), 1)
    return "\n".join(lines) + "\n"


def _setting(name: str, value: Any, meaning: str, depth: int) -> Iterator[str]:
    """Yield the lines of one setting; a dataclass opens a block."""
    indent = "  " * depth
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield _commented(f"{indent}{name}:", meaning)
        docs = meanings(type(value))
        for field in dataclasses.fields(value):
            yield from _setting(field.name, getattr(value, field.name), docs.get(field.name, ""), depth + 1)
    else:
        yield _commented(f"{indent}{name}: {_scalar(value)}", meaning)


def _scalar(value: Any) -> str:
    """Return a value as YAML on one line."""
    text = yaml.safe_dump(to_plain(value), default_flow_style=True, width=10_000, sort_keys=True)
    return text.removesuffix("...\n").strip()


def _commented(text: str, comment: str) -> str:
    return f"{text:<{COLUMN}}  # {comment}" if comment else text


def _first_sentence(value: object) -> str:
    return " ".join((type(value).__doc__ or "").split("\n\n")[0].split())
