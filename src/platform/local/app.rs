//! The app file: what runs on this host, where users reach it, and how its releases are started.
//!
//! Read like a policy: every mistake at once, with its place. Nothing is looked up here; whether
//! a program or a policy file exists is for who starts it to find out. Relative paths count from
//! the file.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::evidence::probe::Probes;
use crate::policy::diagnostic::{Checked, Notes, Report, did_you_mean};
use crate::policy::document::{self, Content, Entry};
use crate::policy::fields::Fields;
use crate::policy::{self, Policy};

mod check;
mod probes;
pub mod shape;
#[cfg(test)]
mod tests;

/// A checked app file.
#[derive(Clone, Debug, PartialEq)]
pub struct App {
    /// A DNS label.
    pub name: String,
    /// Where the users are.
    pub listen: SocketAddr,
    /// Where `/metrics` and `/healthz` are.
    pub admin: SocketAddr,
    /// The release that a fresh host starts from; one of `releases`.
    pub stable: String,
    pub probes: Probes,
    /// Absent: as `gate promote` chooses without one.
    pub policy: Option<PolicySource>,
    pub releases: BTreeMap<String, ReleaseSpec>,
    pub sticky: Option<Sticky>,
    /// The folder of the file, from which its relative paths count.
    pub folder: PathBuf,
}

#[derive(Clone, Debug, PartialEq)]
pub enum PolicySource {
    /// A file, resolved against the folder of the app file.
    File(PathBuf),
    Inline(Box<Policy>),
}

/// By what a user's requests stay with one revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sticky {
    Cookie(String),
    Header(String),
}

/// How a release is started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseSpec {
    /// Program and arguments, never empty; `{gate}` and `{port}` are still in it.
    pub command: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// As written; see [`App::cwd`].
    pub cwd: Option<PathBuf>,
    pub port: PortRule,
    pub irreversible: bool,
    /// Absent: the policy's.
    pub drain: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PortRule {
    /// A free port for every start.
    Auto,
    Fixed(u16),
}

impl App {
    /// Returns its probes, or those that its own policy's `health_check` means.
    #[must_use]
    pub fn all_probes(&self) -> Probes {
        match self.own_policy().and_then(|policy| policy.health_check.as_ref()) {
            Some(check) if self.probes == Probes::default() => Probes::from_health_check(check),
            Some(_) | None => self.probes.clone(),
        }
    }

    /// Returns a bound at each limit that its own policy has.
    #[must_use]
    pub fn bounds_ms(&self) -> Vec<f64> {
        crate::plan::bounds_ms(self.own_policy().map_or(&[], |policy| &policy.conditions))
    }

    /// Returns the policy that is written in the app file itself.
    const fn own_policy(&self) -> Option<&Policy> {
        match &self.policy {
            Some(PolicySource::Inline(policy)) => Some(policy),
            Some(PolicySource::File(_)) | None => None,
        }
    }

    /// Returns the folder that a release runs in.
    #[must_use]
    pub fn cwd(&self, release: &ReleaseSpec) -> PathBuf {
        release.cwd.as_ref().map_or_else(|| self.folder.clone(), |cwd| self.folder.join(cwd))
    }
}

impl ReleaseSpec {
    /// Returns what tells this release from others: the SHA-256, in hex, of everything that makes
    /// the process what it is (command, environment, folder, port rule). Every part goes in with
    /// its length, so that no two releases run together into the same bytes.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hash = Sha256::new();
        let mut feed = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        };
        feed("gate.release/v1");
        feed(&self.command.len().to_string());
        self.command.iter().for_each(|word| feed(word));
        feed(&self.env.len().to_string());
        self.env.iter().for_each(|(name, value)| {
            feed(name);
            feed(value);
        });
        feed(self.cwd.as_deref().and_then(Path::to_str).unwrap_or_default());
        feed(&match self.port {
            PortRule::Auto => "auto".to_owned(),
            PortRule::Fixed(port) => port.to_string(),
        });
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Reads an app file.
///
/// # Errors
/// Every mistake of the file, of shape and of meaning.
pub fn read(path: &Path, bytes: &[u8]) -> Result<Checked<App>, Report> {
    let mut notes = Notes::default();
    let app = document::read(&mut notes, bytes).and_then(|root| {
        let fields = Fields::open(&mut notes, &root, &shape::APP)?;
        // A bare file name has the parent "", in which no process can be started.
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        app(&mut notes, &fields, folder.unwrap_or(Path::new(".")))
    });
    Report::new(path, bytes, notes).conclude(app)
}

