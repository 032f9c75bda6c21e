# throwaway.sh SCRIPT: runs it in $project, on a system whose files are covered by those in $layers and whose changes
# nobody keeps.
set -eu
mount --make-rprivate /
mount -t tmpfs tmpfs /mnt
cover() {
    over=/mnt/$(echo "$1" | tr / _)
    mkdir "$over" "$over.work"
    [ ! -d "$2" ] || cp -a "$2/." "$over"
    mount -t overlay -o "lowerdir=$1,upperdir=$over,workdir=$over.work" overlay "$1"
}
for directory in etc usr var; do cover "/$directory" "$layers/$directory"; done
cover "$project" "$layers/project"
cd "$project"
export PATH="$layers/bin:$PATH" HOME=/root
exec timeout 60 bash -euo pipefail "$1"
