#!/bin/bash
# Boots a Debian 12 with the package in it, and looks whether what the unit promises holds under its systemd: ready, a scan archived, a reload, a
# daemon that hangs started again by the watchdog with what it had, a disk that is late at boot, a stop.
#
# Usage: scripts/systemd-root.sh PACKAGE.deb
#
# By hand, some three minutes. Needs root, systemd-nspawn, and the root that scripts/debian-root.sh keeps; exits with 77 where one of them is not there.
# The machine that is booted has a network of its own, so that no port is in anybody's way.
set -euo pipefail
package=$(readlink -f "$1")

skip() { echo "SKIPPED: $*" >&2 && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "a machine of its own needs root"
command -v systemd-nspawn >/dev/null || skip "there is no systemd-nspawn"
base="${XDG_CACHE_HOME:-$HOME/.cache}/phasewatch/bookworm-2.tar"
[ -e "$base" ] || skip "there is no Debian root; scripts/debian-root.sh makes it"
work=$(mktemp -d /var/tmp/phasewatch-boot.XXXXXX)
root="$work/root"
machine=""
cleanup() {
    if [ -n "$machine" ]; then kill -9 "$machine" 2>/dev/null || true; fi
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT
say() { echo "== $*"; }
fail() {
    echo "FAILED: $*" >&2
    inside journalctl -u phasewatch --no-pager -n 40 >&2 || tail -40 "$work/console" >&2
    exit 1
}
inside() { nsenter -t "$init" -m -u -i -n -p -- "$@"; }
# Looks until a command succeeds; only what is broken takes that long.
until_good() {
    for _ in $(seq 240); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.5
    done
    fail "not seen: $*"
}
shows() { inside systemctl show -p "$1" --value phasewatch; }
is() { [ "$(shows "$1")" = "$2" ]; }
says() { inside journalctl -u phasewatch --no-pager -o cat | grep -q "$1"; }
archived() { find "$root/var/lib/phasewatch/archive" -name manifest.json | grep -q "$1"; }
scan() { inside phasewatch simulate --connect tcp://127.0.0.1:5555 --speed 0 --scan-id "$1" >/dev/null; }

mkdir "$root"
tar -C "$root" -xf "$base"
cp "$package" "$root/package.deb"
# Nothing is started before there is a systemd to start it.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive dpkg -i /package.deb
rm "$root/usr/sbin/policy-rc.d"

say "boot"
systemd-nspawn -q -D "$root" --boot --register=no --keep-unit --private-network --console=pipe </dev/null >"$work/console" 2>&1 &
machine=$!
for _ in $(seq 60); do
    init=$(pgrep -P "$machine" | sed 1q || true)
    if [ -n "$init" ] && inside systemctl is-system-running 2>/dev/null | grep -qE "running|degraded|starting"; then break; fi
    kill -0 "$machine" 2>/dev/null || { tail -5 "$work/console" >&2 && skip "no machine can be booted here"; }
    sleep 0.5
done
inside ip link set lo up 2>/dev/null || true

say "ready"
until_good is ActiveState active
shows StatusText | grep -q "shows what it does" || fail "the unit does not say what it does: $(shows StatusText)"
inside phasewatch health --ready

say "a scan is archived"
scan first
until_good archived first

say "reload"
inside systemctl reload phasewatch || fail "the reload failed"
until_good says "configuration reloaded"

say "a daemon that hangs is started again, and a scan that was open goes on"
hung=$(shows MainPID)
inside phasewatch simulate --connect tcp://127.0.0.1:5555 --speed 20 --scan-id second >"$work/second" 2>&1 &
sender=$!
until_good says "scan started.*second"
inside kill -STOP "$hung"
other_is_active() { [ "$(shows MainPID)" != "$hung" ] && is ActiveState active; }
until_good other_is_active
until_good says "Watchdog timeout"
is NRestarts 1 || fail "it was started again $(shows NRestarts) times"
until_good says "scan resumed.*second"
wait "$sender" || fail "the sender gave up: $(cat "$work/second")"
until_good archived second
archived first || fail "the first scan is gone"

say "a disk that is late at boot"
inside systemctl stop phasewatch
mkdir -p "$root/etc/systemd/system/phasewatch.service.d"
printf '[Service]\nReadWritePaths=/late\nRestartSec=1\n' >"$root/etc/systemd/system/phasewatch.service.d/late.conf"
inside systemctl daemon-reload
inside systemctl start --no-block phasewatch
tried() { [ "$(shows NRestarts)" -ge 2 ]; }
until_good tried
is ActiveState active && fail "it runs without its disk"
inside mkdir /late
until_good is ActiveState active
inside phasewatch health --ready

say "stop"
inside systemctl stop phasewatch
is Result success || fail "it did not end well: $(shows Result)"
is ExecMainStatus 0 || fail "it ended with $(shows ExecMainStatus)"
kill "$machine"
wait "$machine" || true
machine=""
say "all is well"
