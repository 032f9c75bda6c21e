#!/bin/sh
# deb.sh PROGRAM DIRECTORY [VERSION]: a Debian package of PROGRAM, in DIRECTORY; prints its name. Needs dpkg-dev.
set -eu
program=$(realpath "$1")
mkdir -p "$2"
into=$(realpath "$2")
cd "$(dirname "$0")/.."
version=${3:-$("$program" --version | sed 's/.* //')}
architecture=$(dpkg --print-architecture)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"

packaging/stage.sh "$program" "$work/root"
# Which libraries, in which versions: the tool looks for the description of a source package.
mkdir "$work/debian"
printf 'Source: sidetone\n\nPackage: sidetone\nArchitecture: any\n' >"$work/debian/control"
depends=$(cd "$work" && dpkg-shlibdeps -O -e root/usr/bin/sidetone 2>/dev/null | sed -n 's/^shlibs:Depends=//p')

install -d "$work/root/DEBIAN"
sed -e "s/@version@/$version/" -e "s/@architecture@/$architecture/" -e "s/@depends@/$depends/" \
    -e "s/@kib@/$(du -ks "$work/root" | cut -f 1)/" packaging/deb/control.in >"$work/root/DEBIAN/control"
echo /etc/sidetone/sidetone.toml >"$work/root/DEBIAN/conffiles"
install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$work/root/DEBIAN"
(cd "$work/root" && find . -type f ! -path './DEBIAN/*' -printf '%P\0' | sort -z | xargs -0 md5sum >DEBIAN/md5sums)
dpkg-deb --root-owner-group --build "$work/root" "$into/sidetone_${version}_$architecture.deb" >/dev/null
echo "$into/sidetone_${version}_$architecture.deb"
