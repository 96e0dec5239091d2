//! Owns where other nodes reach this one: the port that it keeps once it has
//! one, and the address that it tells. Never listens. Invariant: as long as the
//! folder is there, port 0 is the same port at every start.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio::time::timeout;

use super::{MembershipError, certificate};
use crate::cluster::certificates::files::{self, Readers};
use crate::config::Advertise;

/// The port that was chosen for port 0.
const PORT_FILE: &str = "port";
/// Below the ports that systems give to whoever asks for any: one from there
/// could be somebody's while this node is down.
const PORTS: std::ops::Range<u16> = 20_000..32_768;
/// Ports that are tried before the system chooses.
const TRIES: u16 = 64;
/// A name that is looked up to find the way to it may take so long.
const LOOK_UP: Duration = Duration::from_secs(2);
/// Addresses that nobody has (RFC 5737, RFC 3849): the way to them leads outside.
/// Nothing is sent to them.
const OUTSIDE: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// Where to listen, with a port that stays.
///
/// # Errors
/// When there is no free port, or it cannot be remembered.
pub fn listen(wanted: SocketAddr, folder: &Path) -> Result<SocketAddr, MembershipError> {
    if wanted.port() != 0 {
        return Ok(wanted);
    }
    let path = folder.join(PORT_FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let port = text.trim().parse().ok().filter(|port| *port != 0);
            let why = || format!("expected a port, found {:?}", text.trim());
            let damaged = || MembershipError::Damaged { path: path.clone(), why: why() };
            return Ok(SocketAddr::new(wanted.ip(), port.ok_or_else(damaged)?));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(MembershipError::File { path, source }),
    }
    let port =
        free_port(wanted).map_err(|source| MembershipError::Port { listen: wanted, source })?;
    let text = format!("{port}\n");
    files::replace(&path, &text, Readers::Everybody)
        .map_err(|source| certificate(folder, source))?;
    Ok(SocketAddr::new(wanted.ip(), port))
}

fn free_port(wanted: SocketAddr) -> io::Result<u16> {
    let mut random = [0; 2];
    // Without random bytes two nodes on one machine try the same ones first.
    let _ = SystemRandom::new().fill(&mut random);
    let count = PORTS.end - PORTS.start;
    let first = u16::from_le_bytes(random) % count;
    let ports = (0..TRIES).map(|n| PORTS.start + (first + n) % count).chain([0]);
    let mut failed = None;
    for port in ports {
        match UdpSocket::bind((wanted.ip(), port)).and_then(|socket| socket.local_addr()) {
            Ok(address) => return Ok(address.port()),
            Err(error) => failed = Some(error),
        }
    }
    Err(failed.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

/// What others are told to dial. `towards` is another node's `HOST:PORT`, if one
/// is known: the way to it tells which of several interfaces is meant.
pub async fn advertised(wanted: &Advertise, listen: SocketAddr, towards: Option<&str>) -> String {
    match wanted {
        Advertise::Host { host, port } => format!("{host}:{}", port.unwrap_or(listen.port())),
        Advertise::Derived if !listen.ip().is_unspecified() => listen.to_string(),
        Advertise::Derived => {
            let mut ways = match towards {
                Some(address) => look_up(address).await,
                None => Vec::new(),
            };
            ways.extend(OUTSIDE.map(|address| SocketAddr::new(address, listen.port())));
            let found = ways.into_iter().find_map(|way| interface(listen.ip(), way));
            let loopback = match listen.ip() {
                IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            };
            SocketAddr::new(found.unwrap_or(loopback), listen.port()).to_string()
        }
    }
}

async fn look_up(address: &str) -> Vec<SocketAddr> {
    match timeout(LOOK_UP, tokio::net::lookup_host(address)).await {
        Ok(Ok(found)) => found.collect(),
        // The way outside has to do.
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// The address from which this machine would send to `way`. Nothing is sent. One
/// that listens on all IPv4 addresses is not reached by IPv6.
fn interface(listens: IpAddr, way: SocketAddr) -> Option<IpAddr> {
    let from: IpAddr = match (listens, way) {
        (_, SocketAddr::V4(_)) => Ipv4Addr::UNSPECIFIED.into(),
        (IpAddr::V6(_), SocketAddr::V6(_)) => Ipv6Addr::UNSPECIFIED.into(),
        (IpAddr::V4(_), SocketAddr::V6(_)) => return None,
    };
    let socket = UdpSocket::bind((from, 0)).ok()?;
    socket.connect(way).ok()?;
    let found = socket.local_addr().ok()?.ip();
    (!found.is_unspecified()).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn check(advertise: &str, listen: &str, towards: Option<&str>, expected: &str) {
        let advertise = advertise.parse().unwrap();
        let told = advertised(&advertise, listen.parse().unwrap(), towards).await;
        assert_eq!(told, expected);
    }

    #[tokio::test]
    async fn what_is_told_is_what_is_set_or_where_it_listens_or_the_way_to_another() {
        check("a.example.org", "0.0.0.0:7500", None, "a.example.org:7500").await;
        check("a.example.org:80", "0.0.0.0:7500", None, "a.example.org:80").await;
        check("::1", "0.0.0.0:7500", None, "[::1]:7500").await;
        check("", "127.0.0.7:7500", None, "127.0.0.7:7500").await;
        check("", "[::1]:7500", None, "[::1]:7500").await;
        check("", "0.0.0.0:7500", Some("127.0.0.1:9"), "127.0.0.1:7500").await;
    }

    #[tokio::test]
    async fn without_anything_else_an_address_is_told_that_is_one() {
        let listen = "0.0.0.0:7500".parse().unwrap();
        let told = advertised(&Advertise::Derived, listen, None).await;
        let told: SocketAddr = told.parse().unwrap();
        assert!(told.port() == 7500 && !told.ip().is_unspecified(), "{told}");
    }

    #[test]
    fn a_port_that_was_chosen_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let any = "127.0.0.1:0".parse().unwrap();
        let chosen = listen(any, folder.path()).unwrap();
        assert_ne!(chosen.port(), 0);
        assert_eq!(listen(any, folder.path()).unwrap(), chosen);
        let set = "127.0.0.1:7500".parse().unwrap();
        assert_eq!(listen(set, folder.path()).unwrap(), set);
        fs::write(folder.path().join(PORT_FILE), "0").unwrap();
        assert!(matches!(listen(any, folder.path()), Err(MembershipError::Damaged { .. })));
    }
}
