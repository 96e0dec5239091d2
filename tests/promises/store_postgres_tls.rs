//! To a PostgreSQL server across a network a node speaks TLS, and only to one
//! that it can verify.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use starmesh::store::conformance::Process;
use starmesh::store::postgres::{OpenError, Options, Postgres};

use crate::postgres_server::{Server, give, name, open};

#[test]
fn only_a_server_that_can_be_verified_is_spoken_to() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).expect("it is ours");
    let (ours, other) = (Authority::new(), Authority::new());
    let file = |file, text: &str| {
        let path = dir.path().join(file);
        fs::write(&path, text).expect("a file in a temporary folder");
        path
    };
    let (trusted, foreign) = (file("ours.pem", &ours.pem), file("other.pem", &other.pem));
    let (certificate, key) = ours.sign("localhost");
    let (certificate, key) = (file("server.pem", &certificate), file("server.key", &key));
    fs::set_permissions(&key, Permissions::from_mode(0o600)).expect("it is ours");
    give(&key);
    let port = free_port();
    let options = [
        "listen_addresses=127.0.0.1".to_string(),
        format!("port={port}"),
        "ssl=on".to_string(),
        format!("ssl_cert_file={}", certificate.display()),
        format!("ssl_key_file={}", key.display()),
    ];
    let server = Server::start(&options.each_ref().map(String::as_str));
    let database = name(&server.database()).to_string();
    let url = |host: &str, roots: &Path| {
        let roots = roots.display();
        format!(
            "postgres://starmesh@{host}:{port}/{database}?sslmode=verify-full&sslrootcert={roots}"
        )
    };
    let store = open(&url("localhost", &trusted));
    Process::begun(&store, 1);
    let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
        WHERE application_name = 'starmesh'";
    assert_eq!(server.sql("postgres", encrypted), "t");
    // Signed by somebody else; for another name.
    for wrong in [url("localhost", &foreign), url("127.0.0.1", &trusted)] {
        let Err(error) = Postgres::open(&wrong, Options::default()) else { panic!("it opened") };
        assert!(matches!(error, OpenError::Away(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}

/// A port below those that the system hands out by itself.
fn free_port() -> u16 {
    let first = 15_000 + (std::process::id() % 15_000) as u16;
    let mut ports = first..32_000;
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

/// Who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Authority { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for `name` and its key, both in PEM form.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([name.into()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}
