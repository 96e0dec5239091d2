//! Owns how the layers of settings become one [`Config`]: defaults, a file,
//! environment variables, flags, the later over the earlier; and what a wrong
//! setting is answered: where it stands, what is there, what was expected.

use std::fmt;

use figment::Figment;
use figment::error::Kind;
use figment::providers::{Format, Toml};

use super::locate::{Source, syntax_error};
use super::sections::Config;
use super::{DEFAULTS, Http};

/// What environment variables of ours begin with.
const ENV_PREFIX: &str = "STARMESH_";

/// Where a setting was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    File { name: String, line: usize },
    Variable(String),
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { name, line } => write!(f, "{name}:{line}"),
            Origin::Variable(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// Why the node does not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// A text that is not TOML.
    #[error("{at}: {message}")]
    Syntax { at: Origin, message: String },
    /// A key or section that does not exist.
    #[error("{at}: unknown setting {key}; expected {expected}")]
    Unknown { at: Origin, key: String, expected: String },
    /// A value of the wrong type or out of range.
    #[error("{at}: {key}: found {found}, expected {expected}")]
    Value { at: Origin, key: String, found: String, expected: String },
}

/// One setting given by an environment variable or a flag, as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    origin: Origin,
    section: String,
    key: String,
    text: String,
}

impl Override {
    /// A flag's value for `section.key`; `flag` with its dashes, for messages.
    pub fn flag(flag: &str, section: &str, key: &str, text: impl Into<String>) -> Override {
        Override {
            origin: Origin::Flag(flag.to_string()),
            section: section.to_string(),
            key: key.to_string(),
            text: text.into(),
        }
    }

    /// The settings among environment variables. Names without a double
    /// underscore are not ours: Kubernetes sets `STARMESH_PORT` and more of
    /// its own beside a service of this name.
    pub fn from_env(variables: impl IntoIterator<Item = (String, String)>) -> Vec<Override> {
        let ours = variables.into_iter().filter_map(|(name, text)| {
            let (section, key) = name.strip_prefix(ENV_PREFIX)?.split_once("__")?;
            let (section, key) = (section.to_ascii_lowercase(), key.to_ascii_lowercase());
            Some(Override { origin: Origin::Variable(name), section, key, text })
        });
        let mut ours: Vec<_> = ours.collect();
        ours.sort_by(|a, b| (&a.section, &a.key).cmp(&(&b.section, &b.key)));
        ours
    }
}

/// A layer above the defaults: a TOML text and who wrote it.
struct Layer {
    /// The line is filled in per setting.
    origin: Origin,
    source: Source,
}

impl Layer {
    fn origin_at(&self, line: usize) -> Origin {
        match &self.origin {
            Origin::File { name, .. } => Origin::File { name: name.clone(), line },
            other => other.clone(),
        }
    }
}

/// The configuration from the defaults, then `file` (its name for messages and
/// its text), then `overrides` in their order.
///
/// # Errors
/// An unknown key, a wrong type, a value out of range, or two settings that
/// contradict each other.
pub fn load(file: Option<(&str, &str)>, overrides: &[Override]) -> Result<Config, ConfigError> {
    let mut layers = vec![file_layer("config/starmesh.toml (built in)", DEFAULTS)?];
    if let Some((name, text)) = file {
        let layer = file_layer(name, text)?;
        check_keys(&layer, &layers[0].source)?;
        layers.push(layer);
    }
    for each in overrides {
        let layer = override_layer(each, &layers[0].source)?;
        check_keys(&layer, &layers[0].source)?;
        layers.push(layer);
    }
    let config = extract(&layers)?;
    check_relations(&config).map_err(|(key, expected)| value_error(&layers, key, expected))?;
    Ok(config)
}

fn file_layer(name: &str, text: &str) -> Result<Layer, ConfigError> {
    let origin = |line| Origin::File { name: name.to_string(), line };
    let source = Source::parse(text).map_err(|error| {
        let (line, message) = syntax_error(text, &error);
        ConfigError::Syntax { at: origin(line), message }
    })?;
    Ok(Layer { origin: origin(1), source })
}

/// An override as a TOML text of one line. Where the default is a string the
/// text needs no quotes.
fn override_layer(given: &Override, defaults: &Source) -> Result<Layer, ConfigError> {
    let Override { origin, section, key, text } = given;
    let default = defaults
        .find(section, key)
        .ok_or_else(|| unknown(origin.clone(), section, Some(key), defaults))?;
    let value = match default.kind {
        "string" => toml_edit::Value::from(text.as_str()).to_string(),
        _ => text.trim().to_string(),
    };
    let wrong = || ConfigError::Value {
        at: origin.clone(),
        key: format!("{section}.{key}"),
        found: text.clone(),
        expected: expected_type(default.kind),
    };
    // As a value on its own, so that no text can smuggle in a second line.
    value.parse::<toml_edit::Value>().map_err(|_| wrong())?;
    let source = Source::parse(&format!("[{section}]\n{key} = {value}\n")).map_err(|_| wrong())?;
    Ok(Layer { origin: origin.clone(), source })
}

