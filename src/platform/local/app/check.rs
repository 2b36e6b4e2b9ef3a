//! What an app file means, beyond its shape.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;

use super::{PortRule, ReleaseSpec};
use crate::policy::diagnostic::{Notes, did_you_mean};
use crate::policy::document::Entry;
use crate::policy::fields::Fields;

/// The longest name of an app or a release, in bytes: a DNS label's (RFC 1035).
const NAME_BYTES_MAX: usize = 63;

/// Releases of an app file.
const RELEASES_MAX: usize = 100;

pub(super) fn check(
    notes: &mut Notes,
    fields: &Fields<'_>,
    releases: &BTreeMap<String, ReleaseSpec>,
) {
    app_name(notes, fields);
    stable(notes, fields, releases);
    how_many(notes, fields, releases);
    addresses(notes, fields);
    ports(notes, fields, releases);
}

fn app_name(notes: &mut Notes, fields: &Fields<'_>) {
    let (Some(name), Some(at)) = (text(fields, "app"), fields.place("app")) else { return };
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let label = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(inner)
        && !name.starts_with('-')
        && !name.ends_with('-');
    if !label {
        notes
            .error(at, format!("`{name}` can't be the name of an app"))
            .help("use small letters, digits and `-` between them, at most 63");
    }
}

/// Notes a release whose name could not be part of a file name or a log line.
pub(super) fn release_name(notes: &mut Notes, entry: &Entry) {
    let name = &entry.key;
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    if !begins || name.len() > NAME_BYTES_MAX || !name.bytes().all(inner) {
        notes
            .error(entry.key_at.clone(), format!("`{name}` can't be the name of a release"))
            .help("use letters, digits, `-`, `_` and `.`, at most 63, the first a letter or digit");
    }
}

fn stable(notes: &mut Notes, fields: &Fields<'_>, releases: &BTreeMap<String, ReleaseSpec>) {
    let (Some(stable), Some(at)) = (text(fields, "stable"), fields.place("stable")) else { return };
    if fields.get("releases").is_some() && !releases.contains_key(stable) {
        let known: Vec<&str> = releases.keys().map(String::as_str).collect();
        notes
            .error(at, format!("there is no release `{stable}`"))
            .help(did_you_mean(stable, &known));
    }
}

fn how_many(notes: &mut Notes, fields: &Fields<'_>, releases: &BTreeMap<String, ReleaseSpec>) {
    let Some(at) = fields.place_of_key("releases") else { return };
    if releases.is_empty() {
        notes.error(at, "there is no release that could run");
    } else if releases.len() > RELEASES_MAX {
        notes.error(at, format!("there are {} releases, at most {RELEASES_MAX}", releases.len()));
    }
}

fn addresses(notes: &mut Notes, fields: &Fields<'_>) {
    let address = |name| text(fields, name).and_then(|text| text.parse::<SocketAddr>().ok());
    let (Some(admin), Some(at)) = (address("admin"), fields.place("admin")) else { return };
    if admin.ip().is_unspecified() {
        notes
            .warning(at.clone(), "everybody who reaches this host reaches the admin address")
            .help(format!("write `127.0.0.1:{}` unless something else guards it", admin.port()));
    }
    if let Some(listen) = address("listen") {
        let one_covers_other = listen.ip() == admin.ip()
            || (listen.is_ipv4() == admin.is_ipv4()
                && (listen.ip().is_unspecified() || admin.ip().is_unspecified()));
        if listen.port() == admin.port() && listen.port() != 0 && one_covers_other {
            notes.error(at, "`admin` and `listen` can't be the same address");
        }
    }
}

/// Two revisions run at once, so a port that is fixed can belong to one release only.
fn ports(notes: &mut Notes, fields: &Fields<'_>, releases: &BTreeMap<String, ReleaseSpec>) {
    let mut taken: BTreeMap<u16, &str> = BTreeMap::new();
    for name in ["listen", "admin"] {
        let address = text(fields, name).and_then(|text| text.parse::<SocketAddr>().ok());
        taken.extend(address.map(|address| (address.port(), name)));
    }
    for (name, release) in releases {
        let PortRule::Fixed(port) = release.port else { continue };
        if let Some(owner) = taken.insert(port, name) {
            let at = fields.place_in("releases", name, "port");
            notes
                .error(at, format!("the port {port} belongs to `{owner}` already"))
                .help("two revisions run at once; `port: auto` gives each its own");
        }
    }
}

/// Notes what can't be the name of a header or a cookie: no token of RFC 9110.
pub(super) fn token(notes: &mut Notes, name: &str, at: &Range<usize>) {
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        notes.error(at.clone(), format!("`{name}` can't be the name of a header or a cookie"));
    }
}

/// Notes words that no process can be given.
pub(super) fn no_nul(notes: &mut Notes, words: &[String], at: &Range<usize>) {
    if words.iter().any(|word| word.contains('\0')) {
        notes.error(at.clone(), "a process can't be given the character NUL");
    }
}

/// Returns a text that was already noted if it is none.
fn text<'n>(fields: &Fields<'n>, name: &str) -> Option<&'n str> {
    fields.text(&mut Notes::default(), name)
}
