"""Names that earlier versions wrote into configs, checkpoints and metrics, read as the present ones.

Files written today hold the present names only; what is read is translated before it is checked.
"""

from __future__ import annotations

from typing import Any

RENAMED = {
    "critic": "discriminator",
    "critic_adversarial": "discriminator_adversarial",
    "critic_gradient": "discriminator_gradient",
    "critic_lr": "discriminator_lr",
    "critic_optimiser": "discriminator_optimiser",
    "habits": "sampling",
}
"""Name of a key, a part or a `kind` in files of version 0.1.0 -> its present name."""


MARCH, RENDERER = "march", "renderer"
"""Key that held the settings of the march in a generator's while there was no other renderer, and its present name."""


def present_assignment(text: str) -> str:
    """Return a `--set` text with its setting under its present name: generator.renderer.crop=1 for generator.march.crop=1."""
    path, separator, value = text.partition("=")
    names = path.split(".")
    for index, name in enumerate(names[1:], start=1):
        if name.strip() == MARCH and names[index - 1].strip() == "generator":
            names[index] = RENDERER
    return ".".join(names) + separator + value


def with_present_names(plain: Any) -> Any:
    """Return plain data with every renamed key and `kind` under its present name; file names and other values stay.

    Args:
        plain: what `json.loads` gives.
    """
    if isinstance(plain, dict):
        if isinstance(plain.get(MARCH), dict) and "volume" in plain and RENDERER not in plain:
            plain = {RENDERER if key == MARCH else key: value for key, value in plain.items()}
            plain[RENDERER] = {"kind": MARCH} | plain[RENDERER]
        return {
            RENAMED.get(key, key): RENAMED.get(value, value)
            if key == "kind" and isinstance(value, str)
            else with_present_names(value)
            for key, value in plain.items()
        }
    return [with_present_names(value) for value in plain] if isinstance(plain, list) else plain
