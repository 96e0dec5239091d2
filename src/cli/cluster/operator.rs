//! Owns the account with which the cluster on this machine can be steered: its
//! name is in the nodes' settings, its password in a file that only its owner
//! reads. Never steers anything. Invariant: the password in the file is the one
//! with which the account was made, or there is no account yet.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::client::{CallError, Target};
use crate::protocol::http::{Login, Register, Secret};

/// The account's name, which `players.admins` names.
pub const NAME: &str = "operator";

/// Has the account be there; the file with its password.
///
/// # Errors
/// When there is one with another password, or nobody can log in.
pub async fn prepare(target: &Target, data: &Path) -> anyhow::Result<PathBuf> {
    let file = data.join("operator.password");
    let text = password(&file).with_context(|| format!("{}", file.display()))?;
    let body = Register {
        name: NAME.into(),
        email: format!("{NAME}@cluster.invalid"),
        password: Secret(text.clone()),
        display_name: None,
        faction: None,
    };
    match target.register(body).await {
        Ok(_) => Ok(file),
        Err(CallError::Refused(problem)) if problem.status == 409 => {
            let login = Login { name: NAME.into(), password: Secret(text) };
            target.log_in(login).await.with_context(|| {
                format!("account {NAME} has another password than {}", file.display())
            })?;
            Ok(file)
        }
        Err(error) => Err(error).context("the account that steers the cluster"),
    }
}

/// What the file says; a new one where there is none.
fn password(file: &Path) -> std::io::Result<String> {
    match std::fs::read_to_string(file) {
        Ok(text) => return Ok(text.trim().to_owned()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let text = uuid::Uuid::new_v4().simple().to_string();
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(file)?.write_all(text.as_bytes())?;
    Ok(text)
}
