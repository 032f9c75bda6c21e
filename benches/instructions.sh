#!/usr/bin/env bash
# Guard against creeping cost: instructions of `sidetone analyze` per packet of an RTP-heavy capture and per message
# of a SIP-heavy one, both simulated with a fixed seed, beside the ceilings in benches/instructions.txt. Unlike
# times, instructions hardly depend on the machine and on what else it does. Fails above a ceiling by more than 5 %.
#
#   benches/instructions.sh          compare
#   benches/instructions.sh --keep   write what is measured as the new ceilings
set -euo pipefail
cd "$(dirname "$0")/.."

sidetone=target/release/sidetone
kept=target/bench
ceilings=benches/instructions.txt
command -v valgrind >/dev/null || { echo "instructions: skipped, valgrind is missing (Debian: apt install valgrind)"; exit 0; }
if [ "$(uname -m)" != x86_64 ]; then
    echo "instructions: skipped, the ceilings are those of x86_64"
    exit 0
fi
cargo build --release --locked --quiet
mkdir -p "$kept"

# name, options of simulate -> capture
capture() {
    "$sidetone" simulate --seed 7 "${@:2}" -w "$kept/$1.pcap" >/dev/null
}

# capture -> instructions of the whole run
instructions() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$sidetone" analyze --format json "$1" 2>&1 >/dev/null |
        sed -n 's/.*Collected : \([0-9]*\).*/\1/p'
}

# capture -> packets in it
packets() {
    "$sidetone" analyze --format json "$1" | sed -n 's/^"capture":.*"packets":\([0-9]*\).*/\1/p'
}

# capture -> SIP messages in it
messages() {
    "$sidetone" analyze --format json "$1" |
        sed -n '/^"sip":/{s/,"retransmissions".*//;s/"[0-9A-Za-z]*"://g;s/[{},]/ /g;p}' |
        awk '{ for (i = 1; i <= NF; i++) sum += $i } END { print sum }'
}

capture rtp --calls 40 --duration 20 --rate 10 --loss 1 --jitter 5
capture sip --calls 2000 --duration 0.1 --ptime 120 --rate 500

measured=(
    "rtp $(($(instructions "$kept/rtp.pcap") / $(packets "$kept/rtp.pcap"))) packet"
    "sip $(($(instructions "$kept/sip.pcap") / $(messages "$kept/sip.pcap"))) message"
)
if [ "${1:-}" = --keep ]; then
    printf '%s\n' "${measured[@]}" >"$ceilings"
fi
failed=0
while read -r name now unit; do
    ceiling="$(awk -v name="$name" '$1 == name { print $2 }' "$ceilings")"
    echo "instructions: $name: $now a $unit, ceiling $ceiling"
    if [ $((now * 100)) -gt $((ceiling * 105)) ]; then
        echo "instructions: $name: more than 5 % above the ceiling" >&2
        failed=1
    elif [ $((now * 105)) -lt $((ceiling * 100)) ]; then
        echo "instructions: $name: well below it; benches/instructions.sh --keep lowers it"
    fi
done < <(printf '%s\n' "${measured[@]}")
exit "$failed"
