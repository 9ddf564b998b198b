#!/bin/sh
# Measures sums of compressed frames beside LZ4 alone and beside Python's bitshuffle and numpy, for which it makes a virtual
# environment below the target directory. Usage: scripts/frames.sh
set -eu
cd "$(dirname "$0")/.."
venv="${CARGO_TARGET_DIR:-target}/frames-python"
if [ ! -x "$venv/bin/python" ]; then
    python3 -m venv "$venv"
fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --prefer-binary bitshuffle numpy
case "$venv" in /*) ;; *) venv="$PWD/$venv" ;; esac
# One thread each: what a core does is what is compared.
export OMP_NUM_THREADS=1 PHASEWATCH_PYTHON="$venv/bin/python"
exec cargo bench --profile dev --bench report -- frames
