#!/bin/sh
# One target of coverage-guided fuzzing on stable Rust: run.sh TARGET [options of libFuzzer]. See README.md.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
target=$1
shift
cd "$here"
if [ ! -d corpus ]; then
    (cd .. && PHASEWATCH_WRITE_SEEDS="$here/corpus" cargo test --locked --test corpus seeds_are_read)
fi
RUSTC_WRAPPER="$here/rustc-wrapper.sh" cargo build --locked --bin "$target"
mkdir -p "artifacts/$target"
exec "${CARGO_TARGET_DIR:-$here/target}/debug/$target" "corpus/$target" "../tests/corpus/$target" \
    -artifact_prefix="artifacts/$target/" -dict=dictionary.txt -rss_limit_mb=2048 -timeout=10 "$@"
