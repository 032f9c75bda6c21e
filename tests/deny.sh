#!/bin/sh
# cargo-deny: licences, sources, duplicate versions; advisories where their database can be fetched.
set -eu
if ! command -v cargo-deny >/dev/null 2>&1; then
    cargo install --locked --quiet cargo-deny
fi
cargo deny --log-level error --all-features check bans licenses sources
if cargo deny --log-level off fetch db >/dev/null 2>&1; then
    cargo deny --log-level error --all-features check --disable-fetch advisories
else
    echo "deny: SKIPPED advisories: their database could not be fetched" >&2
fi
