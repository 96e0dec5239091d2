//! Owns the catching of panics in an entity's code. Never hides one: who catches it
//! throws the entity away, says so and counts it; the process's hook has told where it
//! was. Invariant: nothing that a panic may have left half done is looked at again, but
//! for [`Entity::broke`](super::Entity::broke).

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `f` gives; `None` when it panicked.
pub fn caught<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}
