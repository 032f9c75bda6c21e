#!/bin/bash
# lab.sh up | down | link [SETTING...] | call SCENARIO[:CODE] COUNT NUMBER [OPTION...] | phone SECONDS | in HOST COMMAND...
# Hosts in network namespaces of their own; README.md tells what is where. Nothing outside of them is touched.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
state=${SIDETONE_LAB:-/tmp/st-lab}
prefix=${SIDETONE_LAB_PREFIX:-st-lab-}
network=10.20.0

address() {
    case "$1" in a) echo $network.10 ;; p) echo $network.20 ;; b) echo $network.30 ;; m) echo $network.50 ;; esac
}

inside() {
    local host=$1
    shift
    ip netns exec "$prefix$host" "$@"
}

# start NAME HOST COMMAND...: in the background, in its own log, with its PID kept.
start() {
    local name=$1 host=$2
    shift 2
    # Not by way of a function: the process we know must be the program, which ip becomes, and no shell around it.
    ip netns exec "$prefix$host" "$@" >"$state/$name.log" 2>&1 </dev/null &
    echo $! >"$state/$name.pid"
}

# stop NAME [SIGNAL]: and wait until it is gone.
stop() {
    local pid
    pid=$(cat "$state/$1.pid" 2>/dev/null) || return 0
    kill "-${2:-TERM}" "$pid" 2>/dev/null || true
    for _ in $(seq 50); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    rm -f "$state/$1.pid"
}

# until_listening HOST -u|-t PORT NAME
until_listening() {
    for _ in $(seq 100); do
        [ -z "$(inside "$1" ss -Hln "$2" "sport = :$3")" ] || return 0
        kill -0 "$(cat "$state/$4.pid")" 2>/dev/null || break
        sleep 0.1
    done
    echo "lab: $4 does not listen on port $3; its last words:" >&2
    tail -5 "$state/$4.log" >&2
    return 1
}

# cable HOST INTERFACE HOST INTERFACE: frames go through it as they will on a wire, checksums and sizes too.
cable() {
    ip link add name "$2" netns "$prefix$1" type veth peer name "$4" netns "$prefix$3"
    local end
    for end in "$1 $2" "$3 $4"; do
        # shellcheck disable=SC2086
        set -- $end
        inside "$1" ethtool -K "$2" tx off rx off sg off tso off gso off gro off >/dev/null 2>&1 || true
        inside "$1" ip link set "$2" up
    done
}

namespace() {
    ip netns add "$prefix$1"
    inside "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
    inside "$1" ip link set lo up
}

# tone.al: a second of the 1 kHz of G.711 table 5.
tone() {
    local wave='\x34\x21\x21\x34\xb4\xa1\xa1\xb4'
    for _ in $(seq 1000); do printf "$wave"; done
}

# tone.wav: half a minute of it for baresip, 16 bits, 8 kHz.
wave() {
    printf 'RIFF\x24\x00\x08\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00'
    printf 'data\x00\x00\x08\x00'
    local samples='\x00\x00\xa1\x16\x00\x20\xa1\x16\x00\x00\x5f\xe9\x00\xe0\x5f\xe9'
    # 16 bytes, doubled until there are 512 KiB of them.
    for _ in $(seq 15); do samples=$samples$samples; done
    printf '%b' "$samples"
}

# scenario NAME [CODE]: the path of the scenario, with the code put in.
scenario() {
    local path="$state/$1-${2:-0}.xml"
    sed "s/@CODE@/${2:-0}/g" "$here/sipp/$1.xml" >"$path.$$" && mv "$path.$$" "$path" && echo "$path"
}

