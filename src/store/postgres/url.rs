//! Owns how `store.url` names a server: hosts, database, user, and whether
//! and whom TLS trusts. Never connects. Invariant: what leaves the machine is
//! encrypted to a server that was verified, unless the URL says otherwise.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Options;

/// Why a URL names no server.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    #[error("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE")]
    NoUrl,
    #[error("{0}")]
    Malformed(String),
    #[error("sslmode={0}: expected verify-full or disable")]
    Mode(String),
    #[error("sslmode=verify-full needs sslrootcert=FILE, the certificates to trust, in PEM form")]
    NoRoots,
    #[error(
        "the server is on another machine: add ?sslmode=verify-full&sslrootcert=FILE, or sslmode=disable where nobody listens"
    )]
    Plain,
    #[error("sslrootcert: {path}: expected certificates in PEM form")]
    Roots { path: PathBuf, source: pem::Error },
    #[error("sslrootcert: {0} has no certificate that can be trusted")]
    NoCertificate(PathBuf),
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A server, and how sessions with it are set up.
#[derive(Clone)]
pub struct Target {
    pub config: Config,
    pub tls: Option<MakeRustlsConnect>,
    pub connect_within: Duration,
    /// Statements that every session begins with.
    pub session: Arc<str>,
}

/// Whether a `store.url` names a PostgreSQL server.
pub fn is_url(text: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| text.starts_with(scheme))
}

/// The server that `url` names.
///
/// # Errors
/// See [`UrlError`]; no error repeats the password.
pub fn parse(url: &str, options: &Options) -> Result<Target, UrlError> {
    if !is_url(url) {
        return Err(UrlError::NoUrl);
    }
    let (rest, trust) = take_trust(url)?;
    let malformed = |error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        UrlError::Malformed(cause.unwrap_or_else(|| error.to_string()))
    };
    let mut config: Config = rest.parse().map_err(malformed)?;
    let tls = match trust {
        Trust::Roots(path) => Some(verified(&path)?),
        Trust::Disabled => None,
        Trust::Unsaid if is_local(&config) => None,
        Trust::Unsaid => return Err(UrlError::Plain),
    };
    config
        .ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable })
        .application_name("starmesh")
        .connect_timeout(options.connect_within)
        .tcp_user_timeout(options.statement_within * 2)
        .keepalives_idle(options.statement_within * 2)
        // Of several hosts the one that is the primary.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    let session = session(options).into();
    Ok(Target { config, tls, connect_within: options.connect_within, session })
}

enum Trust {
    Unsaid,
    Disabled,
    Roots(PathBuf),
}

/// Takes `sslmode` and `sslrootcert` out of a URL.
fn take_trust(url: &str) -> Result<(String, Trust), UrlError> {
    let (place, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut roots, mut rest) = (None, None, Vec::new());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => roots = Some(PathBuf::from(value)),
            _ => rest.push(pair),
        }
    }
    let trust = match (mode, roots) {
        (None, None) => Trust::Unsaid,
        (Some("disable"), _) => Trust::Disabled,
        (None | Some("verify-full"), Some(path)) => Trust::Roots(path),
        (Some("verify-full"), None) => return Err(UrlError::NoRoots),
        (Some(other), _) => return Err(UrlError::Mode(other.into())),
    };
    Ok((format!("{place}?{}", rest.join("&")), trust))
}

fn is_local(config: &Config) -> bool {
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            name == "localhost"
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    })
}

fn verified(path: &Path) -> Result<MakeRustlsConnect, UrlError> {
    let unreadable = |source| UrlError::Roots { path: path.to_path_buf(), source };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    for certificate in certificates {
        roots.add(certificate.map_err(unreadable)?)?;
    }
    if roots.is_empty() {
        return Err(UrlError::NoCertificate(path.to_path_buf()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What a session sets for itself. A commit that was answered is on disk, and
/// on the synchronous standby if there is one: `synchronous_commit` is never
/// less than `on`. Plans are made once and never read a whole table, also not
/// one that was empty when the plan was made.
fn session(options: &Options) -> String {
    let (statement, lock) = (options.statement_within.as_millis(), options.lock_within.as_millis());
    format!(
        "SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
             WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, false);
         SET client_min_messages = 'warning';
         SET statement_timeout = {statement}; SET lock_timeout = {lock};
         SET idle_in_transaction_session_timeout = {statement};
         SET default_transaction_isolation = 'read committed';
         SET plan_cache_mode = force_generic_plan; SET jit = off;
         SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(url: &str) -> Result<Target, UrlError> {
        parse(url, &Options::default())
    }

    #[test]
    fn a_server_elsewhere_is_verified_or_plainly_not() {
        let url = "postgres://u:secret@db.example/galaxy";
        assert!(matches!(parsed(url), Err(UrlError::Plain)));
        assert!(parsed(&format!("{url}?sslmode=disable")).is_ok_and(|target| target.tls.is_none()));
        let mode = |mode| parsed(&format!("{url}?sslmode={mode}"));
        assert!(matches!(mode("require"), Err(UrlError::Mode(_))));
        assert!(matches!(mode("verify-full"), Err(UrlError::NoRoots)));
        let nowhere = parsed(&format!("{url}?sslrootcert=/nowhere.pem"));
        assert!(matches!(nowhere, Err(UrlError::Roots { .. })));
    }

    #[test]
    fn a_server_on_this_machine_needs_no_tls() {
        for host in ["localhost:5433", "127.0.0.1", "[::1]", "%2Frun%2Fpostgresql"] {
            let target = parsed(&format!("postgres://u@{host}/galaxy"));
            assert!(target.is_ok_and(|target| target.tls.is_none()), "{host}");
        }
    }

    #[test]
    fn an_error_never_repeats_the_password() {
        for url in
            ["http://u:secret@h/", "postgres://u:secret@h:port/", "postgres://u:secret@h/?x=1"]
        {
            let Err(error) = parsed(url) else { panic!("{url} names no server") };
            assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
        }
    }
}
