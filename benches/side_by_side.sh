#!/usr/bin/env bash
# The cost of `sidetone analyze` beside that of programs that do less (tcpdump: read and write every frame) or
# something alike (tshark: RTP streams), on the same files, in alternating runs. Prints Markdown tables: medians of
# user + system CPU time, the largest resident memory, and both as multiples of tcpdump's.
#
#   SIDETONE_BENCH_CAPTURE   capture of mostly RTP     (else simulated: 200 calls of 60 s, 1.2 million packets)
#   SIDETONE_BENCH_SIP       capture of much SIP       (else simulated: 20,000 calls of 0.1 s, 255,000 packets)
#   SIDETONE_BENCH_RUNS      runs of each, default 5
#   SIDETONE_BENCH_TSHARK    0 = without tshark, which takes longest
set -euo pipefail
cd "$(dirname "$0")/.."

runs="${SIDETONE_BENCH_RUNS:-5}"
sidetone=target/release/sidetone
kept=target/bench
[ -x /usr/bin/time ] || { echo "bench: /usr/bin/time is missing (Debian: apt install time)" >&2; exit 1; }
command -v tcpdump >/dev/null || { echo "bench: tcpdump is missing" >&2; exit 1; }
cargo build --release --locked --quiet
mkdir -p "$kept"

programs=(sidetone tcpdump)
if [ "${SIDETONE_BENCH_TSHARK:-1}" != 0 ] && command -v tshark >/dev/null; then
    programs+=(tshark)
fi
# tcpdump gives up root's rights before it opens a file, and may then not be allowed to read it.
own_rights=()
[ "$(id -u)" != 0 ] || own_rights=(-Z root)

# program file -> its work, on standard output
work() {
    case "$1" in
    sidetone) exec /usr/bin/time -o "$kept/cost" -f '%U %S %M' "$sidetone" analyze --format json "$2" ;;
    tcpdump) exec /usr/bin/time -o "$kept/cost" -f '%U %S %M' tcpdump "${own_rights[@]}" -r "$2" -w /dev/null ;;
    tshark) exec /usr/bin/time -o "$kept/cost" -f '%U %S %M' tshark -r "$2" -q -z rtp,streams ;;
    esac
}

median() {
    sort -g | awk '{ all[NR] = $1 } END { print NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2 }'
}

# title file
table() {
    local run program base_cpu base_memory
    rm -f "$kept"/*.cpu "$kept"/*.memory
    cat "$2" >/dev/null # into the page cache: this is about CPU, not disks
    for run in $(seq "$runs"); do
        for program in "${programs[@]}"; do
            (work "$program" "$2") >/dev/null 2>"$kept/said" || {
                echo "bench: $program failed on $2:" >&2
                tail -n 5 "$kept/said" >&2
                exit 1
            }
            awk '{ print $1 + $2 }' "$kept/cost" >>"$kept/$program.cpu"
            awk '{ print $3 / 1024 }' "$kept/cost" >>"$kept/$program.memory"
        done
    done
    base_cpu="$(median <"$kept/tcpdump.cpu")"
    base_memory="$(median <"$kept/tcpdump.memory")"
    printf '\n%s: %s packets, %s MB; medians of %s runs each\n\n' \
        "$1" "$(packets "$2")" "$(($(stat -c %s "$2") / 1000000))" "$runs"
    echo '| program | CPU s | of tcpdump | memory MiB | of tcpdump |'
    echo '|---|---|---|---|---|'
    for program in "${programs[@]}"; do
        awk -v name="$program" -v cpu="$(median <"$kept/$program.cpu")" -v base_cpu="$base_cpu" \
            -v memory="$(median <"$kept/$program.memory")" -v base_memory="$base_memory" 'BEGIN {
                times = base_cpu > 0 ? sprintf("%.2f", cpu / base_cpu) : "-"
                printf "| %s | %.2f | %s | %.1f | %.2f |\n", name, cpu, times, memory, memory / base_memory
            }'
    done
}

packets() {
    "$sidetone" analyze --lenient --format json "$1" | sed -n 's/^"capture":.*"packets":\([0-9]*\).*/\1/p'
}

rtp="${SIDETONE_BENCH_CAPTURE:-$kept/rtp.pcap}"
sip="${SIDETONE_BENCH_SIP:-$kept/sip.pcap}"
[ -e "$rtp" ] || "$sidetone" simulate --calls 200 --duration 60 --rate 50 --loss 1 --jitter 5 -w "$rtp"
[ -e "$sip" ] || "$sidetone" simulate --calls 20000 --duration 0.1 --rate 500 -w "$sip"

echo "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), Linux $(uname -r), $(date -u +%F)"
echo "$("$sidetone" --version), $(tcpdump --version 2>&1 | head -1)$(
    [ "${#programs[@]}" -lt 3 ] || tshark --version 2>/dev/null | sed -n '1s/\.$//;1s/^/, /p'
)"
table RTP "$rtp"
table SIP "$sip"