/// Every key of `layer` exists and its value has the type of the default.
fn check_keys(layer: &Layer, defaults: &Source) -> Result<(), ConfigError> {
    for entry in layer.source.entries() {
        let at = layer.origin_at(entry.line);
        let default = entry.key.and_then(|key| defaults.find(entry.section, key));
        let Some(default) = default else {
            return Err(unknown(at, entry.section, entry.key, defaults));
        };
        if entry.kind != default.kind {
            return Err(ConfigError::Value {
                at,
                key: format!("{}.{}", default.section, default.key.unwrap_or("")),
                found: entry.text.to_string(),
                expected: expected_type(default.kind),
            });
        }
    }
    Ok(())
}

fn unknown(at: Origin, section: &str, key: Option<&str>, defaults: &Source) -> ConfigError {
    let (key, expected) = match (defaults.keys_of(section), key) {
        (Some(keys), Some(key)) => {
            (format!("{section}.{key}"), format!("one of {}", keys.join(", ")))
        }
        (Some(_), None) => (section.to_string(), format!("a section, [{section}]")),
        (None, _) => {
            (section.to_string(), format!("one of the sections {}", defaults.sections().join(", ")))
        }
    };
    ConfigError::Unknown { at, key, expected }
}

fn expected_type(kind: &str) -> String {
    match kind {
        "integer" => "a whole number",
        "boolean" => "true or false",
        "string" => "a text in quotes",
        "array" => "a list such as [\"a\", \"b\"]",
        other => other,
    }
    .to_string()
}

fn extract(layers: &[Layer]) -> Result<Config, ConfigError> {
    let figment = layers
        .iter()
        .fold(Figment::new(), |all, layer| all.merge(Toml::string(layer.source.text())));
    figment.extract().map_err(|error| {
        let expected = match &error.kind {
            Kind::InvalidType(_, expected) | Kind::InvalidValue(_, expected) => expected.clone(),
            Kind::UnknownVariant(_, names) => format!("one of \"{}\"", names.join("\", \"")),
            other => other.to_string(),
        };
        value_error(layers, &error.path.join("."), expected)
    })
}

/// A value error at the uppermost layer that sets `path`: section, key and, in
/// lists, the index.
fn value_error(layers: &[Layer], path: &str, expected: String) -> ConfigError {
    let mut parts = path.split('.');
    let section = parts.next().unwrap_or("");
    let key = parts.next().unwrap_or("");
    let found = layers
        .iter()
        .rev()
        .find_map(|layer| layer.source.find(section, key).map(|entry| (layer, entry)));
    let (at, found) = match found {
        // It may hold a password, or a token.
        Some((layer, entry)) if ["store.url", "cluster.join"].contains(&path) => {
            (layer.origin_at(entry.line), "another text".to_string())
        }
        Some((layer, entry)) => (layer.origin_at(entry.line), entry.text.to_string()),
        None => (layers[0].origin_at(1), "nothing".to_string()),
    };
    ConfigError::Value { at, key: path.to_string(), found, expected }
}

