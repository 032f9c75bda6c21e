#!/bin/sh
# stage.sh PROGRAM ROOT: puts everything that a package holds below ROOT, where it is installed. The program itself writes
# its manual pages and completions.
set -eu
program=$(realpath "$1")
root=$2
cd "$(dirname "$0")/.."

put() { install -D -m "$1" "$2" "$root/$3"; }
say() { install -d "$root/$(dirname "$1")" && cat >"$root/$1" && chmod 644 "$root/$1"; }

put 755 "$program" usr/bin/sidetone
strip --strip-unneeded "$root/usr/bin/sidetone"
put 644 systemd/sidetone.service usr/lib/systemd/system/sidetone.service
put 644 systemd/sidetone.sysusers usr/lib/sysusers.d/sidetone.conf
put 644 packaging/sidetone.toml etc/sidetone/sidetone.toml

"$program" man | gzip -9n | say usr/share/man/man1/sidetone.1.gz
for command in $("$program" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z]\{1,\}\).*/\1/p'); do
    [ "$command" = help ] || "$program" man "$command" | gzip -9n | say "usr/share/man/man1/sidetone-$command.1.gz"
done
"$program" completions bash | say usr/share/bash-completion/completions/sidetone
"$program" completions zsh | say usr/share/zsh/vendor-completions/_sidetone
"$program" completions fish | say usr/share/fish/vendor_completions.d/sidetone.fish

doc=usr/share/doc/sidetone
for text in README.md CHANGELOG.md LICENSE-MIT LICENSE-APACHE; do
    put 644 "$text" "$doc/$text"
done
for page in docs/*.md docs/*.svg docs/runbooks/*.md; do
    [ ! -e "$page" ] || put 644 "$page" "$doc/${page#docs/}"
done
# What opens the unit, bit by bit: to be copied to /etc/systemd/system/sidetone.service.d.
for more in systemd/sidetone.service.d/*.conf; do
    put 644 "$more" "$doc/examples/sidetone.service.d/${more##*/}"
done
# Rules, dashboards, rule files for logs of others, and scripts, as far as they are there.
for more in prometheus grafana tail; do
    [ ! -d "packaging/$more" ] || (cd packaging && find "$more" -type f) | while read -r file; do
        put 644 "packaging/$file" "usr/share/sidetone/$file"
    done
done
if [ -d scripts ]; then
    for script in scripts/*; do put 755 "$script" "usr/share/sidetone/${script}"; done
fi
