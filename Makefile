# On a fresh Debian or Ubuntu with Rust, git and make: `make run`, `make test`.

CARGO ?= cargo
SIDETONE = target/release/sidetone
FUZZ_SECONDS ?= 10

# Where tests/tools.sh puts what is not installed system-wide.
export PATH := $(CURDIR)/target/tools/bin:$(PATH)

.PHONY: package run test lint fuzz bench bench-live guard docs fixtures clean

# A first look: builds the program without the optimisation of a release, which takes less time, plays simulated calls and
# says where to look at them, until Ctrl-C.
run:
	tests/tools.sh cc pcap-config
	$(CARGO) build --locked
	target/debug/sidetone demo

$(SIDETONE): FORCE
	tests/tools.sh cc pcap-config
	$(CARGO) build --release --locked

# Fuzzing first, so that the last line is that of the tests.
test: fuzz
	tests/tools.sh cc pcap-config tshark promtool prometheus curl openssl ip tcpreplay setpriv setcap strace systemd-analyze systemd-nspawn
	tests/tools.sh tcpdump ethtool kamailio rtpengine sipp baresip prometheus-process-exporter
	tests/tools.sh dpkg-shlibdeps strip rpmbuild schemas buildah perl jq xxd logrotate logstash-parser rotel-agent
	tests/tools.sh prometheus-alertmanager amtool musl-gcc libjemalloc.so.2
	$(CARGO) test --locked

lint:
	tests/tools.sh cc pcap-config
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- --deny warnings
	tests/deny.sh

# Every fuzz target in turn, FUZZ_SECONDS each, from the kept corpus.
fuzz:
	tests/tools.sh cc c++
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

# Side by side with tcpdump and tshark; the table belongs into docs/performance.md.
bench: $(SIDETONE)
	tests/tools.sh time tcpdump tshark
	benches/side_by_side.sh

# Live, with the own ring and with libpcap; as root.
bench-live: $(SIDETONE)
	tests/tools.sh cc ip curl
	benches/live.sh

# Instructions a packet and a message beside the kept ceilings.
guard: $(SIDETONE)
	benches/instructions.sh

# What the documents quote of the program: the report in README.md, docs/metrics.md.
docs:
	SIDETONE_WRITE_DOCS=1 $(CARGO) test --locked --test documents

# The captures in fixtures/scenes, by the project's own simulator.
fixtures:
	$(CARGO) run --locked --example scenes

clean:
	$(CARGO) clean

# Packages in target/package.
package:
	tests/tools.sh cc pcap-config dpkg-shlibdeps strip rpmbuild musl-gcc python3
	packaging/package.sh

FORCE:
