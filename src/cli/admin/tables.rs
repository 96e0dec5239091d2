//! Owns how answers of the admin calls look to people: columns as wide as what
//! is in them. Pure.

use crate::base::SectorId;
use crate::protocol::http::admin::{
    Announced, Audit, AuditedLog, BalancePlan, Beyond, BusySector, BusySectors, EntityPlace, Node,
    Nodes, ParkedEntities, ParkedEntity, Region, Resumed, Steered,
};

/// How many roles there are.
const ROLES: usize = 4;
/// A sector that takes a tenth of a thread is hot for people.
const HOT: u32 = 100;

/// Rows under heads, the first columns left, numbers right.
fn table(heads: &[&str], rows: Vec<Vec<String>>) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([heads[column].len()]).max().unwrap_or_default()
    };
    let widths: Vec<_> = (0..heads.len()).map(width).collect();
    let is_number = |column: usize| {
        let digits =
            |cell: &String| cell.bytes().all(|b| b.is_ascii_digit() || b"-. %".contains(&b));
        rows.iter().filter_map(|row| row.get(column)).all(digits)
    };
    let numbers: Vec<_> = (0..heads.len()).map(is_number).collect();
    let line = |cells: Vec<&str>| {
        let cell = |(column, cell): (usize, &str)| match numbers[column] {
            true => format!("{cell:>width$}", width = widths[column]),
            false => format!("{cell:<width$}", width = widths[column]),
        };
        let cells: Vec<_> = cells.into_iter().enumerate().map(cell).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text = line(heads.to_vec());
    rows.iter().for_each(|row| text += &line(row.iter().map(String::as_str).collect()));
    text
}

pub fn nodes(answer: &Nodes) -> String {
    let heads = [
        "NODE", "NAME", "STATE", "ROLES", "LINK", "RTT ms", "STORE", "ENTRIES", "SECTORS", "UNITS",
        "PLAYERS", "LOAD", "OTHER", "BUSY", "PARKED", "TICK",
    ];
    let rows = answer.nodes.iter().map(node).collect();
    let (directory, me) = (answer.directory, answer.me);
    let planner = planner(answer);
    format!("{}directory {directory}, as node {me} sees it; {planner}\n", table(&heads, rows))
}

/// Who balances, and by what.
fn planner(answer: &Nodes) -> String {
    let found = answer.nodes.iter().find(|node| Some(node.node) == answer.planner);
    let Some(node) = found else { return "nobody lives to balance".into() };
    match node.report.as_ref().map(|report| report.balance.as_str()) {
        Some("off") => "balancing is off".into(),
        Some(strategy) => format!("node {} balances by {strategy}", node.node),
        None => format!("node {} is to balance, and does not answer", node.node),
    }
}

fn node(node: &Node) -> Vec<String> {
    let state = match (node.lives, node.draining, &node.report) {
        (false, ..) => "dead",
        (true, _, None) => "silent",
        (true, true, _) => "draining",
        (true, false, Some(report)) if !report.taking_commands => "store away",
        (true, false, Some(_)) => "lives",
    };
    let of = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
    let report = node.report.as_ref();
    let busiest = report.and_then(|report| report.threads.iter().max().copied());
    let away =
        node.round_trip_us.map_or("-".into(), |us| format!("{}.{}", us / 1_000, us % 1_000 / 100));
    vec![
        node.node.to_string(),
        node.name.clone().unwrap_or("-".into()),
        state.into(),
        if node.roles.len() == ROLES { "all".into() } else { node.roles.join(",") },
        node.link.clone(),
        away,
        report.map_or("-".into(), |report| report.store.clone()),
        node.entries.to_string(),
        of(report.map(|report| report.sectors)),
        of(report.map(|report| report.units)),
        of(report.map(|report| report.connections)),
        share(report.map(|report| report.sectors_us)),
        share(report.map(|report| report.other_us)),
        busiest.map_or("-".into(), percent),
        of(report.map(|report| report.parked)),
        of(report.map(|report| report.tick)),
    ]
}

/// Microseconds of a tick, as a part of one thread.
fn share(us: Option<u64>) -> String {
    us.map_or("-".into(), |us| percent(u32::try_from(us / 100).unwrap_or(u32::MAX)))
}

