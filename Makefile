# Two commands for a fresh Debian or Ubuntu machine with Rust, git and make: `make run`, `make test`.

CARGO ?= cargo
SIDETONE = target/release/sidetone
FUZZ_SECONDS ?= 10

.PHONY: run test lint fuzz bench docs tools clean

run: $(SIDETONE)
	$(SIDETONE) analyze fixtures/scenes/mixed.pcap

$(SIDETONE): FORCE
	$(CARGO) build --release

test: tools
	$(CARGO) test --all-targets
	$(CARGO) test --doc
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

lint:
	$(CARGO) fmt --check
	$(CARGO) clippy --all-targets -- --deny warnings
	tests/deny.sh

# Every fuzz target in turn, FUZZ_SECONDS each, from the kept corpus.
fuzz:
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz.sh

# Side by side with tcpdump and tshark in one run; figures for docs/performance.md.
bench: tools $(SIDETONE)
	benches/side_by_side.sh

# What the program says of itself: metric catalogue, man page, completions.
docs: $(SIDETONE)
	$(SIDETONE) metrics > docs/metrics.md

tools:
	tests/tools.sh

clean:
	$(CARGO) clean

FORCE:
