#!/bin/sh
# Builds the Debian package and its bill of materials, and says what they are: size and SHA-256.
#
# Usage: scripts/package.sh [--profile dev] [--version VERSION] [--out DIR] [--no-build]
#
# Without options: the release build, the version of Cargo.toml, target/packages. What is built depends on the commit, the toolchain and
# Cargo.lock, not on where (scripts/reproducible.sh): paths are left out, and times are that of the commit. Needs cargo-deb; the program
# runs where the C library is as new as that of the machine it is built on, so build on Debian 12 for Debian 12.
set -eu
cd "$(dirname "$0")/.."

profile=release version="" out="" build=yes
while [ $# -gt 0 ]; do
    case "$1" in
    --no-build) build="" && shift && continue ;;
    --profile) profile=$2 ;;
    --version) version=$2 ;;
    --out) out=$2 ;;
    *) echo "usage: $0 [--profile dev|release] [--version VERSION] [--out DIR] [--no-build]" >&2 && exit 64 ;;
    esac
    shift 2
done
target="${CARGO_TARGET_DIR:-$PWD/target}"
case "$target" in /*) ;; *) target="$PWD/$target" ;; esac
out="${out:-$target/packages}"
case "$profile" in dev) built="$target/debug" ;; *) built="$target/$profile" ;; esac

SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH
if [ "$profile" = release ]; then
    # Not for the profile of the tests: every dependency would be built again.
    cargo_home="${CARGO_HOME:-$HOME/.cargo}"
    export RUSTFLAGS="${RUSTFLAGS:-} --remap-path-prefix=$PWD=/phasewatch --remap-path-prefix=$cargo_home=/cargo"
fi
if [ -n "$build" ]; then cargo build --locked --profile "$profile" --bin phasewatch; fi

# Cargo.toml names it as target/release/package, whatever the profile.
stage="$built/package"
rm -rf "$stage"
mkdir -p "$stage/man" "$stage/completions" "$out"
"$built/phasewatch" man --out "$stage/man"
"$built/phasewatch" completions bash >"$stage/completions/phasewatch.bash"
"$built/phasewatch" completions zsh >"$stage/completions/_phasewatch"
"$built/phasewatch" completions fish >"$stage/completions/phasewatch.fish"

version="${version:-$("$built/phasewatch" --version | cut -d" " -f2)-1}"
package="$out/phasewatch_${version}_$(dpkg --print-architecture).deb"
fast=""
if [ "$profile" = dev ]; then fast=--fast; fi
cargo deb --quiet --no-build --profile "$profile" --strip --no-dbgsym $fast --deb-version "$version" --output "$package"

bill="$out/phasewatch_$version.cdx.json"
python3 scripts/sbom.py --program "$built/phasewatch" >"$bill"

for file in "$package" "$bill"; do
    echo "$(sha256sum "$file" | cut -d" " -f1)  $(stat -c %s "$file") bytes  $file"
done
