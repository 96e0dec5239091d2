//! Owns what stands between a running node and its players: accounts, sessions, HTTP,
//! the listener, and when it says that it is ready. Never starts or stops the node.
//! Called when its links are open. Invariant: the listener comes last, so that nobody
//! is answered by half of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer};
use tokio::task::JoinHandle;

use super::ServeError;
use crate::actors::membership;
use crate::actors::node::Node;
use crate::actors::rows::StoreAway;
use crate::actors::steering::{Auditing, BalanceSettings, Balancer, Steering};
use crate::base::Millis;
use crate::config::Config;
use crate::gateway::accounts::{Accounts, ClusterSecret, SigningError};
use crate::gateway::http::{self, HttpState, NodeOracle, Readiness, Reads, RulesDocument};
use crate::gateway::limits::Limits;
use crate::gateway::ws::{self, WsState};
use crate::telemetry::Recorder;

/// A tick may be this late before the node is not ready any more.
const TICK_LATE: Duration = Duration::from_secs(3);
/// What the store did not answer at the start is asked again after so long.
const AGAIN: Duration = Duration::from_millis(100);

/// What takes players, where, and what goes on beside it.
pub(super) type Served = (ServerHandle, Vec<SocketAddr>, [JoinHandle<()>; 3]);

/// Starts all that stands between the node and its players.
pub(super) async fn serve(
    config: &Config,
    node: &Node,
    recorder: Recorder,
) -> Result<Served, ServeError> {
    let accounts = open_accounts(config, node).await?;
    let limits = Arc::new(Limits::new(&config.limits, &config.http));
    let health = Arc::new(health_of(node));
    let sessions = WsState::new(config, node.entities.clone(), accounts.clone(), limits.clone());
    let rules = RulesDocument::new(&node.entities.world.rules);
    let oracle = NodeOracle { entities: node.entities.clone(), rows: node.rows.clone() };
    let reads = Reads::new(Arc::new(oracle), &config.http);
    let believed = membership::authorities(&config.node.data)?;
    let auditing = Auditing::new(node.rows.clone(), believed, wall);
    let (entities, rows) = (node.entities.clone(), node.rows.clone());
    let steering = Steering::new(entities, rows, node.mesh().cloned(), auditing);
    let state = HttpState::new(accounts, limits, health, recorder, rules, reads, &config.http);
    let (strategy, every) = (config.cluster.balance.strategy(), config.cluster.balance_every_ms);
    let balancing = BalanceSettings { strategy, every_ms: every.u64() };
    let balancer = Balancer::new(steering.clone(), balancing);
    let state = state.with_steering(steering);
    let (server, addresses) = listen(config, state.clone(), sessions.clone())?;
    let handle = server.handle();
    let upkeep = [
        actix::spawn(sessions.upkeep()),
        actix::spawn(state.upkeep()),
        actix::spawn(balancer.run()),
    ];
    actix::spawn(server);
    Ok((handle, addresses, upkeep))
}

/// Opens the accounts when the store answers: it is waited for, as for the node's
/// own row.
async fn open_accounts(config: &Config, node: &Node) -> Result<Accounts, ServeError> {
    loop {
        let secret = ClusterSecret::open(&config.node.data)?;
        let opened =
            Accounts::open(node.rows.clone(), secret, &config.players, Arc::new(wall)).await;
        match opened {
            Err(SigningError::Store(StoreAway::Unchanged(_) | StoreAway::Unknown)) => {
                tokio::time::sleep(AGAIN).await;
            }
            opened => return Ok(opened?),
        }
    }
}

fn listen(
    config: &Config,
    state: HttpState,
    sessions: WsState,
) -> Result<(actix_web::dev::Server, Vec<SocketAddr>), ServeError> {
    let settings = &config.http;
    let tls = http::server_config(settings)?;
    let address = settings.listen;
    let refused = |source| ServeError::Listen { address, source };
    let app = move || {
        App::new()
            .configure(|services| ws::configure(services, sessions.clone()))
            .configure(|services| http::configure(services, state.clone()))
    };
    let server = HttpServer::new(app)
        .on_connect(ws::on_connect(config))
        .workers(settings.workers.usize())
        .max_connections(settings.connections_max.usize())
        .client_request_timeout(Duration::from_secs(settings.request_timeout_s.u64()))
        .shutdown_timeout(settings.shutdown_timeout_s.u64())
        .disable_signals();
    let server = match tls {
        Some(tls) => server.bind_rustls_0_23(address, tls),
        None => server.bind(address),
    };
    let server = server.map_err(refused)?;
    let addresses = server.addrs();
    Ok((server.run(), addresses))
}

fn health_of(node: &Node) -> impl Fn() -> Readiness + Send + Sync + 'static {
    let (status, entities) = (node.status.clone(), node.entities.clone());
    move || {
        let taking = status.taking_commands.load(Ordering::Relaxed);
        Readiness {
            store: taking,
            ticking: status.ready.load(Ordering::Relaxed) && status.stalled() < TICK_LATE,
            linked: status.linked.load(Ordering::Relaxed),
            disk: !status.disk_full.load(Ordering::Relaxed),
            parked: entities.parked(),
        }
    }
}

pub(super) fn wall() -> Millis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
