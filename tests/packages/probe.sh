unit=sidetone.service
pid() { systemctl show --property MainPID --value $unit; }
get() { exec 3<>/dev/tcp/127.0.0.1/9767 && printf 'GET %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n' "$1" >&3 && cat <&3; echo; } 2>/dev/null
within() { for _ in $(seq 300); do "$@" && return 0; sleep 0.1; done; return 1; }
export DEBIAN_FRONTEND=noninteractive PAGER=cat

echo "== installed"
dpkg --install /packages/first.deb
systemctl is-active $unit
systemctl is-enabled $unit

echo "== started"
systemctl enable --now $unit
systemctl is-active $unit
systemctl is-enabled $unit
systemctl -q is-active $unit || journalctl --no-pager --unit $unit

echo "== measured"
perl /packages/call.pl without a BYE
get /api/streams
perl /packages/call.pl
counted() { get /metrics | grep -q '^voip_sip_attempt_results_total'; }
within counted
get /metrics | grep -E '^voip_(sip_attempt_results|rtp_packets)_total'

echo "== upgraded"
echo '# kept' >>/etc/sidetone/sidetone.toml
old=$(pid)
dpkg --install /packages/second.deb
restarted() { [ "$(pid)" != "$old" ] && systemctl -q is-active $unit; }
within restarted && echo restarted
systemctl is-active $unit
sidetone --version
dpkg-query --show sidetone
tail -n 1 /etc/sidetone/sidetone.toml

echo "== removed"
dpkg --remove sidetone
systemctl is-active $unit
ls /etc/sidetone/sidetone.toml

echo "== purged"
dpkg --purge sidetone >/dev/null 2>&1
find / -xdev -name '*sidetone*' ! -path '/proc/*' ! -path '/var/log/journal/*' ! -path '/var/lib/dpkg/*' 2>/dev/null
systemctl poweroff --no-block
