#!/bin/sh
# Sends so many simulated scans (500), with faults, through one daemon; checks each, and says what the daemon takes meanwhile.
# Usage: scripts/soak.sh [SCANS] [FILE]; FILE gets the report.
set -eu
cd "$(dirname "$0")/.."
export PHASEWATCH_SOAK="${1:-500}"
if [ "$#" -gt 1 ]; then
    case "$2" in /*) export PHASEWATCH_REPORT="$2" ;; *) export PHASEWATCH_REPORT="$PWD/$2" ;; esac
fi
exec cargo test --test endurance -- --nocapture --test-threads=1 soak
