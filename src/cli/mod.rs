//! Owns the command line: one file per subcommand, each an `Args` that clap
//! parses and a `run` that works until it is done. Never holds logic that a
//! test would need without a process. Called by `main` only. Invariant: the
//! exit code is 0 when what was asked is done, 2 when the call or the
//! configuration is at fault, 3 when a node was stuck, 1 for everything else.

mod admin;
mod audit;
mod cert;
mod cluster;
mod demo;
mod node;
mod players;
mod relay;
mod replay;
mod settings;
mod store;
mod swarm;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::actors::ending::{Ended, STUCK_EXIT};
use crate::config::ConfigError;
use crate::gateway::server::ServeError;

/// Server mesh for persistent real-time strategy worlds.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Admin(admin::Args),
    Audit(audit::Args),
    Cert(cert::Args),
    Cluster(cluster::Args),
    Demo(demo::Args),
    Node(node::Args),
    Relay(relay::Args),
    Replay(replay::Args),
    Store(store::Args),
    Swarm(swarm::Args),
    Watch(watch::Args),
}

/// The call or the configuration is at fault, not the run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

/// Runs what the process's arguments ask for. Errors go to standard error
/// with their causes, one per line.
pub fn run() -> ExitCode {
    let cli = Cli::parse(); // ends the process with 2 on a wrong call
    let outcome = match cli.command {
        Command::Admin(args) => admin::run(args),
        Command::Audit(args) => audit::run(args),
        Command::Cert(args) => cert::run(args),
        Command::Cluster(args) => cluster::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Node(args) => node::run(args),
        Command::Relay(args) => relay::run(args),
        Command::Replay(args) => replay::run(args),
        Command::Store(args) => store::run(args),
        Command::Swarm(args) => swarm::run(args),
        Command::Watch(args) => watch::run(args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody reads: the exit code says it too.
            let _ = std::io::stderr().write_all(report(&error).as_bytes());
            exit_code(&error)
        }
    }
}

/// Writes to standard output at once; whoever reads it may stop before the end.
fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

fn report(error: &anyhow::Error) -> String {
    let mut text = format!("starmesh: {error}\n");
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Some errors say their cause themselves.
        if !text.trim_end().ends_with(&cause) {
            text.push_str(&format!("  because: {cause}\n"));
        }
    }
    text
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(match error {
        error if is_usage(error) => 2,
        error if is_stuck(error) => STUCK_EXIT,
        _ => 1,
    })
}

/// A thread that runs entities did not answer, once the node was ready or before.
fn is_stuck(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(Ended::Stuck(_)))
            || matches!(cause.downcast_ref(), Some(ServeError::Stuck(_)))
    })
}

fn is_usage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<UsageError>() || cause.is::<ConfigError>())
}

#[cfg(test)]
mod tests {
    use anyhow::{Context, anyhow};
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reports_an_error_with_its_causes() {
        let error = anyhow!("disk is full").context("writing the journal").context("node stopped");
        assert_eq!(
            report(&error),
            "starmesh: node stopped\n  because: writing the journal\n  because: disk is full\n"
        );
    }

    #[test]
    fn reports_a_cause_once() {
        let error = anyhow!("no such file").context("cannot open d/store: no such file");
        assert_eq!(report(&error), "starmesh: cannot open d/store: no such file\n");
    }

    #[test]
    fn tells_a_wrong_call_from_a_failed_run() {
        let usage = Err::<(), _>(UsageError("no such sector".into())).context("replay");
        assert!(is_usage(&usage.unwrap_err()));
        assert!(!is_usage(&anyhow!("store is locked")));
    }

    #[test]
    fn says_by_its_exit_code_that_a_node_was_stuck() {
        let why = || "arbiter 0".to_owned();
        assert!(is_stuck(&anyhow::Error::new(Ended::Stuck(why())).context("it may not go on")));
        assert!(is_stuck(&ServeError::from(Ended::Stuck(why())).into()));
        assert!(!is_stuck(&anyhow::Error::new(Ended::Failed(why())).context("it may not go on")));
    }
}
