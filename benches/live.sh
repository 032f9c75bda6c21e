#!/usr/bin/env bash
# What `sidetone run` costs at a live interface, with the own ring and with libpcap, in paired batches: RTP enters a veth
# as if from a NIC (benches/live/sender.c), without a tap, with the one and with the other. Prints Markdown: nanoseconds of
# CPU a packet, in the kernel (what the sending thread takes more than without a tap), as system time of the agent, and as
# its user time; then the ratios, batch by batch, and their medians.
#
#   SIDETONE_BENCH_BATCHES   default 10
#   SIDETONE_BENCH_SECONDS   of each run, and as many before, default 4
#   SIDETONE_BENCH_STREAMS   default 20000
#   SIDETONE_BENCH_RATE      packets a second that are tried, default 1000000
#   SIDETONE_BENCH_PROGRAM   another build to measure
#
# Needs root, a C compiler, ip and curl, and Linux 5.18; works in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

batches="${SIDETONE_BENCH_BATCHES:-10}"
seconds="${SIDETONE_BENCH_SECONDS:-4}"
streams="${SIDETONE_BENCH_STREAMS:-20000}"
rate="${SIDETONE_BENCH_RATE:-1000000}"
. benches/live/net.sh
tools cc ip curl
build sender.c
net_up
inside sysctl -qw net.ipv6.conf.all.disable_ipv6=1 || true
ip -n "$net" link add v0 type veth peer name v1
ip -n "$net" link set v0 up
ip -n "$net" link set v1 up promisc on

send() { inside nice -n -10 "$kept/sender" v1 "$rate" "$seconds" "$streams"; }

# ticks of user and of system time
ticks() { awk '{ sub(/.*\) /, ""); print $12, $13 }' "/proc/$agent/stat"; }

# source -> packets, sender's ns, user ns, system ns, drops; ns are those of a packet
measure() {
    local before after sent cost drops
    if [ "$1" = none ]; then
        send | awk 'NR == 2 { print $1, $3, 0, 0, 0 }'
        return
    fi
    SIDETONE_CAPTURE_SOURCE="$1" SIDETONE_CAPTURE_INTERFACES=v1 SIDETONE_HTTP_LISTEN=127.0.0.1:9767 \
        nice -n -10 ip netns exec "$net" "$program" run 2>"$kept/said" &
    agent=$!
    for _ in $(seq 100); do
        grep -q metrics "$kept/said" && break
        sleep 0.1
    done
    # Streams that begin cost more than those that go on: what counts is the second half.
    exec 3< <(send)
    read -r sent _ cost <&3
    before="$(ticks)"
    read -r sent _ cost <&3
    exec 3<&-
    sleep 0.1
    after="$(ticks)"
    drops="$(inside curl -s http://127.0.0.1:9767/metrics | awk '/^sidetone_capture_drops_total/ { sum += $NF } END { print sum + 0 }')"
    kill "$agent"
    wait "$agent" || true
    agent=""
    echo "$sent $cost $before $after $drops" | awk -v hz="$(getconf CLK_TCK)" \
        '{ print $1, $2, ($5 - $3) / hz * 1e9 / $1, ($6 - $4) / hz * 1e9 / $1, $7 }'
}

echo "| batch | no tap | ring: kernel | system | user | total | libpcap: kernel | system | user | total | total | user | dropped |"
echo "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
for batch in $(seq "$batches"); do
    order=(none ring pcap)
    [ $((batch % 2)) = 1 ] || order=(pcap ring none)
    for source in "${order[@]}"; do
        measure "$source" >"$kept/$source"
    done
    cat "$kept/none" "$kept/ring" "$kept/pcap" | awk -v batch="$batch" -v rows="$kept/rows" '
        NR == 1 { none = $2 }
        NR > 1 { kernel[NR] = $2 - none; user[NR] = $3; system_[NR] = $4; total[NR] = kernel[NR] + $3 + $4; drops += $5 }
        END {
            printf "| %d | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.0f | %.2f | %.2f | %d |\n", batch, none,
                kernel[2], system_[2], user[2], total[2], kernel[3], system_[3], user[3], total[3],
                total[2] / total[3], user[2] / user[3], drops
            print none, kernel[2], system_[2], user[2], total[2], kernel[3], system_[3], user[3], total[3],
                total[2] / total[3], user[2] / user[3] >>rows
        }'
done
# column -> least and median
column() {
    awk -v n="$1" '{ print $n }' "$kept/rows" | sort -g | awk '
        { all[NR] = $1 }
        END { printf "%s %s", all[1], NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}
for which in least median; do
    printf '| %s ' "$which"
    for n in $(seq 11); do
        read -r least median < <(column "$n"; echo)
        [ "$which" = least ] && value="$least" || value="$median"
        [ "$n" -lt 10 ] && printf '| %.0f ' "$value" || printf '| %.2f ' "$value"
    done
    printf '| |\n'
done
