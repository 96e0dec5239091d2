//! Every engine keeps the store's contract.

use starmesh::store::Store;
use starmesh::store::conformance::conformance;
use starmesh::store::memory::Memory;
use starmesh::store::sled::{Options, Sled};

#[test]
fn memory_keeps_the_contract() {
    conformance(|| Box::new(Memory::new()) as Box<dyn Store>);
}

/// The suite on stores in folders of their own.
fn sled_conformance(options: &Options) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let opened = std::cell::Cell::new(0);
    conformance(|| {
        opened.set(opened.get() + 1);
        let dir = dir.path().join(opened.get().to_string());
        Box::new(Sled::open(&dir, options.clone()).expect("a new store")) as Box<dyn Store>
    });
}

#[test]
fn sled_keeps_the_contract() {
    sled_conformance(&Options::default());
}

#[test]
fn sled_keeps_the_contract_with_tiny_segments_and_batches() {
    sled_conformance(&Options { segment_bytes: 4096, batch_keys: 1, ..Options::default() });
}
