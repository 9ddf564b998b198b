#!/bin/sh
# Kills the real daemon so many times (200), at random moments, while scans come in; says where it was killed and what became of
# the scans. Usage: scripts/kills.sh [KILLS] [SEED]
set -eu
cd "$(dirname "$0")/.."
export PHASEWATCH_KILLS="${1:-200}" PHASEWATCH_SEED="${2:-1}"
exec cargo test --test endurance -- --nocapture --test-threads=1 kills
