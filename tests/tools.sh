#!/bin/sh
# tools.sh TOOL...: installs what is missing of cc, c++, time, tshark, tcpdump, promtool, curl, openssl, ip, tcpreplay,
# setpriv, strace, systemd-analyze, systemd-nspawn and a system for it to boot, on Debian and Ubuntu.
# Without a C compiler nothing can be built, so that is an error. The others are what the tests and the
# comparison look at: what needs them says so and is skipped.
set -eu
cd "$(dirname "$0")/.."
kept="$PWD/target/tools"
PATH="$kept/bin:$PATH"

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

# The package would also start a Prometheus server; only one program of it is wanted.
unpack_promtool() {
    mkdir -p "$kept/bin" "$kept/package"
    (cd "$kept/package" && apt-get download -qq -o APT::Sandbox::User=root prometheus &&
        dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool ../bin/)
    found=$?
    rm -rf "$kept/package"
    return $found
}

# A system that systemd-nspawn boots in target/tools/root: the release that runs here, because the program is linked
# against its C library.
make_root() {
    root="$kept/root"
    [ ! -e "$root/made" ] && [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null 2>&1 || return 0
    id=$(sed -n 's/^ID=//p' /etc/os-release)
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    case "$id $(uname -m)" in
    "debian "*) mirror=http://deb.debian.org/debian ;;
    "ubuntu x86_64") mirror=http://archive.ubuntu.com/ubuntu ;;
    "ubuntu "*) mirror=http://ports.ubuntu.com/ubuntu-ports ;;
    *) return 0 ;;
    esac
    rm -rf "$root"
    if debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps "$release" "$root" "$mirror" >"$kept/root.log" 2>&1; then
        touch "$root/made"
    else
        echo "tools: no system could be made to boot: target/tools/root.log" >&2
    fi
}

want_root=""
for tool in "$@"; do
    [ "$tool" != systemd-nspawn ] || want_root=yes
done
if [ -n "$want_root" ]; then
    set -- "$@" debootstrap
    mkdir -p "$kept"
fi

missing=""
for tool in "$@"; do
    command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
done
if [ -z "$missing" ]; then
    [ -z "$want_root" ] || make_root
    exit 0
fi
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tools: this is neither Debian nor Ubuntu: please install$missing" >&2
else
    as_root apt-get update -qq || true
    for tool in $missing; do
        case "$tool" in
        cc) apt_install gcc libc6-dev ;;
        c++) apt_install g++ ;;
        promtool) unpack_promtool ;;
        ip) apt_install iproute2 ;;
        setpriv) apt_install util-linux ;;
        systemd-analyze) apt_install systemd ;;
        systemd-nspawn) apt_install systemd-container ;;
        *) apt_install "$tool" ;;
        esac || echo "tools: $tool could not be installed" >&2
    done
fi
for tool in $missing; do
    case "$tool" in
    cc | c++) command -v "$tool" >/dev/null 2>&1 || exit 1 ;;
    esac
done
[ -z "$want_root" ] || make_root
