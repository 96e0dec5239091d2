//! Owns people who register: through two gateways, at times with a name or
//! e-mail that is taken or being taken, again when they got no answer.

use std::collections::BTreeMap;

use starmesh::base::{Millis, PlayerId};
use starmesh::cluster::core::node::Event;
use starmesh::entity::account::{Account, AccountRole, registration};

use crate::outside::Outside;
use crate::process::Process;
use crate::queue::{Happening, InNode};

/// Everybody who registers in a run.
#[derive(Default)]
pub struct Registrar {
    left: u64,
    last_id: u64,
    /// Asked and not answered, by the id of the group; and when.
    asked: BTreeMap<u64, (u64, Account)>,
    /// The process they were asked of.
    process: u64,
}

impl Registrar {
    pub fn new(registrations: u64) -> Registrar {
        Registrar { left: registrations, ..Registrar::default() }
    }

    /// Why it cannot be left alone yet.
    pub fn unsettled(&self) -> Option<String> {
        (!self.asked.is_empty()).then(|| format!("registrations wait: {:?}", self.asked.keys()))
    }

    pub fn act(&mut self, process: Option<&mut Process>, out: &mut Outside) {
        let next = out.random.within(100..=900);
        out.push_in(next, Happening::RegistrarActs);
        let Some(process) = process else { return };
        for (id, _) in process.rows_done.drain(..) {
            self.asked.remove(&id);
        }
        if process.id != self.process {
            self.process = process.id;
            // Nobody knows what became of these: their gateways died.
            for (_, account) in std::mem::take(&mut self.asked).into_values() {
                self.ask(account, process.id, out);
            }
        }
        if self.left > 0 && !out.calm {
            self.left -= 1;
            // From two gateways at the same time.
            let both = 1 + u64::from(out.random.chance(500));
            (0..both).for_each(|_| self.ask_new(process.id, out));
        }
    }

    fn ask_new(&mut self, process: u64, out: &mut Outside) {
        let name = if out.random.chance(500) { "name" } else { "Name" };
        let account = Account {
            player: PlayerId(1000 + self.last_id),
            name: format!("{name}-{}", out.random.below(5)),
            email: format!("mail-{}@example.org", out.random.below(5)),
            display_name: None,
            faction: None,
            password_hash: String::new(),
            roles: vec![AccountRole::Player],
            generation: 1,
            created: Millis(out.now),
            last_login: Millis(out.now),
        };
        self.ask(account, process, out);
    }

    fn ask(&mut self, account: Account, process: u64, out: &mut Outside) {
        self.last_id += 1;
        let id = self.last_id;
        let event = Event::Rows { id, group: registration(&account) };
        self.asked.insert(id, (out.now, account));
        let delay = out.random.within(1..=30);
        out.later_in_node(process, delay, InNode::Core(event));
    }
}
