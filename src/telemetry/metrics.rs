//! Owns the list of all metrics: name, kind, labels, meaning. A name is
//! `starmesh_<what>_<unit>`; counters end in `_total`. Labels have few values:
//! never a player, a unit or an address.

use metrics::{Counter, Gauge, Histogram, Label};

/// What a metric does over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution.
    Histogram,
}

/// What every metric has: the list is a list of these.
pub trait Metric: Sync {
    fn name(&self) -> &'static str;
    fn kind(&self) -> Kind;
    fn labels(&self) -> &'static [&'static str];
    fn help(&self) -> &'static str;

    /// Tells the installed recorder what the metric means. A counter without
    /// labels begins at 0 there: what never happened is shown as that, and the
    /// first time it does is seen as a growth.
    fn describe(&self) {
        match self.kind() {
            Kind::Counter => {
                metrics::describe_counter!(self.name(), self.help());
                if self.labels().is_empty() {
                    metrics::counter!(self.name()).increment(0);
                }
            }
            Kind::Gauge => metrics::describe_gauge!(self.name(), self.help()),
            Kind::Histogram => metrics::describe_histogram!(self.name(), self.help()),
        }
    }
}

/// The values of a metric's labels, in the order in which it declares them.
fn with_values(names: &[&'static str], values: &[&'static str]) -> Vec<Label> {
    debug_assert_eq!(names.len(), values.len(), "one value per label");
    names.iter().zip(values).map(|(&name, &value)| Label::from_static_parts(name, value)).collect()
}

macro_rules! metric_type {
    ($(#[$doc:meta])* $name:ident, $handle:ident, $macro:ident) => {
        $(#[$doc])*
        pub struct $name {
            name: &'static str,
            labels: &'static [&'static str],
            help: &'static str,
        }

        impl $name {
            /// The handle for these label values. Hot paths keep it: finding
            /// it costs a hash of name and labels.
            pub fn with(&self, values: &[&'static str]) -> $handle {
                metrics::$macro!(self.name, with_values(self.labels, values))
            }
        }

        impl Metric for $name {
            fn name(&self) -> &'static str {
                self.name
            }
            fn kind(&self) -> Kind {
                Kind::$handle
            }
            fn labels(&self) -> &'static [&'static str] {
                self.labels
            }
            fn help(&self) -> &'static str {
                self.help
            }
        }
    };
}

metric_type!(
    /// A metric that only grows.
    CounterMetric, Counter, counter
);
metric_type!(
    /// A metric that goes up and down.
    GaugeMetric, Gauge, gauge
);
metric_type!(
    /// A metric that is a distribution.
    HistogramMetric, Histogram, histogram
);

impl CounterMetric {
    /// Adds `n` to a counter without labels.
    pub fn increment(&self, n: u64) {
        self.with(&[]).increment(n);
    }
}

impl GaugeMetric {
    /// Sets a gauge without labels.
    pub fn set(&self, value: f64) {
        self.with(&[]).set(value);
    }

    /// Adds to a gauge without labels that several threads count together.
    pub fn add(&self, more: f64) {
        self.with(&[]).increment(more);
    }
}

impl HistogramMetric {
    /// Records a value in a histogram without labels.
    pub fn record(&self, value: f64) {
        self.with(&[]).record(value);
    }
}

macro_rules! metrics_list {
    ($($id:ident: $kind:ident = $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $id: $kind = $kind { name: $name, labels: &[$($label),*], help: $help };
        )*

        /// Every metric there is.
        pub const ALL: &[&dyn Metric] = &[$(&$id),*];
    };
}

