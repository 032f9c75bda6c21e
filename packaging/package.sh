#!/bin/sh
# package.sh: packages of this version in target/package. The .deb holds the program as it is built here, with libpcap;
# the .rpm, the archive and the container image one that is linked statically against musl and captures by the ring alone:
# it runs on any distribution. Needs dpkg-dev and binutils; rpmbuild, python3, musl-gcc and Rust's musl target for the rest.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
into=target/package
rm -rf "$into"
mkdir -p "$into"

$cargo build --release --locked
packaging/deb.sh target/release/sidetone "$into"

target=$(uname -m)-unknown-linux-musl
if ! command -v musl-gcc >/dev/null 2>&1; then
    echo "package: no .rpm, archive and image: musl-gcc is missing (package musl-tools)" >&2
elif [ ! -d "$(rustc --print target-libdir --target "$target")" ]; then
    echo "package: no .rpm, archive and image: rustup target add $target" >&2
else
    $cargo build --release --locked --target "$target" --no-default-features --features tls
    program=target/$target/release/sidetone
    packaging/stage.sh "$program" "$into/root"
    version=$("$program" --version | sed 's/.* //')
    tar -C "$into/root" --owner 0 --group 0 --sort name -czf "$into/sidetone-$version-$(uname -m).tar.gz" .
    rm -rf "$into/root"
    echo "$PWD/$into/sidetone-$version-$(uname -m).tar.gz"
    if command -v python3 >/dev/null 2>&1; then
        packaging/image.sh "$program" "$into"
    else
        echo "package: no container image: python3 is missing" >&2
    fi
    if command -v rpmbuild >/dev/null 2>&1; then
        packaging/rpm.sh "$program" "$into"
    else
        echo "package: no .rpm: rpmbuild is missing (package rpm)" >&2
    fi
fi
