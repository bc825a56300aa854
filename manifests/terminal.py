"""What reaches a terminal: text, log records and tracebacks in which no name of a file, header or key is obeyed as a command.

Which stream a line goes to is left to whoever writes it.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
import threading
import traceback
import warnings
from types import TracebackType
from typing import Any


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


def printable_traceback(error: BaseException, trace: TracebackType | None = None) -> str:
    """Return an exception's traceback as a terminal may show it; lines within a message are indented, none looks like ours."""
    parts = traceback.TracebackException(type(error), error, trace or error.__traceback__).format()
    return "".join(map(_indented, parts))


def _indented(text: str) -> str:
    """Return a text that ends a line; further lines of it that are not indented are."""
    return printable_text(re.sub(r"\n(?=\S)", "\n  ", text[:-1])) + "\n"


def escape_tracebacks() -> None:
    """Let what Python itself prints of this process's exceptions and warnings be only shown by a terminal, never obeyed."""
    plain = warnings.formatwarning

    def formatted(*arguments: Any, **options: Any) -> str:
        return _indented(plain(*arguments, **options))

    sys.excepthook = print_exception
    threading.excepthook = _thread_ended
    sys.unraisablehook = _could_not_raise
    warnings.formatwarning = formatted


def print_exception(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception that nothing caught, in place of `sys.excepthook`."""
    _print("", error, trace)


def _thread_ended(arguments: threading.ExceptHookArgs) -> None:
    if arguments.exc_value is not None and not isinstance(arguments.exc_value, SystemExit):
        name = arguments.thread.name if arguments.thread else "unknown"
        _print(f"Exception in thread {name}:\n", arguments.exc_value, arguments.exc_traceback)


def _could_not_raise(arguments: sys.UnraisableHookArgs) -> None:
    told = f"{arguments.err_msg or 'Exception ignored in'}: {arguments.object!r}\n"
    if arguments.exc_value is not None:
        _print(told, arguments.exc_value, arguments.exc_traceback)


def _print(told: str, error: BaseException, trace: TracebackType | None) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):  # standard error is closed or gone
        sys.stderr.write(_indented(told) + printable_traceback(error, trace))
        sys.stderr.flush()
