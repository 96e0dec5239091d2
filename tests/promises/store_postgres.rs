//! The engine on PostgreSQL keeps the store's contract, also when nodes commit
//! at once and sessions end in the middle.

use proptest::prelude::*;

use starmesh::store::Store;
use starmesh::store::conformance::conformance;
use starmesh::store::memory::Memory;

use crate::postgres_server::{open, shared};
use crate::store_model::{Event, draw, event, timeless};
use crate::store_support::contents;

#[test]
fn postgres_keeps_the_contract() {
    let server = shared();
    let url = server.database();
    conformance(|| {
        server.empty(&url);
        Box::new(open(&url)) as Box<dyn Store>
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn postgres_answers_and_keeps_what_memory_does(
        events in prop::collection::vec(event(), 1..60),
    ) {
        let server = shared();
        let memory = Memory::new();
        let url = server.database();
        let (mut store, mut last) = (open(&url), None);
        for event in events {
            match event {
                Event::Commit(_) | Event::Again => {
                    let Some(commit) = draw(&memory, event, &mut last) else { continue };
                    let (ours, model) = (store.commit(&commit), memory.commit(&commit));
                    prop_assert_eq!(timeless(ours), timeless(model), "{:?}", commit);
                }
                Event::Flush => drop(store.tend().expect("the server answers")),
                Event::Reopen => store = open(&url),
            }
        }
        prop_assert_eq!(contents(&store), contents(&memory));
        prop_assert_eq!(store.changes(0, 999), memory.changes(0, 999));
    }
}
