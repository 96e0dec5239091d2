//! Starmesh's own figures: its bench of links, run as it is, which prints them
//! for us. So this package needs nothing of the product to be built.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::LOAD;
use crate::exchange::Figures;

pub fn measure(time: Duration) -> Figures {
    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.toml");
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(["bench", "--quiet", "--locked", "--bench", "links", "--manifest-path"]);
    command.arg(product).args(["--", "--json", "--seconds", &time.as_secs().to_string()]);
    command.args(["--bytes", &LOAD.bytes.to_string()]);
    command.args(["--in-flight", &LOAD.in_flight.to_string()]);
    let output = command.stderr(Stdio::inherit()).output().expect("cargo");
    assert!(output.status.success(), "the bench of links failed: {}", output.status);
    let text = String::from_utf8(output.stdout).expect("text");
    let line = text.lines().last().expect("figures in the last line");
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
