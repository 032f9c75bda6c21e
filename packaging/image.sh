#!/bin/sh
# image.sh PROGRAM DIRECTORY: image.tar for packaging/container/Containerfile, in DIRECTORY; prints its name. PROGRAM should
# be linked statically; what it is linked with otherwise goes along. Needs python3.
set -eu
program=$(realpath "$1")
mkdir -p "$2"
into=$(realpath "$2")
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

install -D -m 755 "$program" "$work/usr/bin/sidetone"
strip --strip-unneeded "$work/usr/bin/sidetone"
for library in $(ldd "$program" 2>/dev/null | grep -o '/[^ ]*'); do
    install -D -m 755 "$library" "$work$library"
done
install -d "$work/etc/sidetone" "$work/etc/ssl/certs"
[ ! -e /etc/ssl/certs/ca-certificates.crt ] || cp /etc/ssl/certs/ca-certificates.crt "$work/etc/ssl/certs/"
python3 packaging/container/image.py "$work" "$into/image.tar"
echo "$into/image.tar"
