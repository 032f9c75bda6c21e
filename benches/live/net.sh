# Sourced by the benches at a live interface, from the project's root, as root:
#
#   tools cc ip ...    what must be there
#   build SOURCE       the program to measure, and a sender from benches/live in $kept
#   net_up             a network namespace of its own, $net, removed at the end with the agent, $agent, and $kept
program="${SIDETONE_BENCH_PROGRAM:-}"

tools() {
    [ "$(id -u)" = 0 ] || { echo "bench: this needs root" >&2; exit 77; }
    local tool
    for tool in "$@"; do
        command -v "$tool" >/dev/null || { echo "bench: $tool is missing" >&2; exit 1; }
    done
}

build() {
    if [ -z "$program" ]; then
        cargo build --release --locked --quiet
        program=target/release/sidetone
    fi
    kept="$(mktemp -d)"
    cc -O2 -o "$kept/$(basename "$1" .c)" "benches/live/$1"
}

net_up() {
    net="st-bench-$$"
    agent=""
    trap clean EXIT
    ip netns add "$net"
    ip -n "$net" link set lo up
}

clean() {
    [ -z "$agent" ] || kill "$agent" 2>/dev/null || true
    ip netns del "$net" 2>/dev/null || true
    rm -rf "$kept"
}

inside() { ip netns exec "$net" "$@"; }
