#!/bin/bash
# Installs the Debian package in a clean Debian 12, starts it, upgrades, removes and purges it.
#
# Usage: scripts/debian-root.sh OLD.deb NEW.deb
#
# NEW has a higher version than OLD. Needs root, debootstrap and the Debian mirror of this machine's own apt; exits with 77 where one of
# them is not there. The root is made once and kept below $XDG_CACHE_HOME/phasewatch. No systemd runs in it, as there is none in a
# chroot: the daemon is started as its unit would start it, by the same command and as the same user, and the unit is only verified.
set -euo pipefail
old=$(readlink -f "$1") new=$(readlink -f "$2")

skip() { echo "SKIPPED: $*" >&2 && exit 77; }
[ "$(id -u)" -eq 0 ] || skip "a Debian root needs root"
command -v debootstrap >/dev/null || skip "there is no debootstrap"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/phasewatch"
base="$cache/bookworm-2.tar"
work=$(mktemp -d /var/tmp/phasewatch-root.XXXXXX)
root="$work/root"
daemon=""
cleanup() {
    if [ -n "$daemon" ]; then kill -9 "$daemon" 2>/dev/null || true; fi
    umount "$root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap cleanup EXIT

if [ ! -e "$base" ]; then
    mirror=$(grep -rhoE '(https?|file)://[^ ]*/debian/?( |$)' /etc/apt/sources.list* | sed 1q || true)
    [ -n "$mirror" ] || skip "apt names no Debian mirror"
    # What the package depends on, and systemd for systemd-analyze; what else a bare root lacks (certificates, bash-completion) stays away.
    if ! debootstrap --variant=minbase --include=adduser,procps,systemd bookworm "$work/base" "${mirror% }" >"$work/log" 2>&1; then
        tail -5 "$work/log" >&2
        skip "no Debian root could be made"
    fi
    mkdir -p "$cache"
    tar -C "$work/base" --exclude=./var/cache/apt/archives/\*.deb -cf "$base.$$" . && mv "$base.$$" "$base"
    rm -rf --one-file-system "$work/base"
fi
mkdir "$root"
tar -C "$root" -xf "$base"
mount -t proc proc "$root/proc"
# Nothing may be started by a package's scripts: there is no systemd to do it.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

inside() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
say() { echo "== $*"; }
fail() { echo "FAILED: $*" >&2 && exit 1; }
# Looks until a command succeeds; only a broken daemon takes that long.
until_good() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        kill -0 "$daemon" 2>/dev/null || { cat "$work/daemon.log" >&2 && fail "the daemon ended"; }
        sleep 0.1
    done
    cat "$work/daemon.log" >&2
    fail "not seen: $*"
}
as_daemon() { inside setpriv --reuid phasewatch --regid phasewatch --clear-groups --no-new-privs "$@"; }
start() {
    chroot "$root" /usr/bin/env -i PATH=/usr/bin:/bin setpriv --reuid phasewatch --regid phasewatch --clear-groups --no-new-privs \
        /usr/bin/phasewatch run --config /etc/phasewatch/phasewatch.toml >"$work/daemon.log" 2>&1 &
    daemon=$!
    until_good inside phasewatch health --url "http://127.0.0.1:$http" --ready
}
stop() {
    kill "$daemon"
    wait "$daemon" || { cat "$work/daemon.log" >&2 && fail "the daemon did not end well"; }
    daemon=""
}

say "install"
cp "$old" "$root/old.deb" && cp "$new" "$root/new.deb"
inside dpkg -i /old.deb
first=$(inside dpkg-query -W -f '${Version}' phasewatch)
inside phasewatch --version
inside ldd /usr/bin/phasewatch | grep "not found" && fail "libraries are missing"
inside getent passwd phasewatch
[ "$(inside stat -c '%U:%G %a' /var/lib/phasewatch)" = "phasewatch:phasewatch 750" ] || fail "the state directory"
[ "$(inside stat -c '%U:%G %a' /etc/phasewatch)" = "root:phasewatch 750" ] || fail "the configuration directory"
for file in usr/lib/systemd/system/phasewatch.service lib/systemd/system/phasewatch.service; do
    if [ -e "$root/$file" ]; then unit="/$file"; fi
