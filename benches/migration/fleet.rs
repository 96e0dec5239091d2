//! Brings players' ships into one sector: each player registers, connects, and
//! sends all its ships there at warp speed. Never waits for ships to arrive.

use std::time::Duration;

use starmesh::base::{EntityKey, PlayerId, SectorId, UnitId};
use starmesh::client::{Client, Event, Options, Target, Wanted};
use starmesh::protocol::command::Target as Aim;
use starmesh::protocol::{CodecKind, Destination, Order, Recipients};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::nodes::token;

/// Ships with which a player starts.
pub const SHIPS: u32 = 8;
const LIMIT: Duration = Duration::from_secs(120);
/// Nobody stands nearer to the border, in thousandths of the side.
const MARGIN: u32 = 80;
/// How far ships patrol, in the same.
const PATROL: u32 = 40;

/// Where players' ships go in a sector.
#[derive(Clone, Copy)]
pub struct Field {
    pub sector: SectorId,
    pub players: u32,
}

impl Field {
    /// The place of a player's ships, one of a square of places; `by` is so many
    /// thousandths of the side beside it.
    pub fn place(self, player: u32, by: u32) -> Destination {
        let side = (1..).find(|side| side * side >= self.players).unwrap_or(1);
        let (column, row) = (player % side, player / side);
        let at = |n: u32, by: u32| {
            let thousandths = MARGIN + (1000 - 2 * MARGIN) * (2 * n + 1) / (2 * side) + by;
            ((u64::from(thousandths) << 32) / 1000) as u32
        };
        Destination { sector: self.sector.into(), x: at(column, by), y: at(row, 0) }
    }
}

/// A connected player whose ships are on their way.
pub struct Captain {
    pub client: Client,
    pub number: u32,
    pub ships: Vec<UnitId>,
}

impl Captain {
    /// A new player that has sent its ships into the field.
    pub async fn enlist(target: Target, number: u32, field: Field) -> Captain {
        let token = token(&target, format!("captain-{number}")).await;
        let options = Options { reconnect: true, seed: u64::from(number) };
        let client = Client::new(target, CodecKind::default(), token, options);
        let mut captain = Captain { client, number, ships: Vec::new() };
        let sent = timeout(LIMIT, captain.send(field));
        sent.await.expect("a player's ships are sent off");
        captain
    }

    async fn send(&mut self, field: Field) {
        let (player, home) = self.connect().await;
        self.find_ships(player, home).await;
        self.order(home, Order::Warp { target: Aim::Position(field.place(self.number, 0)) }).await;
        self.client.core().unsubscribe(EntityKey::Sector(home));
    }

    /// Stays connected until it is said when all begin.
    pub async fn wait(&mut self, mut start: watch::Receiver<Option<Instant>>) -> Instant {
        loop {
            tokio::select! {
                _ = start.wait_for(Option::is_some) => {}
                _ = self.client.next(Instant::now() + LIMIT) => {}
            }
            if let Some(start) = *start.borrow() {
                return start;
            }
        }
    }

    /// Has its ships go back and forth where they are.
    pub async fn patrol(&mut self, field: Field) {
        let target = Aim::Position(field.place(self.number, PATROL));
        self.order(field.sector, Order::Patrol { target }).await;
    }

    async fn connect(&mut self) -> (PlayerId, SectorId) {
        loop {
            if let Some(Event::Connected { player, presence, .. }) = self.next().await
                && let Some(home) = presence.first()
            {
                return (player, home.sector.into());
            }
        }
    }

    async fn find_ships(&mut self, player: PlayerId, home: SectorId) {
        let now = self.client.now();
        self.client.core().subscribe(now, &[home]);
        while self.ships.len() < SHIPS as usize {
            self.next().await;
            let Some(view) = self.client.view(EntityKey::Sector(home)) else { continue };
            let own = view.units().filter(|unit| unit.owner == player);
            self.ships = own.map(|unit| unit.id).collect();
        }
    }

    /// Returns when it is answered.
    async fn order(&mut self, place: SectorId, order: Order) {
        let recipients = Recipients::Units(self.ships.clone());
        let wanted = Wanted { recipients, order, queue: false, predicted: None };
        let now = self.client.now();
        self.client.core().command(now, EntityKey::Sector(place), wanted).expect("an order");
        while self.client.core().unanswered().next().is_some() {
            if let Some(Event::Answered { ack, .. }) = self.next().await {
                assert!(ack.success, "an order was refused: {:?}", ack.error);
            }
        }
    }

    async fn next(&mut self) -> Option<Event> {
        self.client.next(Instant::now() + LIMIT).await
    }
}
