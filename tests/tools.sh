#!/bin/sh
# tools.sh TOOL...: installs what is missing of the tools named, on Debian and Ubuntu: commands, and `pcap-config` for
# libpcap, `systemd-nspawn` with a system for it to boot, `schemas` of manifests.
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

# The package would also start a Prometheus server; only its programs are wanted.
unpack_prometheus() {
    mkdir -p "$kept/bin" "$kept/package"
    (cd "$kept/package" && apt-get download -qq -o APT::Sandbox::User=root prometheus &&
        dpkg-deb -x prometheus_*.deb . && mv usr/bin/promtool usr/bin/prometheus ../bin/)
    found=$?
    rm -rf "$kept/package"
    return $found
}

# A system that systemd-nspawn boots in target/tools/root: the release that runs here, because the program is linked
# against its C library.
make_root() {
    root="$kept/root"
    [ ! -e "$root/made-2" ] && [ "$(id -u)" = 0 ] && command -v debootstrap >/dev/null 2>&1 || return 0
    release=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
    # From where this machine has its packages.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)
    [ -n "$mirror" ] || return 0
    rm -rf "$root"
    if debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,procps,libpcap0.8 "$release" "$root" "$mirror" >"$kept/root.log" 2>&1; then
        touch "$root/made-2"
    else
        echo "tools: no system could be made to boot: target/tools/root.log" >&2
    fi
}

# What Kubernetes and Compose say of their files, in packages of Python.
bring_schemas() {
    [ ! -e "$kept/schemas/compose_spec.json" ] || return 0
    rm -rf "$kept/schemas"
    python3 -m pip install --quiet --target "$kept/schemas" kubernetes-validate==1.37.0 jsonschema pyyaml &&
        python3 -m pip download --quiet --no-deps --dest "$kept/schemas" docker-compose==1.29.2 &&
        python3 -m zipfile -e "$kept"/schemas/docker_compose-*.whl "$kept/schemas/compose" &&
        mv "$kept/schemas/compose/compose/config/compose_spec.json" "$kept/schemas/"
} 2>/dev/null

# The grammar of Logstash's pipelines, which is written down for Python; Logstash itself is in no distribution.
bring_logstash_parser() {
    [ ! -d "$kept/logstash" ] || return 0
    python3 -m pip install --quiet --target "$kept/logstash" logstash-pipeline-parser==0.0.3
} 2>/dev/null

# A server with Loki's API: npm's qryn over PyPI's chdb, in target/tools/loki. 1 GB, so only when it is asked for.
make_loki() {
    loki="$kept/loki"
    [ ! -e "$loki/made" ] || return 0
    rm -rf "$loki"
    mkdir -p "$loki"
    (cd "$loki" && python3 -m venv python && python/bin/pip install -q chdb==4.4.0 && npm init -y >/dev/null &&
        npm install --ignore-scripts --no-audit --no-fund --silent qryn@3.2.39 && touch made) >&2 ||
        echo "tools: no server with Loki's API could be installed" >&2
}

# A collector of traces: PyPI's rotel.
bring_rotel() {
    python3 -m venv "$kept/rotel" && "$kept/rotel/bin/python" -m pip install --quiet rotel==0.0.1a15 &&
        mkdir -p "$kept/bin" && (cd "$kept/bin" && ln -sf ../rotel/lib/python3*/site-packages/rotel/rotel-agent .)
}

if [ "${1:-}" = loki ]; then
    make_loki
    exit 0
fi
want_root=""
for tool in "$@"; do
    [ "$tool" != systemd-nspawn ] || want_root=yes
done
if [ -n "$want_root" ]; then
    set -- "$@" debootstrap
    mkdir -p "$kept"
fi
# Servers that only the lab starts, by itself: neither now nor at the next boot.
apt_install_idle() {
    policy=/usr/sbin/policy-rc.d
    [ -e $policy ] && policy=""
    [ -z "$policy" ] || printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin $policy
    apt_install "$@"
    found=$?
    [ -z "$policy" ] || as_root rm -f $policy
    for unit in kamailio rtpengine-daemon prometheus-alertmanager prometheus-process-exporter; do
        as_root systemctl --quiet disable "$unit" >/dev/null 2>&1 || true
    done
    return $found
}

# Kamailio without its module for WebSocket is of no use.
is_there() {
    [ "$1" != libjemalloc.so.2 ] || { ls /usr/lib/*/libjemalloc.so.2 >/dev/null 2>&1; return; }
    command -v "$1" >/dev/null 2>&1 || return 1
    [ "$1" != kamailio ] || [ -n "$(find /usr/lib* -name websocket.so -path '*kamailio*' 2>/dev/null)" ]
}

missing=""
for tool in "$@"; do
    is_there "$tool" || missing="$missing $tool"
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
        pcap-config) apt_install libpcap-dev ;;
        promtool | prometheus) [ -x "$kept/bin/$tool" ] || unpack_prometheus ;;
        # Installed, because it has its templates at a fixed place.
        prometheus-alertmanager | amtool) apt_install_idle prometheus-alertmanager ;;
        ip) apt_install iproute2 ;;
        setpriv) apt_install util-linux ;;
        systemd-analyze) apt_install systemd ;;
        systemd-nspawn) apt_install systemd-container ;;
        kamailio) apt_install_idle kamailio kamailio-websocket-modules ;;
        rtpengine) apt_install_idle rtpengine-daemon ;;
        prometheus-process-exporter) apt_install_idle prometheus-process-exporter ;;
        sipp) apt_install sip-tester ;;
        baresip) apt_install baresip-core ;;
        setcap) apt_install libcap2-bin ;;
        dpkg-shlibdeps) apt_install dpkg-dev ;;
        strip) apt_install binutils ;;
        rpmbuild) apt_install rpm ;;
        musl-gcc) apt_install musl-tools ;;
        schemas) bring_schemas ;;
        logstash-parser) bring_logstash_parser ;;
        rotel-agent) bring_rotel ;;
        libjemalloc.so.2) apt_install libjemalloc2 ;;
        *) apt_install "$tool" ;;
        esac || echo "tools: $tool could not be installed" >&2
    done
fi
for tool in $missing; do
    case "$tool" in
    cc | c++ | pcap-config) command -v "$tool" >/dev/null 2>&1 || exit 1 ;;
    esac
done
[ -z "$want_root" ] || make_root