metrics_list! {
    // Store and commits
    COMMITS: CounterMetric = "starmesh_store_commits_total" []
        "Commits that became durable.";
    COMMITS_RESENT: CounterMetric = "starmesh_store_commits_resent_total" []
        "Commits sent again because their outcome was unknown.";
    COMMIT_SECONDS: HistogramMetric = "starmesh_store_commit_seconds" []
        "Time from handing a commit to the store until it was durable.";
    COMMIT_GROUPS: HistogramMetric = "starmesh_store_commit_groups_count" []
        "Groups in one commit.";
    GROUPS_REFUSED: CounterMetric = "starmesh_store_groups_refused_total" []
        "Groups whose check or expected sequence failed.";
    GROUPS_MALFORMED: CounterMetric = "starmesh_store_groups_malformed_total" []
        "Groups of rows that no store would take: refused before they were committed.";
    STORE_AWAY: GaugeMetric = "starmesh_store_away_state" []
        "1 while the store does not answer and time stands still, else 0.";
    STORE_FREE: GaugeMetric = "starmesh_store_free_bytes" []
        "Disk space that can still be written before no commands are taken.";

    // Entities and time
    TICK: GaugeMetric = "starmesh_node_tick_count" []
        "The node's tick.";
    TICK_GAP: HistogramMetric = "starmesh_node_tick_gap_seconds" []
        "Time between two ticks of the node: 0.1 when it keeps time.";
    TICK_SECONDS: HistogramMetric = "starmesh_node_tick_seconds" []
        "Time one thread took for one tick of its entities.";
    TICKS_HELD: CounterMetric = "starmesh_node_ticks_held_total" []
        "Ticks that began late because a thread of entities was three ticks behind: time stood still until it had caught up.";
    VIEW_PLACES: GaugeMetric = "starmesh_view_places_count" []
        "Sectors that are observed, and those beside them.";
    VIEW_SECONDS: HistogramMetric = "starmesh_view_batch_seconds" []
        "Time to encode what one thread's entities did in one tick.";
    VIEW_PACKETS: CounterMetric = "starmesh_view_packets_total" []
        "Packets of places given to sessions.";
    VIEW_BYTES: CounterMetric = "starmesh_view_bytes_total" []
        "Bytes of those packets.";
    VIEW_LATE: CounterMetric = "starmesh_view_late_total" []
        "Ticks of a thread's entities that were not shown because encoding fell behind; whoever observes them gets keyframes.";
    PEER_REFUSED: CounterMetric = "starmesh_peer_refused_total" []
        "Messages of other nodes that were refused: they name a connection that is not the sender's, or not this node's, or sectors beyond the 262,144 that one node may say to run, which the sums then lack. Anything but 0 wants an operator.";
    ENTITIES: GaugeMetric = "starmesh_entity_running_count" []
        "Entities that run on this node.";
    PARKED: GaugeMetric = "starmesh_entity_parked_count" []
        "Entities that this node was to load and cannot: parked, because they break whoever runs them, or damaged. They are kept as they are and do not run until an operator looked. Anything but 0 wants one.";
    BROKEN: CounterMetric = "starmesh_entity_broken_total" []
        "Panics of entities that were caught: each was thrown away and loaded again from its journal.";
    SET_ASIDE: CounterMetric = "starmesh_entity_set_aside_total" []
        "Inputs that panic wherever they are applied and were set aside; whoever sent one is told.";
    BLAMED: CounterMetric = "starmesh_entity_blamed_total" []
        "Ends of processes that were found to be an entity's: its code did not come back, or aborted. With three it is parked.";
    ARBITER_SILENT: GaugeMetric = "starmesh_arbiter_silent_seconds" []
        "For how long the thread that runs entities and answered longest ago has not answered, though it was asked. At 2 the process ends.";
    LOAD_DROPPED: CounterMetric = "starmesh_entity_load_dropped_total" []
        "Messages dropped because too many waited for their entity to be loaded, or it cannot be: messages between entities come again, players try again.";
    STEPS: CounterMetric = "starmesh_entity_steps_total" []
        "Steps of entities.";
    RECORDS: CounterMetric = "starmesh_entity_records_total" []
        "Records appended to journals.";
    RECORD_BYTES: CounterMetric = "starmesh_entity_record_bytes_total" []
        "Bytes of those records.";
    SNAPSHOTS: CounterMetric = "starmesh_entity_snapshots_total" []
        "Snapshots of entities that became durable.";
    SECTORS_ACTIVE: GaugeMetric = "starmesh_sector_active_count" []
        "Sectors that run on this node.";
    SECTORS_DILATED: GaugeMetric = "starmesh_sector_dilated_count" ["percent"]
        "Sectors that run slower than the node because their thread is too busy, by the per cent of its ticks that they make.";
    SECTORS_HIBERNATED: GaugeMetric = "starmesh_sector_hibernated_count" []
        "Sectors of this node that are in the store only, because nothing happens in them; 0 until they have been counted, soon after the start. Counted anew at most once a minute when the directory changed, so over all nodes each is in one sum.";
    SECTORS_HIBERNATED_TOTAL: CounterMetric = "starmesh_sector_hibernations_total" []
        "Times a sector went to hibernate.";
    SECTORS_DELETED: CounterMetric = "starmesh_sector_deletions_total" []
        "Of those, times it was as the galaxy was made and nothing was kept of it.";
    SECTORS_HOT: GaugeMetric = "starmesh_sector_hot_count" []
        "Sectors that have a thread of their own.";
    SECTOR_MOVES: CounterMetric = "starmesh_sector_moves_total" []
        "Times a sector changed its thread.";
    UNITS: GaugeMetric = "starmesh_sector_units_count" []
        "Units in the sectors of this node.";
    SHADOWS_HELD: GaugeMetric = "starmesh_sector_shadows_count" []
        "Units just beyond the borders of this node's sectors that those know of; some of them as gone, for at most three world ticks.";
    SHADOWS_LATE: CounterMetric = "starmesh_sector_shadows_late_total" []
        "Words of such units that were not taken because later ones had come.";
    INVARIANT_BROKEN: CounterMetric = "starmesh_invariant_broken_total" ["invariant"]
        "Run-time checks that failed, by number of the invariant. Anything but 0 is a fault of ours: report it.";

    // Mesh
    CORE_MESSAGES: CounterMetric = "starmesh_mesh_core_messages_total" ["outcome"]
        "Messages of this node's core for other nodes: sent, or dropped because their link was down or full; those come again.";

    SHADOW_DATAGRAMS: CounterMetric = "starmesh_mesh_shadow_datagrams_total" ["outcome"]
        "Datagrams with units near borders: sent; dropped because their link was full; no_way, for want of a link and of a coordinator that has one; handed_on for others; full, because this node's core had no room for what came; unreadable, also as one that says what only its own node may say. What is lost is said again in 200 ms.";

    NODES_LIVING: GaugeMetric = "starmesh_mesh_nodes_living_count" []
        "Nodes of the cluster that live, as far as this one knows; itself, too.";
    LINKS_UP: GaugeMetric = "starmesh_mesh_links_up_count" []
        "Nodes to which this one has a link.";
    ADOPTED: CounterMetric = "starmesh_entities_adopted_total" []
        "Entities claimed that had other rules, or another logic version, until then.";
    FORMAT: GaugeMetric = "starmesh_store_format_state" []
        "The format version in which the cluster stores and sends.";
    LACKING: GaugeMetric = "starmesh_entities_lacking_logic_count" []
        "Entities that wait for a node that has the logic version of their journal.";
    HANDED_OVER: CounterMetric = "starmesh_mesh_entities_handed_over_total" []
        "Entities that this node gave to others.";
    HAND_OVER_SECONDS: HistogramMetric = "starmesh_mesh_hand_over_seconds" ["part"]
        "What hand-overs took their time for. Of who gives: ahead (the other node loads it, and it goes on meanwhile), close (its next tick comes, and with that its door is closed; what was taken becomes durable), record (its last one does). Of who takes: tail (what was missing is loaded), claim (becomes durable).";
    DEATHS: CounterMetric = "starmesh_mesh_deaths_declared_total" []
        "Nodes that this one declared dead.";
    AUDIT_HEADS_DIFFER: CounterMetric = "starmesh_mesh_audit_heads_differ_total" []
        "Times that a node's row in the store said less, or something else, than the node had told over its link. Anything but 0 means that somebody changed the store.";
    AUDIT_SIGNATURES: CounterMetric = "starmesh_mesh_audit_signatures_total" ["outcome"]
        "Signatures over heads of audit logs: made, or failed.";
    AUDIT_UNSIGNED: GaugeMetric = "starmesh_mesh_audit_unsigned_seconds" []
        "For how long entries of this node's audit log have not been signed. Above 60 the log is not whole for whoever verifies it.";
    UNHEEDED: CounterMetric = "starmesh_mesh_messages_unheeded_total" []
        "Messages of incarnations of nodes that had ended.";

    LOAD_SECTORS: GaugeMetric = "starmesh_balance_sectors_seconds" []
        "Seconds of each second that the sectors of this node take of its threads, smoothed, at full rate.";
    LOAD_OTHER: GaugeMetric = "starmesh_balance_other_seconds" []
        "Seconds of each second that those threads work for anything else.";
    BALANCE_PLANS: CounterMetric = "starmesh_balance_plans_total" ["outcome"]
        "Plans that this node made by itself: even (nothing to move), committed, silent (some node does not tell its load, and nothing must move), overtaken by another change, store (it did not answer), refused.";
    BALANCE_PLANNED: CounterMetric = "starmesh_balance_moves_planned_total" []
        "Parts of the map that plans of this node wanted to move, those that an operator asked for, too.";
    BALANCE_MOVES: CounterMetric = "starmesh_balance_moves_total" ["why"]
        "Of those the ones that became durable, by reason: dead, draining, hot, load, nearer or cold.";
    BALANCE_UNREADY: GaugeMetric = "starmesh_balance_unready_seconds" []
        "For how long this node has told no load, because not all that it had runs again; while it is the planner nothing is balanced. 0 when it tells it.";
    BALANCE_UNEVEN: GaugeMetric = "starmesh_balance_uneven_ratio" []
        "What the node with most carries, as a multiple of its part; of the last plan that this node made.";

    // Sessions
    SESSIONS: GaugeMetric = "starmesh_session_open_count" []
        "Players' sessions open at this gateway.";
    SESSIONS_OPENED: CounterMetric = "starmesh_session_opened_total" []
        "Sessions opened or resumed.";
    SESSIONS_CLOSED: CounterMetric = "starmesh_session_closed_total" ["reason"]
        "Sessions closed, by reason.";
    COMMANDS: CounterMetric = "starmesh_session_commands_total" ["outcome"]
        "Commands answered, by outcome.";
    COMMAND_SECONDS: HistogramMetric = "starmesh_session_command_seconds" []
        "Time from a command's arrival to its acknowledgement in the session's queue.";
    MESSAGES_DROPPED: CounterMetric = "starmesh_session_dropped_total" ["class"]
        "Messages dropped because a client reads too slowly, by class.";
    BYTES_IN: CounterMetric = "starmesh_session_in_bytes_total" []
        "Bytes of messages from clients.";
    BYTES_OUT: CounterMetric = "starmesh_session_out_bytes_total" []
        "Bytes of messages to clients.";

    // HTTP and accounts
    HTTP_REQUESTS: CounterMetric = "starmesh_http_requests_total" ["route", "status"]
        "Requests answered, by route and status class.";
    HTTP_LIMITED: CounterMetric = "starmesh_http_limited_total" ["limit"]
        "Requests and connections refused by a limit per address, by limit.";
    REGISTRATIONS: CounterMetric = "starmesh_account_registrations_total" []
        "Accounts made.";
    LOGINS: CounterMetric = "starmesh_account_logins_total" ["outcome"]
        "Log-ins, by outcome: accepted or refused.";
    REFRESH_REUSED: CounterMetric = "starmesh_account_refresh_reused_total" []
        "Refresh tokens that came a second time, which revoked their family.";
    HASH_SECONDS: HistogramMetric = "starmesh_account_hash_seconds" []
        "Time to hash one password, without waiting.";
    GENERATIONS_RAISED: CounterMetric = "starmesh_account_generations_raised_total" []
        "Generations seen to rise: each closes a player's older sessions.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// The rows of the tables in docs/metrics.md: name to kind, labels, help.
    fn documented() -> BTreeMap<String, String> {
        let text = std::fs::read_to_string("docs/metrics.md").unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `starmesh_"));
        rows.map(|row| {
            let (name, rest) = row.split_once("` | ").unwrap();
            (format!("starmesh_{name}"), rest.trim_end_matches(" |").to_string())
        })
        .collect()
    }

    fn row(metric: &dyn Metric) -> String {
        let labels: Vec<_> = metric.labels().iter().map(|label| format!("`{label}`")).collect();
        let kind = format!("{:?}", metric.kind()).to_lowercase();
        format!("{kind} | {} | {}", labels.join(", "), metric.help())
    }

    #[test]
    fn document_and_code_name_the_same_metrics() {
        let declared: BTreeMap<_, _> =
            ALL.iter().map(|metric| (metric.name().to_string(), row(*metric))).collect();
        assert_eq!(declared.len(), ALL.len(), "a name is declared twice");
        for (name, row) in &declared {
            assert_eq!(
                documented().get(name),
                Some(row),
                "write in docs/metrics.md: | `{name}` | {row} |"
            );
        }
        for name in documented().keys() {
            assert!(
                declared.contains_key(name),
                "docs/metrics.md names {name}, which does not exist"
            );
        }
    }

    #[test]
    fn names_follow_the_pattern() {
        for metric in ALL {
            let name = metric.name();
            assert!(name.starts_with("starmesh_"), "{name}");
            assert_eq!(metric.kind() == Kind::Counter, name.ends_with("_total"), "{name}");
            let units = ["_total", "_seconds", "_bytes", "_count", "_state", "_ratio"];
            assert!(units.iter().any(|unit| name.ends_with(unit)), "{name} has no unit");
        }
    }

    #[test]
    fn renders_what_was_recorded() {
        let recorder = crate::telemetry::Recorder::install().unwrap();
        COMMITS.increment(3);
        COMMIT_SECONDS.record(0.002);
        LOGINS.with(&["accepted"]).increment(7);
        ENTITIES.add(3.0);
        ENTITIES.add(-1.0);
        recorder.upkeep();
        let text = recorder.render();
        assert!(text.contains("starmesh_store_commits_total 3"), "{text}");
        assert!(text.contains("starmesh_store_commit_seconds_bucket{le=\"0.0025\"} 1"), "{text}");
        assert!(text.contains("starmesh_account_logins_total{outcome=\"accepted\"} 7"), "{text}");
        assert!(text.contains("starmesh_entity_running_count 2"), "{text}");
        assert!(text.contains("# HELP starmesh_store_commits_total Commits that became durable."));
        assert!(
            text.contains("starmesh_view_late_total 0"),
            "what never happened is shown: {text}"
        );
    }
}