/// Returns whether a file is meant as an app file, so that `validate` can tell it from a policy.
#[must_use]
pub fn is_app_file(bytes: &[u8]) -> bool {
    let root = document::read(&mut Notes::default(), bytes);
    let Some(Content::Table(entries)) = root.map(|root| root.content) else { return false };
    entries.iter().any(|entry| matches!(entry.key.as_str(), "app" | "releases" | "listen"))
}

/// Returns the JSON Schema of an app file.
#[must_use]
pub fn schema() -> serde_json::Value {
    policy::schema::of("gate app file", &shape::APP)
}

fn app(notes: &mut Notes, fields: &Fields<'_>, folder: &Path) -> Option<App> {
    let name = fields.text(notes, "app");
    let listen = fields.address(notes, "listen");
    let admin = fields.address(notes, "admin");
    let stable = fields.text(notes, "stable");
    let policy = policy_source(notes, fields, folder);
    let probes = probes::read(notes, fields);
    let sticky = sticky(notes, fields);
    let releases = releases(notes, fields);
    check::check(notes, fields, &releases);
    Some(App {
        name: name?.to_owned(),
        listen: listen?,
        admin: admin?,
        stable: stable?.to_owned(),
        probes,
        policy,
        releases,
        sticky,
        folder: folder.to_owned(),
    })
}

fn policy_source(notes: &mut Notes, fields: &Fields<'_>, folder: &Path) -> Option<PolicySource> {
    let file = fields.text(notes, "policy").map(|file| PolicySource::File(folder.join(file)));
    let inline = fields.get("deployment").and_then(|_| policy::deployment(notes, fields));
    if let (Some(_), Some(at)) = (&file, fields.place_of_key("deployment")) {
        notes
            .error(at, "there is a `policy` already")
            .help("keep one of `policy` and `deployment`");
    }
    inline.map(|policy| PolicySource::Inline(Box::new(policy))).or(file)
}

fn sticky(notes: &mut Notes, fields: &Fields<'_>) -> Option<Sticky> {
    let table = fields.table(notes, "sticky")?;
    let cookie = table.text(notes, "cookie");
    let header = table.text(notes, "header");
    for (name, value) in [("cookie", cookie), ("header", header)] {
        if let (Some(value), Some(at)) = (value, table.place(name)) {
            check::token(notes, value, &at);
        }
    }
    match (cookie, header) {
        (Some(cookie), None) => Some(Sticky::Cookie(cookie.to_owned())),
        (None, Some(header)) => Some(Sticky::Header(header.to_owned())),
        (Some(_), Some(_)) | (None, None) => {
            notes
                .error(fields.place_of_key("sticky")?, "`sticky` goes by one cookie or one header")
                .help("write `sticky: { cookie: NAME }` or `sticky: { header: NAME }`");
            None
        }
    }
}

fn releases(notes: &mut Notes, fields: &Fields<'_>) -> BTreeMap<String, ReleaseSpec> {
    let tables = fields.named_tables(notes, "releases");
    let read = tables.into_iter().filter_map(|(entry, table)| {
        check::release_name(notes, entry);
        Some((entry.key.clone(), release(notes, &table)?))
    });
    read.collect()
}

fn release(notes: &mut Notes, table: &Fields<'_>) -> Option<ReleaseSpec> {
    let command = check::command(notes, table);
    let env = env(notes, table);
    let cwd = table.text(notes, "cwd").map(PathBuf::from);
    let port = port(notes, table);
    let irreversible = table.flag(notes, "irreversible").unwrap_or(false);
    let drain = table.duration(notes, "drain");
    Some(ReleaseSpec { command: command?, env, cwd, port, irreversible, drain })
}

fn env(notes: &mut Notes, table: &Fields<'_>) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (Entry { key, key_at, value }, text) in table.named(notes, "env") {
        if key.is_empty() || key.contains(['=', '\0']) {
            notes.error(key_at.clone(), format!("`{key}` can't be the name of a variable"));
        }
        check::no_nul(notes, &[text.to_owned()], &value.at);
        env.insert(key.clone(), text.to_owned());
    }
    env
}

fn port(notes: &mut Notes, table: &Fields<'_>) -> PortRule {
    let Some(node) = table.get("port") else { return PortRule::Auto };
    let written = table.text(notes, "port").unwrap_or("auto");
    match written.parse::<u16>() {
        _ if written == "auto" => PortRule::Auto,
        Ok(port) if port > 0 => PortRule::Fixed(port),
        Ok(_) | Err(_) => {
            notes
                .error(node.at.clone(), format!("expected `auto` or a port, found `{written}`"))
                .help(did_you_mean(written, &["auto", "a number from 1 to 65535"]));
            PortRule::Auto
        }
    }
}
