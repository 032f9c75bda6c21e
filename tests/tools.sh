#!/bin/sh
# Installs what the tests compare with: tshark, tcpdump, promtool, valgrind. Says what it could not install;
# the tests that need it then say so too and skip.
set -u
missing=""
for pair in tshark:tshark tcpdump:tcpdump promtool:prometheus valgrind:valgrind; do
    command -v "${pair%%:*}" >/dev/null 2>&1 || missing="$missing ${pair##*:}"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tools: not a Debian or Ubuntu machine; install by hand:$missing" >&2
    exit 0
fi
as_root=""
[ "$(id -u)" = 0 ] || as_root="sudo"
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq && $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
    echo "tools: could not install:$missing (tests that need them will be skipped)" >&2
exit 0
