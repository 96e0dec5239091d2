//! Owns what a certificate says, read from its bytes. Never judges whether it
//! is to be believed: that is the handshake's part. Pure.

use rustls::pki_types::CertificateDer;
use serde::Serialize;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use super::{CertificateError, Fingerprint, Subject};

/// What a certificate says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Facts {
    /// The distinguished name, as `CN=…`.
    pub name: String,
    /// That of whoever signed it.
    pub issuer: String,
    /// `starmesh://CLUSTER/NUMBER/NAME`; none in an authority's.
    #[serde(serialize_with = "display")]
    pub subject: Option<Subject>,
    pub is_authority: bool,
    /// Seconds since 1970 from which on it is valid.
    pub valid_from: i64,
    /// Seconds since 1970 until which it is valid.
    pub valid_until: i64,
    #[serde(serialize_with = "display_one")]
    pub fingerprint: Fingerprint,
}

impl Facts {
    /// # Errors
    /// When these are not the bytes of a certificate.
    pub fn of(der: &CertificateDer<'_>) -> Result<Facts, CertificateError> {
        let (_, read) = X509Certificate::from_der(der)
            .map_err(|error| CertificateError::Unreadable(error.to_string()))?;
        Ok(Facts {
            name: read.subject().to_string(),
            issuer: read.issuer().to_string(),
            subject: subject(&read),
            is_authority: read.is_ca(),
            valid_from: read.validity().not_before.timestamp(),
            valid_until: read.validity().not_after.timestamp(),
            fingerprint: Fingerprint::of(der),
        })
    }

    /// For people: what it is, whose, from when until when, its fingerprint.
    pub fn text(&self) -> String {
        let kind = if self.is_authority { "authority:" } else { "node:" };
        let subject = self.subject.as_ref().map(|subject| format!("names:       {subject}\n"));
        format!(
            "{kind:<12} {}\nsigned by:   {}\n{}valid from:  {}\nvalid until: {}\nSHA-256:     {}\n",
            self.name,
            self.issuer,
            subject.unwrap_or_default(),
            date(self.valid_from),
            date(self.valid_until),
            self.fingerprint
        )
    }

    /// Whether the dates allow it at `now`, in seconds since 1970.
    pub fn is_valid_at(&self, now: i64) -> bool {
        (self.valid_from..=self.valid_until).contains(&now)
    }
}

/// A time in UTC.
fn date(seconds: i64) -> String {
    let time = ASN1Time::from_timestamp(seconds);
    time.map_or_else(|_| format!("{seconds} s after 1970"), |time| time.to_string())
}

/// The only name of a node in it; of two, neither.
fn subject(read: &X509Certificate<'_>) -> Option<Subject> {
    let names = read.subject_alternative_name().ok()??;
    let mut nodes = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(text) => text.parse().ok(),
        _ => None,
    });
    nodes.next().filter(|_| nodes.next().is_none())
}

fn display<S: serde::Serializer>(subject: &Option<Subject>, out: S) -> Result<S::Ok, S::Error> {
    match subject {
        Some(subject) => out.collect_str(subject),
        None => out.serialize_none(),
    }
}

fn display_one<S: serde::Serializer>(value: &Fingerprint, out: S) -> Result<S::Ok, S::Error> {
    out.collect_str(value)
}