# callee PORT SCENARIO [CODE [OPTION...]]
callee() {
    local port=$1 file kind=-u
    file=$(scenario "$2" "${3:-0}")
    shift $(($# < 3 ? $# : 3))
    [ "${1:-}" != -t ] || kind=-t
    start "callee-$port" b sipp -sf "$file" -i "$(address b)" -mi "$(address b)" -p "$port" -nostdin \
        -trace_err -error_file "$state/callee-$port.errors" "$@"
    until_listening b $kind "$port" "callee-$port"
}

# telephone HOST NAME ACCOUNT: its directory.
telephone() {
    local directory="$state/baresip-$2"
    mkdir -p "$directory"
    {
        cat "$here/baresip.conf"
        echo "sip_listen $(address "$1"):5180"
        echo "audio_source aufile,$state/tone.wav"
    } >"$directory/config"
    echo "$3" >"$directory/accounts"
    : >"$directory/contacts"
    echo "$directory"
}

up() {
    down
    clear_orphans
    mkdir -p "$state"
    cd "$state"
    cc -O2 -o link "$here/link.c" -lm
    tone >tone.al
    wave >tone.wav
    for host in switch cut a p b m; do namespace $host; done
    inside switch ip link add hub type bridge
    inside switch ip link set hub up
    for host in cut p b m; do
        if [ $host = cut ]; then cable cut right switch to-cut; else cable $host eth0 switch to-$host; fi
        inside switch ip link set to-$host master hub
    done
    # The caller's cable has the link in it: a eth0 - left [link] right - switch.
    cable a eth0 cut left
    for host in a p b m; do inside $host ip address add "$(address $host)/24" dev eth0; done
    link
    start rtpengine p rtpengine --config-file="$here/rtpengine.conf" --config-section=lab
    until_listening p -u 2223 rtpengine
    start kamailio p kamailio -DD -E -f "$here/kamailio.cfg" -m 64 -M 8 -Y "$state" -P "$state/kamailio.workers"
    until_listening p -t 8080 kamailio
    callee 5060 answer
    callee 5061 refuse 486
    callee 5062 refuse 503
    callee 5063 ring
    callee 5064 transfer
    callee 5065 announce
    callee 5066 refuse 302
    callee 5070 answer 0 -t t1
    start baresip-b b baresip -f "$(telephone b callee "<sip:callee@$(address b)>;regint=0;answermode=auto;audio_codecs=PCMA")"
    until_listening b -u 5180 baresip-b
}

down() {
    local namespace
    for namespace in $(ip netns list | awk -v "prefix=$prefix" 'index($1, prefix) == 1 { print $1 }'); do
        clear_away "$namespace"
    done
    rm -rf "$state"
}

clear_away() {
    local pids
    pids=$(ip netns pids "$1")
    # shellcheck disable=SC2086
    [ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
    ip netns delete "$1"
}

# What a test has left that was killed: its process is in the name.
clear_orphans() {
    local namespace process
    for namespace in $(ip netns list | awk '$1 ~ /^st-lab-[0-9]+-/ { print $1 }'); do
        process=${namespace#st-lab-}
        [ -e "/proc/${process%%-*}" ] || clear_away "$namespace"
    done
}

# link [SETTING...]: the faults of the caller's cable from now on; none without settings.
link() {
    stop link
    rm -f "$state/dropped.txt"
    start link cut "$state/link" left right "$state/dropped.txt" "$@"
    # It listens as soon as the log is there.
    for _ in $(seq 50); do
        [ ! -e "$state/dropped.txt" ] || break
        sleep 0.1
    done
}

# call SCENARIO[:CODE] COUNT NUMBER [OPTION of sipp...]: 0 when every call went as the scenario says.
call() {
    local file=${1%:*} code=0 count=$2 number=$3
    [ "$file" = "$1" ] || code=${1#*:}
    file=$(scenario "$file" "$code")
    shift 3
    cd "$state"
    exec ip netns exec ${prefix}a timeout 60 sipp "$(address p):5060" -sf "$file" -s "$number" -m "$count" \
        -i "$(address a)" -mi "$(address a)" -nostdin -timeout 50 -timeout_error "$@"
}

# phone SECONDS: baresip calls baresip, with RTCP on both sides.
phone() {
    local directory
    directory=$(telephone a caller "<sip:trunk@lab.test>;regint=0;outbound=\"sip:$(address p):5060\";audio_codecs=PCMA")
    cd "$directory"
    exec ip netns exec ${prefix}a baresip -f "$directory" -e "/dial sip:9700@lab.test" -t "$1"
}

command=${1:-}
shift || true
case "$command" in
up | down | link | call | phone) "$command" "$@" ;;
in)
    host=$1
    shift
    exec ip netns exec "$prefix$host" "$@"
    ;;
*)
    sed -n '2s/^# //p' "$0" >&2
    exit 2
    ;;
esac
