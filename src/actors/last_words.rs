//! Owns what a process leaves in its data folder when it ends of itself while an
//! entity's code runs, and finds there what earlier ones left: one file for each
//! incarnation, opened when it begins and empty until then, so that nothing has to be
//! opened, locked or allocated when it ends. Never decides what follows from it.
//! Written by the watchdog, and by the handler of SIGABRT in the thread that aborts:
//! that is how Rust ends a process whose stack overflowed, that panicked behind a panic,
//! or for which there was no memory. A process that is killed writes nothing.
//!
//! Invariant: words that are not whole are no words; what was found is removed only
//! when the store has it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use signal_hook::consts::SIGABRT;
use signal_hook::low_level::emulate_default_handler;
use signal_hook_registry::register_sigaction;

use crate::base::{Incarnation, NodeId, Tick};
use crate::entity::attempt::{Attempt, How};
use crate::entity::workplace::{self, Words, Work};

/// Of the data folder.
const FOLDER: &str = "last-words";
/// The first number of whole words, and the last one is all others xored with it.
const WHOLE: u64 = u64::from_le_bytes(*b"endedby1");
const NUMBERS: usize = 8;
const BYTES: usize = 8 * NUMBERS;
/// How the system says that a thread sent a signal to itself (SI_TKILL). One that an
/// operator sends says nothing of what the thread that takes it is at.
const OWN: i32 = -6;
/// Files that are read; there are as many as a node ended so before it could say it.
const FOUND_MAX: usize = 64;

/// Where this process will leave them.
#[derive(Debug)]
pub struct LastWords {
    folder: PathBuf,
    node: NodeId,
    incarnation: Incarnation,
    file: File,
}

impl LastWords {
    /// Opens the file of an incarnation in `data`, and reads what others left.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn open(
        data: &Path,
        node: NodeId,
        incarnation: Incarnation,
    ) -> io::Result<(LastWords, Vec<Attempt>)> {
        let folder = data.join(FOLDER);
        fs::create_dir_all(&folder)?;
        let found = found(&folder)?;
        let file = File::create(path(&folder, node, incarnation))?;
        Ok((LastWords { folder, node, incarnation, file }, found))
    }

    /// This process ends because of what a thread is at.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(&self, work: Work, how: How) -> io::Result<Attempt> {
        let words = workplace::words(work.entity);
        self.file.write_all_at(&encode(words, work.tick.0, how), 0)?;
        self.file.sync_data()?;
        let Work { entity, tick } = work;
        let (node, incarnation) = (self.node, self.incarnation);
        Ok(Attempt { entity, node, incarnation, tick, how })
    }

    /// From now on a thread of this process that aborts while it runs an entity's code
    /// says so. For the process's only node.
    ///
    /// # Errors
    /// When the system refuses.
    #[expect(unsafe_code, reason = "what runs in the handler may be run there: see below")]
    pub fn on_abort(&self) -> io::Result<()> {
        let file = self.file.try_clone()?;
        let say = move |code: i32| {
            let at = workplace::here().map(|here| here.words());
            if let Some((words, tick)) = at
                && code == OWN
                && workplace::entity(words).is_some()
            {
                // It ends in any case.
                let _ = file.write_at(&encode(words, tick, How::Aborted), 0);
            }
            // As if nobody had listened.
            let _ = emulate_default_handler(SIGABRT);
        };
        // SAFETY: `say` reads a thread-local without a destructor and atomics, computes
        // with numbers on the stack, calls pwrite once and then what may be called in a
        // handler by its own word: no lock, no allocation, no panic.
        unsafe { register_sigaction(SIGABRT, move |info| say(info.si_code)) }.map(drop)
    }

    /// The store has what was found.
    pub fn forget(&self, attempt: &Attempt) {
        if !self.are(attempt) {
            // Found again it is as good as once.
            let _ = fs::remove_file(path(&self.folder, attempt.node, attempt.incarnation));
        }
    }

    /// Whether that is this process's own end.
    pub fn are(&self, attempt: &Attempt) -> bool {
        attempt.process() == (self.node, self.incarnation)
    }
}

fn path(folder: &Path, node: NodeId, incarnation: Incarnation) -> PathBuf {
    folder.join(format!("{}-{}", node.0, incarnation.0))
}

/// What earlier processes left; those that left nothing are forgotten.
fn found(folder: &Path) -> io::Result<Vec<Attempt>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(FOUND_MAX) {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let Some((node, incarnation)) = name.and_then(parse_name) else { continue };
        match decode(&fs::read(&path)?) {
            Some((work, how)) => {
                let Work { entity, tick } = work;
                found.push(Attempt { entity, node, incarnation, tick, how });
            }
            None => fs::remove_file(&path)?,
        }
    }
    Ok(found)
}

fn parse_name(name: &str) -> Option<(NodeId, Incarnation)> {
    let (node, incarnation) = name.split_once('-')?;
    Some((NodeId(node.parse().ok()?), Incarnation(incarnation.parse().ok()?)))
}

fn encode([a, b, c, d]: Words, tick: u64, how: How) -> [u8; BYTES] {
    let how = match how {
        How::Silent => 1,
        How::Aborted => 2,
    };
    let numbers = [WHOLE, how, a, b, c, d, tick];
    let check = numbers.iter().fold(0, |check: u64, number| check.rotate_left(7) ^ number);
    let mut bytes = [0; BYTES];
    for (chunk, number) in bytes.chunks_exact_mut(8).zip(numbers.iter().chain([&check])) {
        chunk.copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Work, How)> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let mut numbers = [0; NUMBERS];
    for (number, chunk) in numbers.iter_mut().zip(bytes.chunks_exact(8)) {
        *number = u64::from_le_bytes(chunk.try_into().ok()?);
    }
    let [_, how, a, b, c, d, tick, _] = numbers;
    let how = match how {
        1 => How::Silent,
        2 => How::Aborted,
        _ => return None,
    };
    let is_whole = encode([a, b, c, d], tick, how) == *bytes;
    let entity = workplace::entity([a, b, c, d]).filter(|_| is_whole)?;
    Some((Work { entity, tick: Tick(tick) }, how))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::EntityKey;

    const WORK: Work = Work { entity: EntityKey::Ledger(5), tick: Tick(1 << 40) };

    #[test]
    fn whole_words_are_read_and_no_others() {
        let bytes = encode(workplace::words(WORK.entity), WORK.tick.0, How::Aborted);
        assert_eq!(decode(&bytes), Some((WORK, How::Aborted)));
        for at in 0..BYTES {
            assert_eq!(decode(&bytes[..at]), None);
            let mut torn = bytes;
            torn[at] ^= 4;
            assert_eq!(decode(&torn), None);
        }
    }

    #[test]
    fn the_next_process_finds_them_until_they_are_stored_and_of_who_was_killed_nothing() {
        let data = tempfile::tempdir().unwrap();
        let open = |n| LastWords::open(data.path(), NodeId(3), Incarnation(n)).unwrap();
        let (killed, found) = open(1);
        assert_eq!(found, []);
        drop(killed);
        let (ended, found) = open(2);
        assert_eq!(found, []);
        let attempt = ended.write(WORK, How::Silent).unwrap();
        let (entity, tick) = (WORK.entity, WORK.tick);
        let (node, incarnation, how) = (NodeId(3), Incarnation(2), How::Silent);
        assert_eq!(attempt, Attempt { entity, node, incarnation, tick, how });
        assert_eq!(open(3).1, [attempt]);
        let (last, found) = open(4);
        assert_eq!(found, [attempt], "what was not stored is found again");
        last.forget(&attempt);
        assert_eq!(open(5).1, []);
    }
}
