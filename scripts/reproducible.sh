#!/bin/sh
# Builds the release twice, from two checkouts in folders with different names, and says whether the programs are the same to the byte.
# Takes as long as two builds from nothing. Usage: nice scripts/reproducible.sh [PROFILE]
set -eu
cd "$(dirname "$0")/.."
profile="${1:-release}"
work=$(mktemp -d "${TMPDIR:-/var/tmp}/phasewatch-twice.XXXXXX")
trap 'rm -rf "$work"' EXIT
cargo_home="${CARGO_HOME:-$HOME/.cargo}"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
export SOURCE_DATE_EPOCH
case "$profile" in dev) folder=debug ;; *) folder=$profile ;; esac
for name in one another-place; do
    git worktree add --quiet --detach "$work/$name" HEAD
    trap 'git worktree remove --force "$work/one" 2>/dev/null; git worktree remove --force "$work/another-place" 2>/dev/null; rm -rf "$work"' EXIT
    (
        cd "$work/$name"
        # The last of several that fit counts: the build folder lies in the checkout.
        RUSTFLAGS="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$PWD=/phasewatch" \
            CARGO_TARGET_DIR="$PWD/target" cargo build --locked --quiet --profile "$profile" --bin phasewatch
        sha256sum "target/$folder/phasewatch" | cut -d" " -f1
    ) | tee -a "$work/sums"
done
if [ "$(sort -u "$work/sums" | wc -l)" -eq 1 ]; then echo "the same"; else echo "different" && exit 1; fi
