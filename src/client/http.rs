//! Owns the calls over HTTP: accounts, and maps of the galaxy. Plain HTTP only.
//! Each call blocks one thread of the blocking pool and ends within ten
//! seconds. Called before a client connects, and for what is public.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::Body;
use ureq::http::Response;

use crate::base::SectorId;
use crate::protocol::http::{
    LOGIN_PATH, LOGOUT_PATH, Login, Logout, MAP_PATH, Map, Problem, REFRESH_PATH, REGISTER_PATH,
    RULES_PATH, Refresh, Register, Rules, Tokens, WEBSOCKET_PATH,
};

/// A call that took longer failed.
const CALL_WITHIN: Duration = Duration::from_secs(10);
/// More of an answer is not read; a map with 500 stars and their lanes is the
/// largest.
const ANSWER_BYTES_MAX: u64 = 512 * 1024;

/// A server by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// `host:port`.
    authority: String,
}

/// Text that names no server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no target: expected http://HOST:PORT")]
pub struct TargetError(String);

/// Why a call failed. Whether the server acted is known only with
/// `Refused`: it did not.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("{} ({}): {}", .0.title, .0.status, .0.detail)]
    Refused(Box<Problem>),
    /// Wait so long; nothing was done.
    #[error("too many calls, again in {after_seconds} s")]
    Limited { after_seconds: u64 },
    #[error("the server answered {status} with a body that is none of ours")]
    Unreadable { status: u16 },
    #[error("no answer: {0}")]
    NoAnswer(String),
}

impl Target {
    /// `host:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Where a WebSocket is opened.
    pub fn websocket(&self) -> String {
        format!("ws://{}{WEBSOCKET_PATH}", self.authority)
    }

    /// Creates an account.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn register(&self, body: Register) -> Result<Tokens, CallError> {
        self.call(REGISTER_PATH, body).await
    }

    /// Opens an account with its password.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn log_in(&self, body: Login) -> Result<Tokens, CallError> {
        self.call(LOGIN_PATH, body).await
    }

    /// New tokens for a refresh token, which ends.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn refresh(&self, body: Refresh) -> Result<Tokens, CallError> {
        self.call(REFRESH_PATH, body).await
    }

    /// Ends a refresh token, or all sessions of the account.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn log_out(&self, body: Logout) -> Result<(), CallError> {
        self.call::<_, Option<()>>(LOGOUT_PATH, body).await.map(drop)
    }

    /// What the galaxy has in a sector, with its first `limit` features.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn map(&self, sector: SectorId, limit: u16) -> Result<Map, CallError> {
        let path = MAP_PATH.replace("{sector}", &sector.to_string());
        let url = format!("http://{}{path}?limit={limit}", self.authority);
        blocking(move || get(&url)).await
    }

    /// The content of the game.
    ///
    /// # Errors
    /// When the server refuses, or does not answer in time.
    pub async fn rules(&self) -> Result<Rules, CallError> {
        let url = format!("http://{}{RULES_PATH}", self.authority);
        blocking(move || get(&url)).await
    }

    async fn call<B, A>(&self, path: &str, body: B) -> Result<A, CallError>
    where
        B: Serialize + Send + 'static,
        A: DeserializeOwned + Send + 'static,
    {
        let url = format!("http://{}{path}", self.authority);
        blocking(move || post(&url, &body)).await
    }
}

impl std::str::FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Target, TargetError> {
        let wrong = || TargetError(text.chars().take(200).collect());
        let authority = text.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
        let (host, port) = authority.rsplit_once(':').ok_or_else(wrong)?;
        let known = |c: char| c.is_ascii_alphanumeric() || "-._[]:".contains(c);
        match port.parse::<u16>() {
            Ok(1..) if !host.is_empty() && host.chars().all(known) => {
                Ok(Target { authority: authority.to_owned() })
            }
            _ => Err(wrong()),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http://{}", self.authority)
    }
}

pub(super) async fn blocking<A: Send + 'static>(
    call: impl FnOnce() -> Result<A, CallError> + Send + 'static,
) -> Result<A, CallError> {
    let called = tokio::task::spawn_blocking(call).await;
    called.unwrap_or_else(|error| Err(no_answer(error)))
}

fn no_answer(error: impl std::fmt::Display) -> CallError {
    CallError::NoAnswer(error.to_string())
}

fn get<A: DeserializeOwned>(url: &str) -> Result<A, CallError> {
    get_as(url, None)
}

pub(super) fn get_as<A: DeserializeOwned>(url: &str, token: Option<&str>) -> Result<A, CallError> {
    let call = ureq::get(url);
    let call = match token {
        Some(token) => call.header("authorization", format!("Bearer {token}")),
        None => call,
    };
    let response = call
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(CALL_WITHIN))
        .build()
        .call()
        .map_err(no_answer)?;
    read(response)
}

fn post<B: Serialize, A: DeserializeOwned>(url: &str, body: &B) -> Result<A, CallError> {
    post_as(url, &serde_json::to_vec(body).map_err(no_answer)?, None)
}

pub(super) fn post_as<A: DeserializeOwned>(
    url: &str,
    body: &[u8],
    token: Option<&str>,
) -> Result<A, CallError> {
    let call = ureq::post(url);
    let call = match token {
        Some(token) => call.header("authorization", format!("Bearer {token}")),
        None => call,
    };
    let response = call
        .config()
        .http_status_as_error(false)
        .timeout_global(Some(CALL_WITHIN))
        .build()
        .content_type("application/json")
        .send(body)
        .map_err(no_answer)?;
    read(response)
}

fn read<A: DeserializeOwned>(mut response: Response<Body>) -> Result<A, CallError> {
    let status = response.status().as_u16();
    if status == 429 {
        let after = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let after_seconds = after.and_then(|text| text.parse().ok()).unwrap_or(1);
        return Err(CallError::Limited { after_seconds });
    }
    let bytes = response.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_vec();
    read_answer(status, &bytes.map_err(no_answer)?)
}

fn read_answer<A: DeserializeOwned>(status: u16, bytes: &[u8]) -> Result<A, CallError> {
    let unreadable = |_| CallError::Unreadable { status };
    match status {
        204 => serde_json::from_slice(b"null").map_err(unreadable),
        200..300 => serde_json::from_slice(bytes).map_err(unreadable),
        _ => Err(serde_json::from_slice(bytes)
            .map_or_else(unreadable, |problem| CallError::Refused(Box::new(problem)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_targets_and_refuses_what_is_none() {
        let target: Result<Target, _> = "http://127.0.0.1:8080/".parse();
        assert_eq!(target.map(|t| t.websocket()), Ok("ws://127.0.0.1:8080/ws".to_owned()));
        for wrong in
            ["127.0.0.1:80", "https://a:1", "http://a", "http://:1", "http://a:0", "http://a b:1"]
        {
            assert_eq!(wrong.parse::<Target>(), Err(TargetError(wrong.to_owned())));
        }
    }
}
