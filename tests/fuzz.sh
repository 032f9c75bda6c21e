#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS from the kept corpus and holds it to the floors in fuzz/floors.
#
#   tests/fuzz.sh              all targets
#   tests/fuzz.sh sip rtp      these
set -eu
seconds="${FUZZ_SECONDS:-10}"
cd "$(dirname "$0")/../fuzz"
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: SKIPPED: needs a nightly toolchain (rustup toolchain install nightly)" >&2
    exit 0
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-fuzz
fi
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
cargo +nightly fuzz build --sanitizer none >"$work/build" 2>&1 || { cat "$work/build" >&2; exit 1; }
failed=0
while read -r target executions edges; do
    case "$target" in "" | "#"*) continue ;; esac
    case " ${*:-$target} " in *" $target "*) ;; *) continue ;; esac
    # New finds go to a scratch folder: a run must not change the checkout.
    mkdir "$work/$target"
    if ! cargo +nightly fuzz run --sanitizer none "$target" "$work/$target" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 \
        </dev/null >"$work/log" 2>&1; then
        tail -60 "$work/log" >&2
        echo "fuzz: $target: FAILED; the input is in fuzz/artifacts/$target" >&2
        failed=1
        continue
    fi
    done_executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/log")"
    done_edges="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$work/log" | tail -1)"
    least="$((executions * seconds))"
    echo "fuzz: $target: ${done_executions:=0} executions, ${done_edges:=0} edges in $seconds s (floors $least, $edges)"
    if [ "$done_executions" -lt "$least" ] || [ "$done_edges" -lt "$edges" ]; then
        echo "fuzz: $target: FAILED: below its floor" >&2
        failed=1
    fi
done <floors
exit "$failed"
