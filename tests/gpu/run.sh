#!/usr/bin/env bash
# Measures everything that only a GPU can show, in one command of at most nine minutes, and leaves files.
#
#   tests/gpu/run.sh OUT [--data SET] [--seconds 520] [--device cuda] [--train "--init PATH"]
#
# Needs Python 3.11 or later, PyTorch 2.6 or later and what training imports: numpy, scipy, pandas, pyarrow, opencv, typer,
# safetensors, pyyaml, fsspec, zlib-ng, and webdataset with braceexpand for the sets that it makes (the last three are small
# wheels); no network and no installation. Reference numbers are read from where SPHEREHEAD_SHARED points, or from `shared`
# beside or inside the checkout, and left out where there are none.
# Try it first on a CPU: tests/gpu/run.sh OUT --device cpu --seconds 400
set -u
root="$(cd "$(dirname "$0")/../.." && pwd)"
site="$(mktemp -d)"
trap 'rm -rf "$site"' EXIT
ln -s "$root" "$site/spherehead"
export PYTHONPATH="$site:$root/tests/helpers" PYTHONUNBUFFERED=1
cd "$site" && python3 "$root/tests/gpu/run.py" "$@"
