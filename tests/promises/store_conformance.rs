//! Every engine keeps the store's contract.

use starmesh::store::Store;
use starmesh::store::conformance::conformance;
use starmesh::store::memory::Memory;

#[test]
fn memory_keeps_the_contract() {
    conformance(|| Box::new(Memory::new()) as Box<dyn Store>);
}
