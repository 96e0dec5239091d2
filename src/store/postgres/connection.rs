//! Owns a session with the server: how it is made, its prepared statements,
//! what the server warned of in it. Never keeps a session that failed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::error::Severity;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls};

use super::error::Failure;
use super::statements::Statements;
use super::url::Target;

/// A session.
pub struct Link {
    pub client: Client,
    pub statements: Statements,
    warning: Warning,
}

impl Link {
    /// A session that is set up, with its statements prepared.
    ///
    /// # Errors
    /// When that takes longer than it may, or the server refuses.
    pub async fn connect(target: &Target) -> Result<Link, Failure> {
        let made = tokio::time::timeout(target.connect_within, async {
            let (client, warning) = begin(target).await?;
            let statements = Statements::prepare(&client).await?;
            // What it had to say at the beginning is about no statement.
            warning.take();
            Ok(Link { client, statements, warning })
        });
        let late = |_| Failure::Late(target.connect_within.as_millis());
        made.await.map_err(late)?
    }

    /// What the server warned of since this was last asked.
    pub fn take_warning(&self) -> Option<String> {
        self.warning.take()
    }
}

/// A session that is set up, without statements.
///
/// # Errors
/// When the server is away or refuses.
pub async fn begin(target: &Target) -> Result<(Client, Warning), Failure> {
    let refused = |error| Failure::Connect(Failure::Database(error).to_string());
    let warning = Warning::default();
    let client = match &target.tls {
        Some(tls) => {
            let (client, connection) = target.config.connect(tls.clone()).await.map_err(refused)?;
            tokio::spawn(Driver { connection, warning: warning.clone() });
            client
        }
        None => {
            let (client, connection) = target.config.connect(NoTls).await.map_err(refused)?;
            tokio::spawn(Driver { connection, warning: warning.clone() });
            client
        }
    };
    client.batch_execute(&target.session).await?;
    Ok((client, warning))
}

/// The last warning of a session. A commit that no synchronous standby has
/// confirmed, because its wait was cancelled, looks like any other but for
/// the warning that precedes its answer.
#[derive(Clone, Default)]
pub struct Warning(Arc<Mutex<Option<String>>>);

impl Warning {
    fn take(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, message: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(message.to_string());
    }
}

/// Moves a session's bytes, in the server's order; ends with the session.
struct Driver<S, T> {
    connection: Connection<S, T>,
    warning: Warning,
}

impl<S, T> Future for Driver<S, T>
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            match self.connection.poll_message(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(AsyncMessage::Notice(notice)))) => {
                    // The text is in the server's language.
                    if notice.parsed_severity() == Some(Severity::Warning) {
                        self.warning.put(notice.message());
                    }
                }
                Poll::Ready(Some(Ok(_))) => {}
                // Whoever waits in the session learns of it there.
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
            }
        }
    }
}
