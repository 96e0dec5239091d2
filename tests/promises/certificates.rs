//! A certificate says which node of which cluster its owner is, and nothing
//! else; keys are private; other tools can read and write all of it.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use starmesh::base::NodeId;
use starmesh::cluster::certificates::identity::{NodeKey, certificates_of, pem_of};
use starmesh::cluster::certificates::{
    Authority, CertificateError, Facts, Identity, Request, Validity,
};

use super::links_support::{Realm, name};

fn seconds(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() as i64
}

#[test]
fn a_certificate_names_its_node_and_its_dates_and_may_sign_nothing() {
    let realm = Realm::new("demo");
    let now = SystemTime::now();
    let validity = Validity { from: now, until: now + Duration::from_hours(1) };
    let identity = realm.identity_of(&realm.subject(7), validity);
    let facts = Facts::of(identity.certificate()).unwrap();
    assert_eq!(facts.subject.as_ref().unwrap().to_string(), "starmesh://demo/7/n7");
    assert_eq!(facts.subject.as_ref(), Some(identity.subject()));
    assert_eq!((facts.valid_from, facts.valid_until), (seconds(now), seconds(now) + 3_600));
    assert!(!facts.is_authority && facts.is_valid_at(seconds(now)));
    assert!(!facts.is_valid_at(seconds(now) - 1) && !facts.is_valid_at(seconds(now) + 3_601));
    let authority = Facts::of(realm.authority.certificate()).unwrap();
    assert!(authority.is_authority && authority.subject.is_none());
    assert_eq!(facts.issuer, authority.name);
    assert_eq!(authority.fingerprint, realm.authority.fingerprint());
}

#[test]
fn authority_and_identity_come_back_from_their_files() {
    let (realm, folder) = (Realm::new("demo"), tempfile::tempdir().unwrap());
    realm.authority.save(folder.path()).unwrap();
    let again = Authority::load(folder.path()).unwrap();
    assert_eq!(again.fingerprint(), realm.authority.fingerprint());
    assert!(matches!(realm.authority.save(folder.path()), Err(CertificateError::Exists { .. })));

    let key = NodeKey::open(folder.path()).unwrap();
    assert!(!Identity::is_in(folder.path()));
    let request = Request::from_der(&key.request().unwrap()).unwrap();
    let validity = Validity::of_node(SystemTime::now());
    let signed = again.sign(&request, &realm.subject(2), validity).unwrap();
    let authorities = vec![again.certificate().clone()];
    Identity::new(vec![signed], &key.pem(), authorities).unwrap().save(folder.path()).unwrap();
    let identity = Identity::load(folder.path()).unwrap();
    assert_eq!(identity.subject().node, NodeId(2));
    // Asked again, the key is the same.
    assert_eq!(NodeKey::open(folder.path()).unwrap().pem(), key.pem());
    for file in ["ca.key", "node.key"] {
        let path = folder.path().join(file);
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{file}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let readable = |error| matches!(error, CertificateError::Readable { mode: 0o644, .. });
    assert!(readable(Authority::load(folder.path()).unwrap_err()));
    assert!(readable(Identity::load(folder.path()).unwrap_err()));
}

#[test]
fn a_request_must_be_signed_by_the_key_that_it_is_for() {
    let key = NodeKey::generate().unwrap();
    let request = key.request().unwrap();
    Request::from_der(&request).unwrap();
    for at in [request.len() / 3, request.len() - 5] {
        let mut damaged = request.clone();
        damaged[at] ^= 1;
        assert!(matches!(Request::from_der(&damaged), Err(CertificateError::Request(_))), "{at}");
    }
    assert!(Request::from_der(b"").is_err());
}

#[test]
fn a_node_cannot_be_taken_for_an_authority_nor_a_key_for_another() {
    let realm = Realm::new("demo");
    let [one, two] = [1, 2].map(|node| realm.identity(node));
    let pem = |identity: &Identity| {
        let key = rcgen::KeyPair::try_from(identity.key().secret_der()).unwrap();
        (pem_of(std::slice::from_ref(identity.certificate())), key.serialize_pem())
    };
    let ((certificate, key), (_, other)) = (pem(&one), pem(&two));
    let node = Authority::from_pem(&certificate, &key);
    assert!(matches!(node, Err(CertificateError::NotAnAuthority)));
    let authorities = pem_of(one.authorities());
    let mixed = Identity::from_pem(&certificate, &other, &authorities);
    assert!(matches!(mixed, Err(CertificateError::OtherKey)));
    let nameless = Identity::from_pem(&authorities, &key, &authorities);
    assert!(matches!(nameless, Err(CertificateError::NoNode)));
    let nothing = Identity::from_pem("", &key, &authorities);
    assert!(matches!(nothing, Err(CertificateError::Pem { expected: "a certificate", .. })));
}

/// What `openssl` says and makes, where it is installed.
fn openssl(folder: &std::path::Path, arguments: &str) -> Option<String> {
    let mut command = Command::new("openssl");
    let out = command.args(arguments.split(' ')).current_dir(folder).output().ok()?;
    assert!(out.status.success(), "{arguments}: {}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8_lossy(&out.stdout).into_owned())
}

#[test]
fn other_tools_read_what_is_made_here_and_their_authorities_sign_here() {
    let (realm, folder) = (Realm::new("demo"), tempfile::tempdir().unwrap());
    let path = folder.path();
    realm.authority.save(path).unwrap();
    let node = pem_of(std::slice::from_ref(realm.identity(3).certificate()));
    std::fs::write(path.join("node.pem"), node).unwrap();
    let Some(said) = openssl(path, "verify -CAfile ca.pem node.pem") else { return };
    assert_eq!(said.trim(), "node.pem: OK");
    let said = openssl(path, "x509 -in ca.pem -noout -fingerprint -sha256").unwrap();
    assert!(said.ends_with(&format!("={}\n", realm.authority.fingerprint())), "{said}");

    for (kind, option) in [("EC", " -pkeyopt ec_paramgen_curve:P-256"), ("ED25519", "")] {
        openssl(path, &format!("genpkey -algorithm {kind} -out own.key{option}"));
        openssl(
            path,
            "req -x509 -new -key own.key -out own.pem -days 30 -subj /CN=Own \
             -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign",
        );
        let [certificate, key] =
            ["own.pem", "own.key"].map(|file| std::fs::read_to_string(path.join(file)).unwrap());
        PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let authority = Authority::from_pem(&certificate, &key).unwrap();
        assert_eq!(certificates_of(&certificate).unwrap(), [authority.certificate().clone()]);
        let own = Realm { authority, cluster: name("demo") };
        let node = pem_of(std::slice::from_ref(own.identity(3).certificate()));
        std::fs::write(path.join("node.pem"), node).unwrap();
        let said = openssl(path, "verify -CAfile own.pem node.pem").unwrap();
        assert_eq!(said.trim(), "node.pem: OK", "{kind}");
    }
}