fn percent(thousandths: u32) -> String {
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

/// What `--hot` shows.
pub fn is_hot(sector: &BusySector) -> bool {
    sector.load >= HOT || sector.observers > 0 || sector.own_thread
}

pub fn sectors(answer: &BusySectors) -> String {
    let heads = ["SECTOR", "NODE", "UNITS", "ACTIVITY", "OBSERVERS", "LOAD", "THREAD"];
    let row = |it: &BusySector| {
        vec![
            SectorId::from(it.sector).to_string(),
            it.node.to_string(),
            it.units.to_string(),
            it.activity.to_string(),
            it.observers.to_string(),
            percent(it.load),
            if it.own_thread { "own" } else { "shared" }.into(),
        ]
    };
    let rows = answer.sectors.iter().map(row).collect();
    let shown = answer.sectors.len();
    format!(
        "{}{shown} of {} that run{}\n",
        table(&heads, rows),
        answer.total,
        silent(&answer.silent)
    )
}

fn silent(nodes: &[u32]) -> String {
    match nodes {
        [] => String::new(),
        nodes => format!("; no answer within a second from node {}", numbers(nodes)),
    }
}

fn numbers(nodes: &[u32]) -> String {
    nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

pub fn region(answer: &Region) -> String {
    let sector = SectorId::from(answer.sector);
    let mut text = match answer.entry {
        Some(entry) => {
            let region = SectorId::from(entry.sector);
            let whose = if entry.pinned { " that an operator made" } else { "" };
            let node = entry.node;
            format!("sector {sector} belongs to node {node}, by the entry of {region}{whose}")
        }
        None => format!("sector {sector} belongs to nobody"),
    };
    text += &format!(", directory {}{}\n", answer.directory, silent(&answer.silent));
    for entry in &answer.finer {
        text += &format!("  but {} to node {}\n", SectorId::from(entry.sector), entry.node);
    }
    let more = answer.finer_count.saturating_sub(answer.finer.len() as u64);
    if more > 0 {
        text += &format!("  and {more} entries more\n");
    }
    let heads = ["NODE", "SECTORS", "UNITS", "LEAVING", "DIRECTORY"];
    let row = |it: &crate::protocol::http::admin::Running| {
        [u64::from(it.node), it.sectors, it.units, it.leaving, it.directory]
            .map(|number| number.to_string())
            .to_vec()
    };
    text += &table(&heads, answer.running.iter().map(row).collect());
    for Beyond { sector, units, moving, .. } in &answer.beyond {
        let sector = SectorId::from(*sector);
        text += &format!("beyond its border {units} units of {sector}, {moving} of them moving\n");
    }
    text
}

pub fn entity(answer: &EntityPlace) -> String {
    let owner = answer.node.map_or("nobody".into(), |node| format!("node {node}"));
    let entry = if answer.own_entry { ", by an entry of its own" } else { "" };
    let runs = match &answer.runs_at[..] {
        [] => "it does not run".into(),
        nodes => format!("it runs at node {}", numbers(nodes)),
    };
    format!("{} belongs to {owner}{entry}; {runs}{}\n", answer.entity, silent(&answer.silent))
}

pub fn parked(answer: &ParkedEntities) -> String {
    if answer.entities.is_empty() {
        return "nothing is parked\n".into();
    }
    let heads = ["ENTITY", "BY NODE", "RECORD", "TICK", "WHY"];
    let row = |it: &ParkedEntity| {
        vec![
            it.entity.clone(),
            it.node.to_string(),
            it.record.to_string(),
            it.tick.to_string(),
            it.why.clone(),
        ]
    };
    table(&heads, answer.entities.iter().map(row).collect())
}

pub fn resumed(answer: &Resumed) -> String {
    let by = answer.node.map_or("whoever it belongs to".into(), |node| format!("node {node}"));
    format!("{} is parked no more; {by} claims it\n", answer.entity)
}

pub fn steered(answer: &Steered) -> String {
    match answer.changes {
        0 => format!("nothing to change: it is so already (directory {})\n", answer.directory),
        changes => format!("done: {changes} changes, directory {}\n", answer.directory),
    }
}

pub fn announced(answer: &Announced) -> String {
    let heads = ["NODE", "CONNECTIONS"];
    let said = answer.gateways.iter().map(|it| (it.node, it.connections.to_string()));
    let silent = answer.silent.iter().map(|node| (*node, "silent".to_owned()));
    table(&heads, said.chain(silent).map(|(node, told)| vec![node.to_string(), told]).collect())
}

pub fn audit(answer: &Audit) -> String {
    let heads = ["NODE", "ENTRIES", "SIGNED", "UNSIGNED", "WITNESSED", "FOUND"];
    let row = |it: &AuditedLog| {
        vec![
            it.node.to_string(),
            it.entries.to_string(),
            it.signatures.to_string(),
            it.unsigned.to_string(),
            it.witnessed.to_string(),
            it.problem.clone().unwrap_or_else(|| "ok".into()),
        ]
    };
    let against = match answer.authorities {
        true => "certificates held against the cluster's authority",
        false => "no authority to hold certificates against",
    };
    let rows = answer.logs.iter().map(row).collect();
    format!("{}{} entries and signatures, {against}\n", table(&heads, rows), answer.read)
}

pub fn plan(answer: &BalancePlan) -> String {
    let heads = ["SECTOR", "FROM", "TO", "RUN", "WEIGHT", "WHY"];
    let row = |it: &crate::protocol::http::admin::Move| {
        vec![
            SectorId::from(it.sector).to_string(),
            it.from.to_string(),
            it.to.to_string(),
            it.sectors.to_string(),
            it.weight.to_string(),
            it.why.clone(),
        ]
    };
    let mut text = match answer.moves.is_empty() {
        true => "nothing moves\n".to_owned(),
        false => table(&heads, answer.moves.iter().map(row).collect()),
    };
    let BalancePlan { merged, released, shares, unpinned, seen, .. } = answer;
    if *unpinned > 0 {
        text += &format!("{unpinned} entries that an operator made may be balanced from now on\n");
    }
    if merged + released + shares > 0 {
        text +=
            &format!("{merged} entries merged, {released} released, {shares} kinds shared anew\n");
    }
    if answer.untold > 0 {
        text += &format!("{} sectors that run were too many to be weighed\n", answer.untold);
    }
    let done = answer.directory.map_or("not carried out".into(), |now| format!("now {now}"));
    text + &format!("{} from directory {seen}, {done}{}\n", answer.strategy, silent(&answer.silent))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http::admin::Report;

    #[test]
    fn nodes_are_a_table_and_who_is_silent_is_shown_as_that() {
        let report = Report {
            incarnation: 3,
            build: "starmesh 0.1.0".into(),
            store: "sled".into(),
            tick: 4_711,
            taking_commands: true,
            directory: 7,
            sectors: 12,
            others: 4,
            leaving: 0,
            parked: 0,
            units: 3_456,
            connections: 5,
            threads: vec![12, 345],
            sectors_us: 31_200,
            other_us: 1_050,
            balance: "ResourceUsage".into(),
        };
        let roles = |count| {
            let names = ["sector", "coordinator", "meta", "gateway"].into_iter().take(count);
            names.map(str::to_owned).collect()
        };
        let node = |node, name: &str, report| Node {
            node,
            name: Some(name.into()),
            address: None,
            lives: true,
            draining: false,
            roles: roles(if node == 1 { 4 } else { 2 }),
            entries: 101,
            link: if node == 1 { "self" } else { "up" }.into(),
            round_trip_us: (node != 1).then_some(1_250),
            report,
        };
        let nodes_told = vec![node(1, "a", Some(report)), node(2, "b", None)];
        let text = nodes(&Nodes { me: 1, directory: 7, planner: Some(1), nodes: nodes_told });
        let lines: Vec<_> = text.lines().collect();
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let first = [
            "1", "a", "lives", "all", "self", "-", "sled", "101", "12", "3456", "5", "31.2", "%",
            "1.0", "%", "34.5", "%", "0", "4711",
        ];
        assert_eq!(cells(lines[1]), first);
        let second = ["2", "b", "silent", "sector,coordinator", "up", "1.2", "-", "101"];
        let unknown = ["-"; 8];
        let second = [&second[..], &unknown[..]].concat();
        assert_eq!(cells(lines[2]), second);
        let last = "directory 7, as node 1 sees it; node 1 balances by ResourceUsage";
        assert_eq!(lines[3], last);
        assert_eq!(cells(lines[0])[..4], ["NODE", "NAME", "STATE", "ROLES"]);
    }

    #[test]
    fn an_audit_says_of_each_log_what_was_found() {
        let log = |node, problem: Option<&str>| AuditedLog {
            node,
            entries: 120,
            signatures: 30,
            witnessed: 2,
            unsigned: 1,
            unsigned_since: Some(5),
            head: None,
            problem: problem.map(str::to_owned),
        };
        let text = audit(&Audit {
            state: "done".into(),
            began: Some(1),
            ended: Some(2),
            read: 300,
            why: None,
            authorities: true,
            logs: vec![log(1, None), log(2, Some("it was cut off"))],
        });
        let lines: Vec<_> = text.lines().collect();
        let cells = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(cells(lines[1]), ["1", "120", "30", "1", "2", "ok"]);
        assert!(lines[2].ends_with("it was cut off") && lines[3].starts_with("300 entries"));
    }

    #[test]
    fn what_is_parked_is_a_table_with_the_reason() {
        let entity = ParkedEntity {
            entity: "sector:5,6,0".into(),
            why: "its step to tick 9 panics".into(),
            since: 1,
            node: 2,
            record: 17,
            tick: 8,
        };
        let text = parked(&ParkedEntities { entities: vec![entity] });
        assert!(text.ends_with("its step to tick 9 panics\n") && text.contains("17"), "{text}");
        let none = parked(&ParkedEntities { entities: Vec::new() });
        assert_eq!(none, "nothing is parked\n");
    }

    #[test]
    fn a_plan_says_whether_it_was_carried_out() {
        let mut answer = BalancePlan {
            unpinned: 0,
            strategy: "PlayerCount".into(),
            seen: 7,
            directory: None,
            moves: Vec::new(),
            merged: 0,
            released: 0,
            shares: 0,
            silent: vec![2, 3],
            untold: 0,
        };
        let silent = "no answer within a second from node 2, 3";
        let dry =
            format!("nothing moves\nPlayerCount from directory 7, not carried out; {silent}\n");
        assert_eq!(plan(&answer), dry);
        answer.directory = Some(8);
        assert!(plan(&answer).contains("now 8"));
    }
}
