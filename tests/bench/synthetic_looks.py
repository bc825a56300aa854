"""How the colours of a rendered set's pictures follow from the colours of its people: the numbers of `synthetic/looks.py`.

Run: python tests/bench/synthetic_looks.py DIR ASSETS, with DIR a finished set of makehuman: heads with class maps
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from spherehead.datasets.shards.tar import iterate
from spherehead.pipeline.synthetic.assets.library import open_assets
from spherehead.pipeline.synthetic.people.appearance import appearance_of, lab, skin_colour
from spherehead.pipeline.synthetic.people.population import draw_person


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("assets", type=Path)
    options = parser.parse_args()
    assets = open_assets(options.assets)
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {"skin": [], "hair": []}
    for shard in sorted(options.folder.glob("*.tar")):
        with shard.open("rb") as file:
            samples = list(iterate(file, shard.name))
        for _, members in samples:
            picture = members.get("jpg") or members.get("png") or members["webp"]
            row = members["json"].decode()

            made = json.loads(json.loads(row)["derivation"])
            person = draw_person(assets, made["seed"], made["head"])
            appearance = appearance_of(picture, members["seg.png"])
            if appearance.skin is not None:
                pairs["skin"].append((lab(skin_colour(assets, person)), lab(appearance.skin)))
            if appearance.hair is not None:
                pairs["hair"].append((lab(person.hair_colour), lab(appearance.hair)))
    for name, found in pairs.items():
        own, seen = (np.array(side) for side in zip(*found, strict=True))
        fit = []
        for channel in range(3):
            slope, offset = np.polyfit(own[:, channel], seen[:, channel], 1)
            error = np.std(seen[:, channel] - slope * own[:, channel] - offset)
            fit.append((round(float(slope), 3), round(float(offset), 2)))
            spread = np.std(seen[:, channel])
            print(f"{name} {'Lab'[channel]}: {slope:.3f} x + {offset:.2f}, deviation {error:.1f} of {spread:.1f}")
        print(f"{name}: {tuple(fit)}  ({len(found)} pictures)")


if __name__ == "__main__":
    main()
