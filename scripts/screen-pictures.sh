#!/bin/sh
# Draws the pictures of the operator's screen and of a report in docs/, from a real daemon that maps simulated scans. Usage: scripts/screen-pictures.sh
set -eu
cd "$(dirname "$0")/.."
exec cargo test --test browser -- --ignored --nocapture --test-threads=1 pictures
