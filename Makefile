# What people run. `make test` is the gate; everything else is cargo.

.PHONY: help test demo cluster sim golden crash crowd bench bench-yardstick wasm

help:
	@echo 'make demo              one node and 200 computer-played empires, kept in data/demo'
	@echo 'make cluster           three nodes and 60 computer-played empires, kept in data/cluster'
	@echo 'make test              everything that must hold before a change lands'
	@echo 'make sim [SEED=n]      the simulator: many seeds (SEEDS=n says how many), or one again'
	@echo 'make golden            new golden bytes, after a version was raised'
	@echo 'make crash [ROUNDS=n]  SIGKILL under load, 20 rounds; SEED=n repeats them'
	@echo 'make crowd [CLIENTS=n] a ship of each of 1000 players goes into one sector, five minutes'
	@echo 'make bench             what docs/benchmarks.md records'
	@echo 'make bench-yardstick  our links beside ractor_cluster and kameo, which it downloads and builds'
	@echo 'make wasm              the pure library as a WebAssembly module'

test:
	@scripts/test-all

demo:
	cargo run --release --locked -- demo

cluster:
	cargo run --release --locked -- cluster

# SEED alone is that one again; SEEDS is how many, from SEED on; without either
# a few thousand.
sim:
	STARMESH_SIM_SEED=$(SEED) STARMESH_SIM_SEEDS=$(SEEDS) \
		cargo test --locked --test simulator -- --nocapture

golden:
	STARMESH_WRITE_GOLDEN=1 cargo test --locked --no-default-features --test simulator -- \
		golden_journals_are_read
	STARMESH_WRITE_GOLDEN=1 cargo test --locked --test promises -- golden_messages_between_nodes

ROUNDS ?= 20
crash:
	STARMESH_CRASH_ROUNDS=$(ROUNDS) STARMESH_CRASH_SEED=$(SEED) \
		cargo test --locked --test processes -- --nocapture crash

CLIENTS ?= 1000
crowd:
	STARMESH_CROWD_CLIENTS=$(CLIENTS) cargo test --locked --test processes -- --nocapture crowd

bench:
	cargo bench --locked --bench '*'

# A package of its own with a lock file of its own: nothing of it is in the product.
bench-yardstick:
	cd benches/yardstick && cargo run --release --locked

wasm:
	scripts/wasm-build
