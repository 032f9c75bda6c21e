#!/bin/sh
# Runs every fuzz target for FUZZ_SECONDS from the kept corpus and holds it to the floors in fuzz/floors.
set -eu
seconds="${FUZZ_SECONDS:-10}"
cd "$(dirname "$0")/../fuzz"
if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "fuzz: SKIPPED: needs a nightly toolchain (rustup toolchain install nightly)" >&2
    exit 0
fi
command -v cargo-fuzz >/dev/null 2>&1 || cargo install --locked --quiet cargo-fuzz
cargo +nightly fuzz build --sanitizer none >/dev/null 2>build.log || { cat build.log >&2; exit 1; }
rm -f build.log
while read -r target executions edges; do
    case "$target" in "" | "#"*) continue ;; esac
    log="$(mktemp)"
    scratch="$(mktemp -d)"
    # New finds go to a scratch folder: a run must not change the checkout.
    if ! cargo +nightly fuzz run --sanitizer none "$target" "$scratch" "corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 >"$log" 2>&1; then
        tail -40 "$log" >&2
        exit 1
    fi
    done_executions="$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")"
    done_edges="$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)"
    echo "fuzz: $target: $done_executions executions, $done_edges edges in $seconds s (floors $executions, $edges)"
    if [ "$done_executions" -lt "$((executions * seconds))" ] || [ "${done_edges:-0}" -lt "$edges" ]; then
        echo "fuzz: $target is below its floor" >&2
        exit 1
    fi
    rm -rf "$log" "$scratch"
done <floors
