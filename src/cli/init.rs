//! `gate init`: a policy to start from, in the working directory.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::Args;

use super::chosen::{OWN_FILE, SHIPPED};
use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::target::{Target, read_app};

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// What is released: deployment/NAME, local/NAME or an app file
    target: Option<Target>,
    /// Replace the policy that is there
    #[arg(long)]
    force: bool,
}

impl InitArgs {
    pub(crate) const fn target(&mut self) -> Option<&mut Target> {
        self.target.as_mut()
    }
}

pub(crate) fn init(printer: &Printer, args: &InitArgs) -> Result<Exit, Error> {
    let next = next(printer, args.target.as_ref())?;
    // The commented canary is the built-in policy: what is written changes nothing until it is edited.
    let (_, text) = SHIPPED[0];
    write(Path::new(OWN_FILE), text, args.force)?;
    printer.answer(&format!("wrote {OWN_FILE}"));
    printer.say(&format!("next: {next}"));
    Ok(Exit::Done)
}

/// Returns the command to type next; an app file is read for it, and must be right.
fn next(printer: &Printer, target: Option<&Target>) -> Result<String, Error> {
    match target {
        None => Ok(format!("gate validate {OWN_FILE}")),
        Some(Target::Deployment { name, .. }) => {
            Ok(format!("gate plan deployment/{name} --release IMAGE"))
        }
        Some(Target::Local(name)) => Ok(format!("gate plan local/{name} --release RELEASE")),
        Some(Target::File(path)) => {
            let app = read_app(printer, path)?;
            if app.policy.is_some() {
                printer.say(&format!(
                    "note: {} has a policy of its own, which goes before {OWN_FILE}",
                    path.display()
                ));
            }
            // The one whose name comes after stable's is probably the newer.
            let newer = app.releases.keys().find(|name| **name > app.stable);
            let other = || app.releases.keys().find(|name| **name != app.stable);
            let release = newer.or_else(other).map_or("RELEASE", String::as_str);
            Ok(format!("gate plan {} --release {release}", path.display()))
        }
    }
}

fn write(path: &Path, text: &str, force: bool) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(force).create(force).create_new(!force);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Error::user(format!("{} is there already", path.display()))
            .hint("`--force` replaces it"),
        _ => Error::user(format!("can't write {}", path.display())).caused_by(error),
    })
}
