#!/bin/sh
# rpm.sh PROGRAM DIRECTORY [VERSION]: an RPM package of PROGRAM, in DIRECTORY; prints its name. Needs rpmbuild.
set -eu
program=$(realpath "$1")
mkdir -p "$2"
into=$(realpath "$2")
cd "$(dirname "$0")/.."
version=${3:-$("$program" --version | sed 's/.* //')}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
packaging/stage.sh "$program" "$work/root"
mkdir -p "$work/root/usr/share/sidetone"
rpmbuild --quiet -bb --define "_topdir $work/rpm" --define "version_ $version" --define "staged $work/root" \
    --define "_build_id_links none" --define "_prefix /usr" --define "_docdir /usr/share/doc" \
    --define "__brp_strip %{nil}" packaging/rpm/sidetone.spec >&2
find "$work/rpm/RPMS" -name '*.rpm' -exec cp {} "$into" \;
ls "$into"/sidetone-"$version"-1.*.rpm
