"""What is made when the site is built: the command-line reference, the changelog, and links that Python's reference reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import typer
from mkdocs.structure.files import File, Files
from spherehead.cli import EXIT_CODES, app

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / ".typecheck" / "docs" / "spherehead"
"""Links to the package's folders and modules alone: mkdocstrings walks its whole folder, and the checkout's holds .venv."""


def on_startup(command: str, dirty: bool) -> None:
    """Make the links anew, in the folder that `paths` of mkdocs.yml names."""
    shutil.rmtree(PACKAGE, ignore_errors=True)
    PACKAGE.mkdir(parents=True)
    for place in (*ROOT.glob("*.py"), *(file.parent for file in ROOT.glob("*/__init__.py"))):
        (PACKAGE / place.name).symlink_to(place)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that no file holds."""
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    for place, text in (("reference/cli.md", command_line()), ("changelog.md", changelog)):
        files.append(File.generated(config, place, content=text))
    return files


def command_line() -> str:
    """Return the reference of every command, read from the program."""
    lines = ["# Command line", "", "`spherehead COMMAND --help` prints the same. " + EXIT_CODES, ""]
    root = typer.main.get_command(app)
    for name, command in sorted(root.commands.items()):
        inner = getattr(command, "commands", None)
        if inner:
            lines += [f"## {name}", "", _help(command), ""]
            for sub, each in sorted(inner.items()):
                lines += [f"### {name} {sub}", "", *_command(each)]
        else:
            lines += [f"## {name}", "", *_command(command)]
    return "\n".join(lines)


def _help(command: Any) -> str:
    return (command.help or "").replace("Example: ", "Example:\n\n    ").strip()


def _command(command: Any) -> list[str]:
    lines = [_help(command), "", "| option | meaning | default |", "| --- | --- | --- |"]
    for option in command.params:
        names = ", ".join(option.opts) if option.param_type_name == "option" else (option.metavar or option.name)
        default = option.default
        shown = "" if default is None or callable(default) or default is False or default == () else f"`{default}`"
        text = (getattr(option, "help", "") or "").replace("|", "\\|")
        lines.append(f"| `{names}` | {text.replace(chr(91), chr(92) + chr(91))} | {shown} |")
    return [*lines, ""]
