//! Owns the file that says that a node takes players, and where: for whoever
//! started it and does not read what it prints. Never read by the node.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::ServeError;
use crate::cluster::certificates::JoinLine;

/// What the file says, but for the join line.
pub struct ReadyFile {
    pub file: PathBuf,
    pub http: Vec<SocketAddr>,
    pub url: String,
    /// Where other nodes reach it.
    pub cluster: Option<SocketAddr>,
}

impl ReadyFile {
    /// A JSON object, complete when it is there. A join line in it makes whoever
    /// can read it a node, so that only the file's owner can.
    pub fn write(&self, join: Option<&JoinLine>) -> Result<(), ServeError> {
        let failed = |source| ServeError::ReadyFile { file: self.file.clone(), source };
        let join = join.map(ToString::to_string);
        let content = serde_json::json!({
            "http": self.http, "url": self.url, "cluster": self.cluster, "join": join,
        });
        let part = self.file.with_extension("part");
        write_private(&part, content.to_string().as_bytes()).map_err(failed)?;
        std::fs::rename(&part, &self.file).map_err(failed)
    }
}

fn write_private(path: &std::path::Path, content: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;

    // What is left of an earlier write may have another mode.
    let _ = std::fs::remove_file(path);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(content)
}
