#!/bin/sh
# Makes tests/fixtures/released/<version>: what a daemon of this version leaves on the disk when it is killed in mid-scan. Run once for each
# release, with the program of that release, and never again: later versions have to read what was written then.
# Usage: scripts/released.sh <phasewatch> [FOLDER]
#
#   state/            the state directory: an open scan, the journal of an archived one, an alert, a silence, doses, what is known of a place, a recording of the wire
#   archive/          its archive
#   messages.arrows   all messages of the open scan, recorded off the wire
#   scenario.toml     what was simulated
#
# Everything is made under a path that is nobody's, /tmp/phasewatch-released: settings and marks of an archive hold paths. Needs curl.
set -eu
program=$(realpath "$1")
cd "$(dirname "$0")/.."
version=$("$program" --version | cut -d' ' -f2)
out=$(realpath -m "${2:-tests/fixtures/released/$version}")
[ ! -e "$out" ] || { echo "$out is there already" >&2; exit 1; }
work=/tmp/phasewatch-released
mkdir "$work"
daemon=
trap '[ -z "$daemon" ] || kill -9 "$daemon" 2>/dev/null || true; rm -rf "$work"' EXIT
cp -r config/references/nvpf "$work/references"

cat > "$work/scenario.toml" <<'END'
about = "What is kept of a release: few pixels, few energies, one of them again and again"
seed = 1
beamline = "simulated"
sample = "released"
region = "corner"

[scan]
shape = [8, 8]
line_overhead_ms = 30.0
repeat_ev = [516.4]
repeat_every = 4
energies = [
    { from_ev = 509.0, to_ev = 511.0, step_ev = 2.0 },
    { from_ev = 514.0, to_ev = 518.8, step_ev = 0.6 },
    { from_ev = 524.0, to_ev = 524.0, step_ev = 1.0 },
]

[beam]
photons = 20000.0

[specimen]
subpixels = 2
END

# start NAME: a daemon with a state directory and an archive of its own.
start() {
    mkdir -p "$work/$1"
    cat > "$work/$1/phasewatch.toml" <<END
[[source]]
kind = "stxm-stream"
name = "beam"
bind = "tcp://127.0.0.1:0"
grace_s = 0.5
[publish]
bind = "tcp://127.0.0.1:0"
[http]
listen = "127.0.0.1:0"
[journal]
record_bytes = 4_000_000
[damage]
least_pixels = 4
[daemon]
state_dir = "$work/$1/state"
[archive]
root = "$work/$1/archive"
[references]
dir = "$work/references"
END
    "$program" --log-format json run --config "$work/$1/phasewatch.toml" 2> "$work/$1/log" &
    daemon=$!
    until grep -q '"message":"ready"' "$work/$1/log"; do kill -0 "$daemon"; sleep 0.1; done
    source=$(sed -n 's/.*listening to the beamline.*"address":"\([^"]*\)".*/\1/p' "$work/$1/log" | head -1)
    http=$(sed -n 's/.*"message":"ready".*"http":"\([^"]*\)".*/\1/p' "$work/$1/log" | head -1)
}
state_of() { curl -s "http://$http/api/v1/scans/$1" | sed -n 's/.*"state":"\([a-z_]*\)".*/\1/p'; }
archived() { until [ "$(state_of "$1")" = archived ]; do sleep 0.1; done; }
received() { curl -s "http://$http/metrics" | awk '/^phasewatch_messages_received_total/ { n += $2 } END { print n + 0 }'; }
simulate() { "$program" simulate --scenario "$work/scenario.toml" --connect "$source" --speed 0 "$@"; }

# All messages of the scan that is going to be cut off.
start whole
simulate --scan-id open --seed 3
archived open
kill "$daemon" && wait "$daemon"
cp "$work/whole/state/raw/beam.arrows" "$work/messages.arrows"

start kept
simulate --scan-id done
archived done
token=$(cat "$work/kept/state/http-token")
ask() { curl -sf -X POST -H "Authorization: Bearer $token" -H 'Content-Type: application/json' -d "$2" "http://$http$1"; }
alert=$(ask /api/v1/alerts/test '{"level": "warning", "name": "released"}' | sed -n 's/.*"id":"\([^"]*\)".*/\1/p')
ask "/api/v1/alerts/$(printf %s "$alert" | sed 's/:/%3A/g; s,/,%2F,g')/silence" '{"by": "released", "for_s": 31000000}' > /dev/null
before=$(received)
"$program" replay "$work/messages.arrows" --connect "$source" --speed 1 &
player=$!
until [ "$(received)" -ge $((before + 20)) ]; do sleep 0.05; done
kill -9 "$daemon"
kill "$player" 2>/dev/null || true
wait "$daemon" "$player" 2>/dev/null || true
daemon=

# Nobody's secret, and nobody's lock.
rm "$work/kept/state/http-token" "$work/kept/state/lock"
mkdir -p "$out"
cp -r "$work/kept/state" "$work/kept/archive" "$work/messages.arrows" "$work/scenario.toml" "$out"
find "$out" -type f | sort
du -sb "$out"
