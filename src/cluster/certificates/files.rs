//! Owns files of certificates and keys: made whole or not at all, private ones
//! readable by their owner only. Blocks; called when a node starts and by the
//! command line.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::CertificateError;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    Everybody,
    Owner,
}

/// Larger than any file of certificates; what is larger is something else.
const BYTES_MAX: u64 = 1 << 20;

/// Makes `path`, which must not be there yet. Of two that do so at once one
/// gets [`CertificateError::Exists`].
///
/// # Errors
/// When it exists or cannot be written.
pub fn make(path: &Path, text: &str, readers: Readers) -> Result<(), CertificateError> {
    let draft = draft(path, text, readers).map_err(|source| file_error(path, source))?;
    let linked = fs::hard_link(&draft, path);
    let removed = fs::remove_file(&draft);
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(CertificateError::Exists { path: path.to_owned() })
        }
        done => done
            .and(removed)
            .and_then(|()| sync_folder(path))
            .map_err(|source| file_error(path, source)),
    }
}

/// Writes `path` anew; a crash leaves the old file or the new one.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str, readers: Readers) -> Result<(), CertificateError> {
    draft(path, text, readers)
        .and_then(|draft| fs::rename(draft, path))
        .and_then(|()| sync_folder(path))
        .map_err(|source| file_error(path, source))
}

/// The file's text; of a private one only when nobody else can read it.
///
/// # Errors
/// When it cannot be read, is too large, or is open to others.
pub fn read(path: &Path, readers: Readers) -> Result<String, CertificateError> {
    let metadata = fs::metadata(path).map_err(|source| file_error(path, source))?;
    let mode = metadata.mode() & 0o777;
    if readers == Readers::Owner && mode & 0o077 != 0 {
        return Err(CertificateError::Readable { path: path.to_owned(), mode });
    }
    if metadata.len() > BYTES_MAX {
        let large = format!("{} bytes are too many for certificates", metadata.len());
        return Err(file_error(path, io::Error::other(large)));
    }
    fs::read_to_string(path).map_err(|source| file_error(path, source))
}

/// Writes beside `path` what is to become it; returns where.
fn draft(path: &Path, text: &str, readers: Readers) -> io::Result<PathBuf> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let draft = path.with_file_name(name);
    // One left by a crash, whose mode may be another.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mode = if readers == Readers::Owner { 0o600 } else { 0o644 };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(draft)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn file_error(path: &Path, source: io::Error) -> CertificateError {
    CertificateError::File { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_private_file_is_made_once_and_open_to_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        make(&path, "one", Readers::Owner).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(matches!(make(&path, "two", Readers::Owner), Err(CertificateError::Exists { .. })));
        assert_eq!(read(&path, Readers::Owner).unwrap(), "one");
        replace(&path, "three", Readers::Owner).unwrap();
        assert_eq!(read(&path, Readers::Owner).unwrap(), "three");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_private_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        make(&path, "one", Readers::Owner).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read(&path, Readers::Owner),
            Err(CertificateError::Readable { mode: 0o640, .. })
        ));
        assert_eq!(read(&path, Readers::Everybody).unwrap(), "one");
    }
}
