//! `starmesh cert`: certificates for people who bring their own authority. A
//! cluster that makes its own, with join lines, needs none of it. Works on
//! files only; no node has to run.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::Context;

use super::print;
use crate::base::NodeId;
use crate::cluster::certificates::authority::CERTIFICATE_FILE as AUTHORITY_FILE;
use crate::cluster::certificates::files::{self, Readers};
use crate::cluster::certificates::identity::{self, CERTIFICATE_FILE, NodeKey};
use crate::cluster::certificates::{Authority, Facts, Identity, Name, Request, Subject, Validity};

/// Make and look at the certificates of a cluster's nodes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make an authority: ca.pem, and ca.key, which signs and is to be kept safe.
    Init {
        /// The cluster's name.
        #[arg(long)]
        cluster: Name,
        /// The folder for its files; none is overwritten.
        #[arg(long, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// How long it is valid.
        #[arg(long, default_value_t = 20 * 365, value_parser = days())]
        days: u32,
    },
    /// Make or renew a node's certificate: node.pem, node.key and ca.pem. A key
    /// that is there is kept, and so are other authorities in ca.pem.
    Issue {
        /// The folder with the authority's ca.pem and ca.key.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// The cluster's name.
        #[arg(long)]
        cluster: Name,
        /// The node's number, which no other node of the cluster has or had.
        #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
        node: u32,
        /// The node's name.
        #[arg(long)]
        name: Name,
        /// The folder for its files, cluster/ in the node's data.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// How long it is valid.
        #[arg(long, default_value_t = 10 * 365, value_parser = days())]
        days: u32,
    },
    /// Print what the certificates of a file say.
    Show {
        /// A file in PEM form.
        file: PathBuf,
        /// Print a JSON array instead of text.
        #[arg(long)]
        json: bool,
    },
}

fn days() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=36_500)
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let now = SystemTime::now();
    match args.what {
        What::Init { cluster, out, days } => init(&cluster, &out, Validity::days(now, days)),
        What::Issue { ca, cluster, node, name, out, days } => {
            let subject = Subject { cluster, node: NodeId(node), name };
            issue(&ca, &subject, &out, Validity::days(now, days))
        }
        What::Show { file, json } => show(&file, json, now),
    }
}

fn init(cluster: &Name, out: &Path, validity: Validity) -> anyhow::Result<()> {
    make_folder(out)?;
    let authority = Authority::new(cluster, validity)?;
    authority.save(out)?;
    print(&Facts::of(authority.certificate())?.text())
}

fn issue(ca: &Path, subject: &Subject, out: &Path, validity: Validity) -> anyhow::Result<()> {
    let authority = Authority::load(ca).context("reading the authority")?;
    make_folder(out)?;
    let key = NodeKey::open(out)?;
    let request = Request::from_der(&key.request()?)?;
    let certificate = authority.sign(&request, subject, validity)?;
    // Those that were added by hand, to change the authority, are kept.
    let files = [out.join(AUTHORITY_FILE), ca.join(AUTHORITY_FILE)];
    let authorities = authority.with_others(&[&files[0], &files[1]])?;
    let identity = Identity::new(vec![certificate], &key.pem(), authorities)?;
    identity.save(out)?;
    print(&Facts::of(identity.certificate())?.text())?;
    print(&format!(
        "\n{} and {} are written to {}\n",
        CERTIFICATE_FILE,
        AUTHORITY_FILE,
        out.display()
    ))
}

fn show(file: &Path, json: bool, now: SystemTime) -> anyhow::Result<()> {
    let text = files::read(file, Readers::Everybody)?;
    let certificates = identity::certificates_of(&text)?;
    let facts: Result<Vec<Facts>, _> = certificates.iter().map(Facts::of).collect();
    let facts = facts?;
    if json {
        let text = serde_json::to_string(&facts).context("writing JSON")?;
        return print(&format!("{text}\n"));
    }
    let now = now.duration_since(SystemTime::UNIX_EPOCH).context("the clock is before 1970")?;
    let now = i64::try_from(now.as_secs())?;
    for (n, facts) in facts.iter().enumerate() {
        let blank = if n == 0 { "" } else { "\n" };
        let invalid = if facts.is_valid_at(now) { "" } else { "NOT VALID at this time\n" };
        print(&format!("{blank}{}{invalid}", facts.text()))?;
    }
    Ok(())
}

fn make_folder(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_and_two_nodes_can_be_made_and_renewed() {
        let folder = tempfile::tempdir().unwrap();
        let [ca, one] = ["ca", "one"].map(|name| folder.path().join(name));
        let cluster: Name = "demo".parse().unwrap();
        let validity = Validity::days(SystemTime::now(), 30);
        init(&cluster, &ca, validity).unwrap();
        assert!(init(&cluster, &ca, validity).is_err());
        let subject = Subject { cluster, node: NodeId(1), name: "a".parse().unwrap() };
        issue(&ca, &subject, &one, validity).unwrap();
        let first = Identity::load(&one).unwrap();
        issue(&ca, &subject, &one, Validity::days(SystemTime::now(), 60)).unwrap();
        let renewed = Identity::load(&one).unwrap();
        assert_eq!(renewed.subject(), &subject);
        assert_ne!(renewed.certificate(), first.certificate());
        assert_eq!(renewed.key().secret_der(), first.key().secret_der());
        show(&one.join(CERTIFICATE_FILE), true, SystemTime::now()).unwrap();
    }

    #[test]
    fn authorities_that_a_node_believes_besides_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [old, new, one] = ["old", "new", "one"].map(|name| folder.path().join(name));
        let cluster: Name = "demo".parse().unwrap();
        let validity = Validity::days(SystemTime::now(), 30);
        init(&cluster, &old, validity).unwrap();
        init(&cluster, &new, validity).unwrap();
        let subject = Subject { cluster, node: NodeId(1), name: "a".parse().unwrap() };
        issue(&old, &subject, &one, validity).unwrap();
        let [old_one, new_one] =
            [&old, &new].map(|ca| Authority::load(ca).unwrap().certificate().clone());
        // While the authority changes both are believed, the one that signed first.
        issue(&new, &subject, &one, validity).unwrap();
        let authorities = Identity::load(&one).unwrap().authorities().to_vec();
        assert_eq!(authorities, [new_one.clone(), old_one.clone()]);
        issue(&old, &subject, &one, validity).unwrap();
        assert_eq!(Identity::load(&one).unwrap().authorities(), [old_one, new_one]);
    }
}