/// What settings must hold together: the key to blame and what was expected.
fn check_relations(config: &Config) -> Result<(), (&'static str, String)> {
    let Http { listen, behind_proxy, tls_certificate, tls_key, .. } = &config.http;
    if tls_certificate.is_some() != tls_key.is_some() {
        let key = if tls_key.is_some() { "http.tls_key" } else { "http.tls_certificate" };
        return Err((key, "tls_certificate and tls_key, or neither".to_string()));
    }
    if !listen.ip().is_loopback() && !behind_proxy && tls_certificate.is_none() {
        let expected = "a loopback address, or tls_certificate and tls_key, or behind_proxy = true";
        return Err(("http.listen", expected.to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_file(text: &str, expected: &str) {
        let error = load(Some(("my.toml", text)), &[]).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[track_caller]
    fn check_env(name: &str, text: &str, expected: &str) {
        let variables = Override::from_env([(name.to_string(), text.to_string())]);
        assert_eq!(load(None, &variables).unwrap_err().to_string(), expected);
    }

    #[test]
    fn accepts_the_defaults() {
        let config = load(None, &[]).unwrap();
        assert_eq!(config.node.name.as_str(), "node-1");
        assert_eq!(config.limits.moves_per_minute.u64(), 20);
        assert_eq!(config.http.tls_key, None);
        assert_eq!(config.galaxy.parameters(), crate::sim::galaxy::Parameters::default());
    }

    #[test]
    fn every_scenario_is_a_legal_file() {
        for entry in std::fs::read_dir("config/scenarios").unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            load(Some((&path.to_string_lossy(), &text)), &[]).unwrap();
        }
    }

    #[test]
    fn later_layers_win() {
        let file = "[http]\nlisten = '127.0.0.1:1'\nworkers = 3\n[node]\nname = 'file'\n";
        let mut over = Override::from_env([
            ("STARMESH_HTTP__LISTEN".to_string(), "127.0.0.1:2".to_string()),
            ("STARMESH_NODE__NAME".to_string(), "variable".to_string()),
            ("STARMESH_LIMITS__EXEMPT".to_string(), "['10.0.0.0/8']".to_string()),
            ("STARMESH_PORT".to_string(), "tcp://10.0.0.7:80".to_string()),
        ]);
        over.push(Override::flag("--http", "http", "listen", "127.0.0.1:3"));
        let config = load(Some(("my.toml", file)), &over).unwrap();
        assert_eq!(config.http.listen.port(), 3);
        assert_eq!(config.http.workers.u64(), 3);
        assert_eq!(config.node.name.as_str(), "variable");
        assert_eq!(config.limits.exempt.len(), 1);
        assert_eq!(config.limits.logins_per_minute.u64(), 10);
    }

    #[test]
    fn names_the_line_of_an_unknown_key() {
        check_file(
            "# mine\n[engine]\narbiters = 2\nthreads = 4\n",
            "my.toml:4: unknown setting engine.threads; \
             expected one of arbiters, hot_threads, loads_at_once, sector_quiet_s",
        );
        check_file(
            "[motor]\nthreads = 4\n",
            "my.toml:2: unknown setting motor; expected one of the sections node, http, store, \
             cluster, galaxy, rules, players, limits, sessions, engine, telemetry",
        );
        check_file("http = 3\n", "my.toml:1: unknown setting http; expected a section, [http]");
    }

    #[test]
    fn names_the_line_of_a_wrong_type() {
        check_file(
            "[http]\n\nworkers = \"two\"\n",
            "my.toml:3: http.workers: found \"two\", expected a whole number",
        );
        check_file(
            "[limits]\nexempt = [\n  \"127.0.0.0/8\",\n  7,\n]\n",
            "my.toml:2: limits.exempt.1: found [\n  \"127.0.0.0/8\",\n  7,\n], expected a string",
        );
    }

    #[test]
    fn names_the_line_of_a_value_out_of_range() {
        check_file(
            "[engine]\narbiters = 0\n",
            "my.toml:2: engine.arbiters: found 0, expected a whole number from 1 to 256",
        );
        check_file(
            "[engine]\narbiters = -1\n",
            "my.toml:2: engine.arbiters: found -1, expected a whole number from 1 to 256",
        );
        check_file(
            "[telemetry]\nlog_format = \"xml\"\n",
            "my.toml:2: telemetry.log_format: found \"xml\", expected one of \"text\", \"json\"",
        );
        check_file(
            "[http]\nlisten = \"localhost\"\n",
            "my.toml:2: http.listen: found \"localhost\", \
             expected an address and port such as 127.0.0.1:7400",
        );
    }

    #[test]
    fn names_the_line_of_what_is_no_toml() {
        let error = load(Some(("my.toml", "[http]\nworkers = = 2\n")), &[]).unwrap_err();
        assert!(error.to_string().starts_with("my.toml:2: "), "{error}");
    }

    #[test]
    fn names_the_variable() {
        check_env(
            "STARMESH_HTTP__WORKERS",
            "many",
            "environment variable STARMESH_HTTP__WORKERS: \
             http.workers: found many, expected a whole number",
        );
        check_env(
            "STARMESH_HTTP__WORKERS",
            "1000",
            "environment variable STARMESH_HTTP__WORKERS: \
             http.workers: found 1000, expected a whole number from 1 to 256",
        );
        check_env(
            "STARMESH_ENGINE__THREADS",
            "1",
            "environment variable STARMESH_ENGINE__THREADS: unknown setting engine.threads; \
             expected one of arbiters, hot_threads, loads_at_once, sector_quiet_s",
        );
        check_env(
            "STARMESH_HTTP__WORKERS",
            "1\nlisten = '0.0.0.0:1'",
            "environment variable STARMESH_HTTP__WORKERS: \
             http.workers: found 1\nlisten = '0.0.0.0:1', expected a whole number",
        );
    }

    #[test]
    fn names_the_flag() {
        let flag = Override::flag("--http", "http", "listen", "here");
        assert_eq!(
            load(None, &[flag]).unwrap_err().to_string(),
            "flag --http: http.listen: found \"here\", \
             expected an address and port such as 127.0.0.1:7400",
        );
    }

    #[test]
    fn off_loopback_needs_a_certificate_or_a_proxy() {
        check_file(
            "[http]\nlisten = \"0.0.0.0:7400\"\n",
            "my.toml:2: http.listen: found \"0.0.0.0:7400\", expected a loopback address, \
             or tls_certificate and tls_key, or behind_proxy = true",
        );
        let proxied = "[http]\nlisten = \"0.0.0.0:7400\"\nbehind_proxy = true\n";
        load(Some(("my.toml", proxied)), &[]).unwrap();
        check_file(
            "[http]\ntls_key = \"key.pem\"\n",
            "my.toml:2: http.tls_key: found \"key.pem\", \
             expected tls_certificate and tls_key, or neither",
        );
    }
}
