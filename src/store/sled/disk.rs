//! Owns the calls to the disk that can fail while a node runs, behind a
//! trait, so that tests can make them fail. Never retries.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// What the engine asks of a disk.
pub trait Disk: Send + Sync {
    /// Writes all of `bytes` at `offset`; after an error any part of them may
    /// be there.
    ///
    /// # Errors
    /// As the operating system says.
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        file.write_all_at(bytes, offset)
    }

    /// Makes a file's data durable. After an error the file is not written to
    /// again: the kernel may have dropped the pages and call the next sync a
    /// success.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    /// Makes a file or folder durable with all that is known of it.
    ///
    /// # Errors
    /// As the operating system says.
    fn sync_all(&self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Reserves space up to `bytes`, where the file system can.
    ///
    /// # Errors
    /// When there is not enough.
    fn reserve(&self, file: &File, bytes: u64) -> io::Result<()> {
        use rustix::fs::{FallocateFlags, fallocate};
        use rustix::io::Errno;
        match fallocate(file, FallocateFlags::empty(), 0, bytes) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) | Ok(()) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// The disk as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {}
