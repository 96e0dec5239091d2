//! Owns the limits per address and per player of this gateway, with the clock:
//! the steady one, so that nobody waits an hour because the wall clock was set
//! back by one.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use actix_web::http::header::{FORWARDED, HeaderMap, HeaderName};
use dashmap::DashMap;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::commands::{CommandClass, CommandLimits, CommandRates};
use super::forwarded::client_address;
use super::window::Refusal;
use crate::base::{Millis, PlayerId};
use crate::config::{self, Network, ProxyHeader};
use crate::telemetry::metrics::HTTP_LIMITED;

/// A limit was hit: how long to wait, at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

impl RetryAfter {
    /// Whole seconds for the header, at least 1.
    pub fn seconds(self) -> u64 {
        self.0.as_millis().div_ceil(1000).clamp(1, u128::from(u32::MAX)) as u64
    }
}

/// All limits of this gateway.
pub struct Limits {
    exempt: Vec<Network>,
    trusted_proxies: Vec<Network>,
    proxy_header: ProxyHeader,
    connects: PerAddress,
    logins: PerAddress,
    registrations: PerAddress,
    requests: PerAddress,
    rates: CommandRates,
    players: DashMap<PlayerId, CommandLimits>,
    started: Instant,
}

impl Limits {
    pub fn new(limits: &config::Limits, http: &config::Http) -> Limits {
        Limits {
            exempt: limits.exempt.clone(),
            trusted_proxies: http.trusted_proxies.clone(),
            proxy_header: http.proxy_header,
            connects: PerAddress::new("connects", limits.connects_per_minute, Quota::per_minute),
            logins: PerAddress::new("logins", limits.logins_per_minute, Quota::per_minute),
            registrations: PerAddress::new(
                "registrations",
                limits.registrations_per_hour,
                Quota::per_hour,
            ),
            requests: PerAddress::new("requests", limits.requests_per_minute, Quota::per_minute),
            rates: CommandRates {
                moves: limits.moves_per_minute.u64(),
                attacks: limits.attacks_per_minute.u64(),
                trades: limits.trades_per_minute.u64(),
                others: limits.others_per_minute.u64(),
            },
            players: DashMap::new(),
            started: Instant::now(),
        }
    }

    /// The address that limits are counted for: the peer's, or behind trusted
    /// proxies the client's.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let name = match self.proxy_header {
            ProxyHeader::XForwardedFor => HeaderName::from_static("x-forwarded-for"),
            ProxyHeader::Forwarded => FORWARDED,
        };
        // A value that is no text is kept as one that names no address.
        let values: Vec<_> = headers.get_all(name).map(|v| v.to_str().unwrap_or("")).collect();
        client_address(peer, self.proxy_header, values.into_iter(), &self.trusted_proxies)
    }

    /// Counts a new WebSocket connection.
    ///
    /// # Errors
    /// When `client` made too many in the last minute.
    pub fn connect(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.check(&self.connects, client)
    }

    /// Counts a log-in, successful or not.
    ///
    /// # Errors
    /// When `client` made too many in the last minute.
    pub fn login(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.check(&self.logins, client)
    }

    /// Counts a registration, successful or not.
    ///
    /// # Errors
    /// When `client` made too many in the last hour.
    pub fn register(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.check(&self.registrations, client)
    }

    /// Counts any other request.
    ///
    /// # Errors
    /// When `client` made too many in the last minute.
    pub fn request(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.check(&self.requests, client)
    }

    /// Counts `n` commands of `player`, all or none; a new connection does not
    /// reset the count.
    ///
    /// # Errors
    /// When they are more than the player may give now.
    pub fn command(&self, player: PlayerId, class: CommandClass, n: u64) -> Result<(), Refusal> {
        let mut limits =
            self.players.entry(player).or_insert_with(|| CommandLimits::new(self.rates));
        limits.admit(class, n, self.now())
    }

    /// Forgets whoever did nothing within the longest window. Called once a
    /// minute, it bounds memory by what happened since.
    pub fn forget_idle(&self) {
        for each in [&self.connects, &self.logins, &self.registrations, &self.requests] {
            each.limiter.retain_recent();
            each.limiter.shrink_to_fit();
        }
        let now = self.now();
        self.players.retain(|_, limits| !limits.is_idle(now));
        self.players.shrink_to_fit();
    }

    fn now(&self) -> Millis {
        Millis(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    fn check(&self, limit: &PerAddress, client: IpAddr) -> Result<(), RetryAfter> {
        if self.exempt.iter().any(|network| network.contains(client)) {
            return Ok(());
        }
        limit.check(client)
    }
}

/// One limit for each address.
struct PerAddress {
    name: &'static str,
    limiter: DefaultKeyedRateLimiter<IpAddr>,
}

impl PerAddress {
    fn new(
        name: &'static str,
        limit: config::Bounded<1, 1_000_000>,
        quota: fn(NonZeroU32) -> Quota,
    ) -> PerAddress {
        let limit = NonZeroU32::new(limit.u32()).unwrap_or(NonZeroU32::MIN);
        PerAddress { name, limiter: RateLimiter::keyed(quota(limit)) }
    }

    fn check(&self, client: IpAddr) -> Result<(), RetryAfter> {
        self.limiter.check_key(&counted_address(client)).map_err(|until| {
            HTTP_LIMITED.with(&[self.name]).increment(1);
            RetryAfter(until.wait_time_from(DefaultClock::default().now()))
        })
    }
}

/// One customer has at least a /64 of IPv6 addresses: they count as one.
fn counted_address(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn limits(changes: &str) -> Limits {
        let config = Config::with(changes).unwrap();
        Limits::new(&config.limits, &config.http)
    }

    #[test]
    fn refuses_the_eleventh_login_of_an_address_and_no_other() {
        let limits = limits("");
        let (one, other) = ("203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap());
        (0..10).for_each(|_| limits.login(one).unwrap());
        let RetryAfter(wait) = limits.login(one).unwrap_err();
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(6), "{wait:?}");
        limits.login(other).unwrap();
        limits.request(one).unwrap();
    }

    #[test]
    fn addresses_of_one_ipv6_customer_count_together() {
        let limits = limits("[limits]\nregistrations_per_hour = 1\n");
        limits.register("2001:db8:0:1::1".parse().unwrap()).unwrap();
        assert!(limits.register("2001:db8:0:1:ffff::2".parse().unwrap()).is_err());
        limits.register("2001:db8:0:2::1".parse().unwrap()).unwrap();
    }

    #[test]
    fn exempt_networks_are_free_of_limits_per_address() {
        let limits = limits("[limits]\nexempt = ['127.0.0.0/8']\nconnects_per_minute = 1\n");
        let local = "127.0.0.1".parse().unwrap();
        (0..100).for_each(|_| limits.connect(local).unwrap());
        let far = "203.0.113.1".parse().unwrap();
        limits.connect(far).unwrap();
        assert!(limits.connect(far).is_err());
    }

    #[test]
    fn remembers_a_player_over_connections_until_idle() {
        let limits = limits("[limits]\nmoves_per_minute = 2\n");
        limits.command(PlayerId(1), CommandClass::Move, 2).unwrap();
        limits.forget_idle();
        assert!(limits.command(PlayerId(1), CommandClass::Move, 1).is_err());
        limits.command(PlayerId(2), CommandClass::Move, 1).unwrap();
    }
}
