//! Owns the file of the cluster secret: 32 random bytes that the first node
//! makes and every node of the cluster has. Never encrypts (`gateway::accounts`
//! does) and never logs it. Called when a node starts or joins. Invariant: the
//! file is there whole or not at all, readable by its owner only, and never
//! overwritten with another secret.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom, SystemRandom};

/// The file's name in the node's data folder.
pub const FILE_NAME: &str = "cluster.secret";
pub const BYTES: usize = 32;

/// Why there is no secret; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: the cluster secret could not be read or made")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: expected {BYTES} bytes as the cluster secret, found {found}")]
    Length { path: PathBuf, found: usize },
    #[error("{path}: others can read the cluster secret (mode {mode:o}); expected mode 600")]
    Readable { path: PathBuf, mode: u32 },
    #[error(
        "{path}: this folder has the secret of another cluster; join with an empty data folder"
    )]
    Other { path: PathBuf },
}

/// The secret in the data folder, which is made if there is none.
///
/// # Errors
/// When it cannot be read or made, is damaged, or can be read by others.
pub fn open(data: &Path) -> Result<[u8; BYTES], SecretError> {
    let path = data.join(FILE_NAME);
    if !is_there(&path)? {
        let made = random().and_then(|secret| make(data, &path, &secret));
        made.map_err(|source| SecretError::File { path: path.clone(), source })?;
    }
    read(path)
}

/// Puts the secret of the cluster that this node joins into its data folder.
///
/// # Errors
/// When there is another already, or it cannot be written.
pub fn adopt(data: &Path, secret: &[u8]) -> Result<(), SecretError> {
    let path = data.join(FILE_NAME);
    let secret: &[u8; BYTES] = secret
        .try_into()
        .map_err(|_| SecretError::Length { path: path.clone(), found: secret.len() })?;
    if !is_there(&path)? {
        make(data, &path, secret)
            .map_err(|source| SecretError::File { path: path.clone(), source })?;
    }
    if read(path.clone())? == *secret { Ok(()) } else { Err(SecretError::Other { path }) }
}

/// By which a store knows its cluster's nodes. It tells nobody the secret.
pub fn digest(secret: &[u8; BYTES]) -> [u8; 32] {
    blake3::derive_key("starmesh 2026 cluster secret: whose store it is", secret)
}

fn is_there(path: &Path) -> Result<bool, SecretError> {
    path.try_exists().map_err(|source| SecretError::File { path: path.to_path_buf(), source })
}

fn read(path: PathBuf) -> Result<[u8; BYTES], SecretError> {
    check_mode(&path)?;
    let bytes =
        fs::read(&path).map_err(|source| SecretError::File { path: path.clone(), source })?;
    let secret = bytes.as_slice().try_into();
    secret.map_err(|_| SecretError::Length { path, found: bytes.len() })
}

fn random() -> io::Result<[u8; BYTES]> {
    let mut secret = [0; BYTES];
    let filled = SystemRandom::new().fill(&mut secret);
    filled.map_err(|_| io::Error::other("the system has no random bytes"))?;
    Ok(secret)
}

/// Writes it under another name first, so that a crash leaves no half of one,
/// and links it, so that of two that do so at once one wins.
fn make(data: &Path, path: &Path, secret: &[u8; BYTES]) -> io::Result<()> {
    let draft = data.join(format!("{FILE_NAME}.{}", std::process::id()));
    // One left by a crash, whose mode may be another.
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(secret)?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => File::open(data)?.sync_all(),
    }
}

fn check_mode(path: &Path) -> Result<(), SecretError> {
    let metadata = fs::metadata(path)
        .map_err(|source| SecretError::File { path: path.to_path_buf(), source })?;
    let mode = metadata.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(SecretError::Readable { path: path.to_path_buf(), mode })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn is_made_once_and_readable_by_its_owner_only() {
        let data = tempfile::tempdir().unwrap();
        let made = open(data.path()).unwrap();
        let mode = fs::metadata(data.path().join(FILE_NAME)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        assert_eq!(open(data.path()).unwrap(), made);
    }

    #[test]
    fn refuses_a_file_that_others_can_read_or_that_is_damaged() {
        let data = tempfile::tempdir().unwrap();
        open(data.path()).unwrap();
        let path = data.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(open(data.path()), Err(SecretError::Readable { mode: 0o644, .. })));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(matches!(open(data.path()), Err(SecretError::Length { found: 5, .. })));
    }

    #[test]
    fn one_that_is_adopted_is_kept_and_never_replaced() {
        let data = tempfile::tempdir().unwrap();
        adopt(data.path(), &[7; BYTES]).unwrap();
        // Asked again, as after a crash.
        adopt(data.path(), &[7; BYTES]).unwrap();
        assert_eq!(open(data.path()).unwrap(), [7; BYTES]);
        let mode = fs::metadata(data.path().join(FILE_NAME)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(adopt(data.path(), &[8; BYTES]), Err(SecretError::Other { .. })));
        assert!(matches!(adopt(data.path(), &[8; 3]), Err(SecretError::Length { found: 3, .. })));
        assert_eq!(open(data.path()).unwrap(), [7; BYTES]);
    }
}