done
inside systemd-analyze verify --man=no "$unit" || fail "systemd-analyze verify"
[ -L "$root/etc/systemd/system/multi-user.target.wants/phasewatch.service" ] || fail "the unit is not enabled"
for file in share/man/man1/phasewatch-run.1* share/bash-completion/completions/phasewatch share/zsh/vendor-completions/_phasewatch \
    share/fish/vendor_completions.d/phasewatch.fish share/doc/phasewatch/copyright share/phasewatch/references/nvpf/references.toml; do
    [ -s "$(echo "$root"/usr/$file)" ] || fail "/usr/$file is not there"
done
inside bash -n /usr/share/bash-completion/completions/phasewatch
as_daemon phasewatch config check /etc/phasewatch/phasewatch.toml

say "start, and archive a scan"
# The ports of the configuration as installed may be taken here: a chroot has the network of its host.
read -r http publish source < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
[own.bind(("127.0.0.1", 0)) for own in sockets]
print(*[own.getsockname()[1] for own in sockets])')
sed -i "s/:5555/:$source/; s/:8787/:$http/" "$root/etc/phasewatch/phasewatch.toml"
printf '\n[publish]\nbind = "tcp://127.0.0.1:%s"\n# kept over the upgrade\n' "$publish" >>"$root/etc/phasewatch/phasewatch.toml"
as_daemon phasewatch config check /etc/phasewatch/phasewatch.toml
start
inside phasewatch health --url "http://127.0.0.1:$http"
simulate=(phasewatch simulate --connect "tcp://127.0.0.1:$source" --speed 0)
inside "${simulate[@]}" --scan-id first
archived() { find "$root/var/lib/phasewatch/archive" -name manifest.json | grep -q "$1"; }
until_good archived first
stop

say "upgrade"
changed=$(sha256sum <"$root/etc/phasewatch/phasewatch.toml")
states() { (cd "$root/var/lib/phasewatch" && find . -type f ! -name '*.lock' -exec sha256sum {} + | sort); }
states >"$work/before"
inside dpkg -i /new.deb
[ "$(inside dpkg-query -W -f '${Version}' phasewatch)" != "$first" ] || fail "the version is the same"
[ "$(sha256sum <"$root/etc/phasewatch/phasewatch.toml")" = "$changed" ] || fail "the upgrade changed the configuration"
states | cmp - "$work/before" || fail "the upgrade changed the state"
start
inside "${simulate[@]}" --scan-id second
until_good archived second
archived first || fail "the first scan is gone"
stop

say "remove"
inside dpkg -r phasewatch
[ ! -e "$root/usr/bin/phasewatch" ] || fail "the program is still there"
[ "$(sha256sum <"$root/etc/phasewatch/phasewatch.toml")" = "$changed" ] || fail "a removal took the configuration"
archived first || fail "a removal took the archive"
[ -d "$root/var/lib/phasewatch/archive" ] || fail "a removal took the state"

say "purge, with scans in the archive"
state="$root/var/lib/phasewatch"
# One that went on after it was archived, and one whose start has not come.
cp -a "$state/journal/first" "$state/journal/goes-on"
touch "$state/journal/goes-on/events.arrows"
mkdir -p "$state/held"
cp -a "$state/journal/goes-on" "$state/held/early"
inside dpkg -P phasewatch
[ ! -e "$root/etc/phasewatch" ] || fail "the configuration is still there"
archived second || fail "a purge took archived scans"
[ "$(ls -A "$state/journal")" = goes-on ] || fail "of the journals there are: $(ls -A "$state/journal")"
[ -e "$state/held/early/events.arrows" ] || fail "a purge took samples whose scan has not come"
[ "$(ls -A "$state" | tr '\n' ' ')" = "archive content format held journal " ] || fail "what is left: $(ls -A "$state")"
rm -rf "$state/journal" "$state/held"

say "install again, and purge with the archive elsewhere"
inside dpkg -i /new.deb
mkdir -p "$root/data" && mv "$root/var/lib/phasewatch/archive" "$root/data/phasewatch"
touch "$root/var/lib/phasewatch/something"
owner=$(stat -c %u "$root/data/phasewatch")
inside dpkg -P phasewatch
find "$root/data/phasewatch" -name manifest.json | grep -q second || fail "a purge took an archive elsewhere"
rm -rf "${root:?}/data"
left=$(find "$root" -xdev -path "$root/proc" -prune -o -iname '*phasewatch*' -print | grep -v '^'"$root"'$' || true)
[ -z "$left" ] || fail "left over: $left"
[ "$(inside getent passwd phasewatch | cut -d: -f3)" = "$owner" ] || fail "the owner of the archive elsewhere is gone"
say "all is well"
