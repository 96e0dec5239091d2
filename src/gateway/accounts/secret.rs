//! Owns the cluster secret: 32 random bytes in a file that the first node makes
//! and every node of the cluster has. It encrypts what is secret in the store,
//! so that a copy of the store alone signs nothing. Never logged, never stored
//! in the store.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use super::random::random;

/// The file's name in the node's data folder.
pub const FILE_NAME: &str = "cluster.secret";
const BYTES: usize = 32;

/// Why there is no secret; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error("{path}: the cluster secret could not be read or made")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: expected {BYTES} bytes as the cluster secret, found {found}")]
    Length { path: PathBuf, found: usize },
    #[error("{path}: others can read the cluster secret (mode {mode:o}); expected mode 600")]
    Readable { path: PathBuf, mode: u32 },
}

/// What was encrypted is damaged, or was encrypted with another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted with this cluster secret")]
pub struct CannotDecrypt;

/// The secret of the cluster.
#[derive(Clone)]
pub struct ClusterSecret([u8; BYTES]);

impl std::fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ClusterSecret(…)")
    }
}

impl ClusterSecret {
    /// The secret in the data folder, which is made if there is none.
    ///
    /// # Errors
    /// When it cannot be read or made, is damaged, or can be read by others.
    pub fn open(data: &Path) -> Result<ClusterSecret, SecretError> {
        let path = data.join(FILE_NAME);
        let file = |source| SecretError::File { path: path.clone(), source };
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make(data, &path).map_err(file)?;
            }
            Err(error) => return Err(file(error)),
            Ok(_) => {}
        }
        check_mode(&path)?;
        let bytes = fs::read(&path).map_err(file)?;
        let secret = bytes.as_slice().try_into();
        secret.map(ClusterSecret).map_err(|_| SecretError::Length { path, found: bytes.len() })
    }

    /// `plain`, encrypted for `purpose`: a random nonce, then the ciphertext
    /// (ChaCha20-Poly1305) and its tag.
    pub fn encrypt(&self, purpose: &str, plain: &[u8]) -> Vec<u8> {
        let nonce: [u8; NONCE_LEN] = random();
        let mut sealed = plain.to_vec();
        let key = self.key(purpose);
        // ring refuses only texts of more than 256 GiB.
        key.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(purpose.as_bytes()),
            &mut sealed,
        )
        .expect("the text fits in memory");
        [nonce.as_slice(), &sealed].concat()
    }

    /// The inverse of [`encrypt`](Self::encrypt) for the same purpose.
    ///
    /// # Errors
    /// When it was damaged or encrypted with another secret or purpose.
    pub fn decrypt(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, CannotDecrypt> {
        let (nonce, text) = sealed.split_at_checked(NONCE_LEN).ok_or(CannotDecrypt)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| CannotDecrypt)?;
        let mut text = text.to_vec();
        let aad = Aad::from(purpose.as_bytes());
        let plain = self.key(purpose).open_in_place(nonce, aad, &mut text);
        plain.map(|plain| plain.to_vec()).map_err(|_| CannotDecrypt)
    }

    fn key(&self, purpose: &str) -> LessSafeKey {
        let key = blake3::derive_key(&format!("starmesh 2026 cluster secret: {purpose}"), &self.0);
        // A key of this algorithm is any 32 bytes.
        LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, &key).expect("32 bytes are a key"))
    }
}

/// Writes a new secret under another name first, so that a crash leaves no half
/// of one, and links it, so that of two nodes that start at once one wins.
fn make(data: &Path, path: &Path) -> io::Result<()> {
    let secret: [u8; BYTES] = random();
    let draft = data.join(format!("{FILE_NAME}.{}", std::process::id()));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&draft)?;
    file.write_all(&secret)?;
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
        let made = ClusterSecret::open(data.path()).unwrap();
        let mode = fs::metadata(data.path().join(FILE_NAME)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path()).unwrap().count(), 1);
        let again = ClusterSecret::open(data.path()).unwrap();
        assert_eq!(again.decrypt("a", &made.encrypt("a", b"hello")).unwrap(), b"hello");
    }

    #[test]
    fn refuses_a_file_that_others_can_read_or_that_is_damaged() {
        let data = tempfile::tempdir().unwrap();
        ClusterSecret::open(data.path()).unwrap();
        let path = data.path().join(FILE_NAME);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(
            ClusterSecret::open(data.path()),
            Err(SecretError::Readable { mode: 0o644, .. })
        ));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, b"short").unwrap();
        assert!(matches!(
            ClusterSecret::open(data.path()),
            Err(SecretError::Length { found: 5, .. })
        ));
    }

    #[test]
    fn decrypts_only_what_it_encrypted_for_that_purpose() {
        let (one, other) = (ClusterSecret([1; 32]), ClusterSecret([2; 32]));
        let mut sealed = one.encrypt("keys", b"hello");
        assert_eq!(one.decrypt("keys", &sealed).unwrap(), b"hello");
        assert_eq!(other.decrypt("keys", &sealed), Err(CannotDecrypt));
        assert_eq!(one.decrypt("mail", &sealed), Err(CannotDecrypt));
        sealed[20] ^= 1;
        assert_eq!(one.decrypt("keys", &sealed), Err(CannotDecrypt));
        assert_eq!(one.decrypt("keys", b""), Err(CannotDecrypt));
    }
}
