"""What reaches a terminal: text and log records in which no name of a file, no header and no key is obeyed as a command to it.

Which stream a line goes to is left to whoever writes it.
"""

from __future__ import annotations

import json
import logging


def escaped(text: str, keep: str = "") -> str:
    """Return text with everything that cannot be seen as escapes: control characters, direction marks, lone surrogates.

    Args:
        text: any.
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else char.encode("unicode_escape").decode() for char in text)


def printable_text(text: str) -> str:
    """Return a text of several lines as a terminal may show it: as `escaped`, but for the ends of lines."""
    return escaped(text, "\n")


def printable_json(text: str) -> str:
    """Return JSON of one line that means the same, in which nothing is left that a terminal may obey."""
    return text if text.isprintable() else "".join(char if char.isprintable() else _json_escape(char) for char in text)


def _json_escape(char: str) -> str:
    return f"\\u{ord(char):04x}" if ord(char) < 0x10000 else json.dumps(char)[1:-1]


class _Formatter(logging.Formatter):
    """Escapes what a record's arguments and traceback bring along."""

    def format(self, record: logging.LogRecord) -> str:
        return printable_text(super().format(record))


def log_to_terminal(level: int = logging.WARNING) -> None:
    """Let log records reach standard error, where nothing else takes them yet."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler])
