//! Owns the certificate of the HTTP listener, from two PEM files.

use std::path::{Path, PathBuf};

use rustls::ServerConfig;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::config;

/// Why there is no TLS; the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: expected {expected} in PEM form")]
    File { path: PathBuf, expected: &'static str, source: pem::Error },
    #[error("{certificate} and {key} do not make a TLS server")]
    Mismatch { certificate: String, key: String, source: rustls::Error },
}

/// The TLS set-up that the settings name, `None` when they name none. The
/// process's crypto provider must be installed.
///
/// # Errors
/// When a file cannot be read, or the key is not the certificate's.
pub fn server_config(settings: &config::Http) -> Result<Option<ServerConfig>, TlsError> {
    let (Some(certificate), Some(key)) = (&settings.tls_certificate, &settings.tls_key) else {
        return Ok(None);
    };
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|source| file(certificate, "a certificate chain", source))?;
    let private =
        PrivateKeyDer::from_pem_file(key).map_err(|source| file(key, "a private key", source))?;
    let built = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, private);
    built.map(Some).map_err(|source| TlsError::Mismatch {
        certificate: certificate.display().to_string(),
        key: key.display().to_string(),
        source,
    })
}

fn file(path: &Path, expected: &'static str, source: pem::Error) -> TlsError {
    TlsError::File { path: path.to_path_buf(), expected, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn needs_no_files_when_none_are_named() {
        let settings = Config::with("").unwrap().http;
        assert!(server_config(&settings).unwrap().is_none());
    }

    #[test]
    fn names_the_file_that_holds_no_certificate() {
        let text = "[http]\ntls_certificate = 'Cargo.toml'\ntls_key = 'nowhere.pem'\n";
        let settings = Config::with(text).unwrap().http;
        let error = server_config(&settings).unwrap_err().to_string();
        assert!(error.contains("Cargo.toml") || error.contains("nowhere.pem"), "{error}");
    }
}
