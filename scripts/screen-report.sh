#!/bin/sh
# Measures the operator's screen in chromium without a window, with a simulated scan of 512 by 512 pixels: how soon a map is shown, how
# it moves, what ten browsers cost the daemon. About six minutes. Usage: scripts/screen-report.sh
set -eu
cd "$(dirname "$0")/.."
exec cargo test --test browser -- --ignored --nocapture --test-threads=1 measurements
