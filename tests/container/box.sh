# box.sh ROOT SCRIPT ARGUMENT...: ROOT as a runtime mounts it, read-only, with /proc and devices; then perl.
set -eu
mount --make-rprivate /
mount --bind "$1" "$1"
mkdir -p "$1/proc" "$1/dev"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount -o remount,bind,ro "$1"
shift
exec perl "$@"
