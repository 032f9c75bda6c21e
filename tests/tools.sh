#!/bin/sh
# tools.sh TOOL...: installs what is missing of cc, c++, pcap-config (libpcap, to build with), time, tshark, tcpdump,
# promtool, curl, openssl, ip, tcpreplay, setpriv, ethtool, kamailio, rtpengine, sipp, baresip, on Debian and Ubuntu.
# Without a C compiler and libpcap nothing can be built, so that is an error. The others are what the tests and the
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

# Servers that only the lab starts, by itself: neither now nor at the next boot.
apt_install_idle() {
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] && policy=""
    [ -z "$policy" ] || printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin $policy
    apt_install "$@"
    found=$?
    [ -z "$policy" ] || as_root rm -f $policy
    for unit in kamailio rtpengine-daemon; do
        as_root systemctl --quiet disable "$unit" >/dev/null 2>&1 || true
    done
    return $found
}

# Kamailio without its module for WebSocket is of no use.
is_there() {
    command -v "$1" >/dev/null 2>&1 || return 1
    [ "$1" != kamailio ] || [ -n "$(find /usr/lib* -name websocket.so -path '*kamailio*' 2>/dev/null)" ]
}

missing=""
for tool in "$@"; do
    is_there "$tool" || missing="$missing $tool"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
    echo "tools: this is neither Debian nor Ubuntu: please install$missing" >&2
else
    as_root apt-get update -qq || true
    for tool in $missing; do
        case "$tool" in
        cc) apt_install gcc libc6-dev ;;
        c++) apt_install g++ ;;
        pcap-config) apt_install libpcap-dev ;;
        promtool) unpack_promtool ;;
        ip) apt_install iproute2 ;;
        setpriv) apt_install util-linux ;;
        kamailio) apt_install_idle kamailio kamailio-websocket-modules ;;
        rtpengine) apt_install_idle rtpengine-daemon ;;
        sipp) apt_install sip-tester ;;
        baresip) apt_install baresip-core ;;
        *) apt_install "$tool" ;;
        esac || echo "tools: $tool could not be installed" >&2
    done
fi
for tool in $missing; do
    case "$tool" in
    cc | c++ | pcap-config) command -v "$tool" >/dev/null 2>&1 || exit 1 ;;
    esac
done
