//! Which policy: `--policy`, else the target's own, else `.gate.yaml` in the working directory,
//! else the built-in canary. It is read and checked here, before anything is asked.

use std::path::{Path, PathBuf};

use super::error::Error;
use super::output::Printer;
use super::target::read_file;
use crate::host::protocol::PolicyText;
use crate::platform::local::app::{App, PolicySource};
use crate::policy::{self, Policy};

/// Looked for in the working directory.
pub(crate) const OWN_FILE: &str = ".gate.yaml";

/// A plan's `policy_source` where nobody wrote a policy: the host says the same.
pub(crate) const BUILT_IN: &str = "the built-in canary";

/// The policies that gate brings, by name.
pub(crate) const SHIPPED: [(&str, &str); 5] = [
    ("canary", include_str!("../../policies/canary.yaml")),
    ("blue-green", include_str!("../../policies/blue-green.yaml")),
    ("cautious", include_str!("../../policies/cautious.yaml")),
    ("seed", include_str!("../../policies/seed.yaml")),
    ("all-conditions", include_str!("../../policies/all-conditions.yaml")),
];

/// A policy that was read.
#[derive(Clone, Debug)]
pub(crate) struct Chosen {
    /// Where it came from, in words for the user.
    pub(crate) source: String,
    pub(crate) text: String,
    pub(crate) policy: Policy,
}

impl Chosen {
    /// Returns it as the host is given it.
    pub(crate) fn wire(&self) -> PolicyText {
        PolicyText { source: self.source.clone(), text: self.text.clone(), stands_in: false }
    }
}

/// Returns the policy of `--policy FILE|NAME`.
///
/// # Errors
/// It can't be read, or is wrong.
pub(crate) fn named(printer: &Printer, written: Option<&str>) -> Result<Option<Chosen>, Error> {
    written.map(|written| of(printer, written)).transpose()
}

/// Returns the policy that a file or a shipped name stands for.
///
/// # Errors
/// It can't be read, or is wrong.
pub(crate) fn of(printer: &Printer, written: &str) -> Result<Chosen, Error> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == written) {
        let source = format!("{name} (shipped with gate)");
        return read(printer, Path::new(name), text.as_bytes(), source);
    }
    let path = Path::new(written);
    if !path.exists() && !written.contains(['/', '.']) {
        let names: Vec<&str> = SHIPPED.iter().map(|(name, _)| *name).collect();
        return Err(Error::user(format!("`{written}` is neither a file nor a shipped policy"))
            .hint(policy::diagnostic::did_you_mean(written, &names)));
    }
    from_file(printer, path)
}

/// Returns the policy that a peer is given: `--policy`, else the working directory's, which stands in
/// where the target has none of its own.
///
/// # Errors
/// It can't be read, or is wrong.
pub(crate) fn for_peer(
    printer: &Printer,
    named: Option<&Chosen>,
) -> Result<Option<PolicyText>, Error> {
    if let Some(named) = named {
        return Ok(Some(named.wire()));
    }
    let own = of_working_directory(printer)?;
    Ok(own.map(|own| PolicyText { stands_in: true, ..own.wire() }))
}

/// Returns the policy of the working directory, if there is one.
///
/// # Errors
/// It can't be read, or is wrong.
pub(crate) fn of_working_directory(printer: &Printer) -> Result<Option<Chosen>, Error> {
    let path = PathBuf::from(OWN_FILE);
    if path.exists() { from_file(printer, &path).map(Some) } else { Ok(None) }
}

/// Returns the policy that an app file names or has, and its source in the host's words: a plan's
/// hash is of them as well.
///
/// # Errors
/// The file that it names can't be read, or is wrong.
pub(crate) fn of_app(printer: &Printer, app: &App) -> Result<Option<(String, Policy)>, Error> {
    match &app.policy {
        None => Ok(None),
        Some(PolicySource::Inline(policy)) => {
            Ok(Some((format!("the app file of {}", app.name), (**policy).clone())))
        }
        Some(PolicySource::File(path)) => {
            let chosen = from_file(printer, path)?;
            Ok(Some((chosen.source, chosen.policy)))
        }
    }
}

/// Returns the built-in policy and what it is called.
pub(crate) fn built_in() -> (String, Policy) {
    (BUILT_IN.to_owned(), policy::built_in())
}

fn from_file(printer: &Printer, path: &Path) -> Result<Chosen, Error> {
    let bytes = read_file(path)?;
    read(printer, path, &bytes, path.display().to_string())
}

fn read(printer: &Printer, path: &Path, bytes: &[u8], source: String) -> Result<Chosen, Error> {
    let checked = policy::read(path, bytes)?;
    if !checked.warnings.is_empty() {
        printer.say(&checked.warnings.coloured());
    }
    let text = String::from_utf8_lossy(bytes).into_owned();
    Ok(Chosen { source, text, policy: checked.value })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::SHIPPED;

    #[test]
    fn every_shipped_policy_is_valid() {
        for (name, text) in SHIPPED {
            let read = crate::policy::read(Path::new(name), text.as_bytes());
            assert!(read.is_ok(), "{name}: {}", read.unwrap_err());
        }
    }
}
