//! Owns getting a token for a player of the swarm: its account is registered,
//! or logged in when it exists. Waits as long as the server says when it limits.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::stats::Stats;
use crate::client::{CallError, Target};
use crate::protocol::http::{Login, Register, Secret, Tokens};

/// A server that does not answer is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// The player's tokens; `None` when `until` came first, or the server refuses.
/// Each failed call is counted.
pub async fn tokens(target: &Target, name: &str, until: Instant, stats: &Stats) -> Option<Tokens> {
    let mut exists = false;
    loop {
        let called = if exists { log_in(target, name).await } else { register(target, name).await };
        let (wait, why) = match called {
            Ok(tokens) => return Some(tokens),
            Err(CallError::Refused(problem)) if problem.status == 409 && !exists => {
                exists = true;
                continue;
            }
            Err(CallError::Limited { after_seconds }) => {
                stats.lock().note_error("http limited");
                let why = "this address did it too often (see limits.exempt of the node)";
                (Duration::from_secs(after_seconds), why.to_owned())
            }
            Err(CallError::Refused(problem)) if problem.status < 500 => {
                let mut counts = stats.lock();
                counts.note_error(format!("http {}", problem.status));
                counts.note_sample(|| format!("{name}: {}: {}", problem.title, problem.detail));
                return None;
            }
            Err(error) => {
                stats.lock().note_error("http failed");
                (AGAIN_AFTER, error.to_string())
            }
        };
        let again = Instant::now() + wait;
        if again >= until {
            let ms = wait.as_millis();
            stats.lock().note_sample(|| format!("{name}: no token, wait {ms} ms: {why}"));
            return None;
        }
        sleep_until(again).await;
    }
}

async fn register(target: &Target, name: &str) -> Result<Tokens, CallError> {
    let body = Register {
        name: name.to_owned(),
        email: format!("{name}@swarm.invalid"),
        password: password(name),
        display_name: None,
        faction: None,
    };
    target.register(body).await
}

async fn log_in(target: &Target, name: &str) -> Result<Tokens, CallError> {
    target.log_in(Login { name: name.to_owned(), password: password(name) }).await
}

/// No secret: whoever runs a swarm against a server may play its players.
fn password(name: &str) -> Secret {
    Secret(format!("swarm password of {name}"))
}
