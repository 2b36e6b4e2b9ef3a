//! What is released: `local/NAME`, or the path of an app file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::Error;
use super::output::Printer;
use crate::host::client::{self, ClientError};
use crate::host::paths::Paths;
use crate::host::protocol::{Answer, Request};
use crate::platform::local::app::{self, App};
use crate::policy::FILE_BYTES_MAX;
use crate::published::StatusLine;

/// The longest DNS label.
const NAME_BYTES_MAX: usize = 63;

/// A target as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The app that a running `gate serve` has.
    Local(String),
    /// An app file.
    File(PathBuf),
}

/// A target as it is found.
#[derive(Debug)]
pub(crate) enum Found {
    /// A host serves it, and answered.
    Served { socket: PathBuf, app: String, status: Box<StatusLine> },
    /// Nobody serves it yet; here is how.
    File { app: Box<App>, path: PathBuf },
}

impl FromStr for Target {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        let as_file = || Ok(Self::File(PathBuf::from(written)));
        if written.ends_with(".yaml") || written.ends_with(".yml") {
            return as_file();
        }
        match written.split_once('/') {
            Some(("local", name)) if is_name(name) => Ok(Self::Local(name.to_owned())),
            Some(("local", name)) => Err(format!(
                "`{name}` is not the name of an app: lower-case letters, digits and `-`"
            )),
            Some(("deployment" | "deploy", _)) => {
                Err("this gate has no Kubernetes platform yet: name `local/NAME` or an app file"
                    .into())
            }
            Some(_) if Path::new(written).is_file() => as_file(),
            Some(_) | None => Err("a target is `local/NAME` or the path of an app file".into()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(name) => write!(f, "local/{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl Target {
    /// Looks who serves it.
    ///
    /// # Errors
    /// The app file is wrong, or the host of `local/NAME` does not answer.
    pub(crate) async fn find(&self, printer: &Printer) -> Result<Found, Error> {
        let paths = paths()?;
        match self {
            Self::Local(name) => {
                let socket = paths.socket(name);
                match client::ask(&socket, &Request::Status).await {
                    Ok(answer) => {
                        let status = status(answer)?;
                        Ok(Found::Served { socket, app: name.clone(), status })
                    }
                    Err(error) => Err(Error::unreachable(name, error)),
                }
            }
            Self::File(path) => {
                let app = read_app(printer, path)?;
                let socket = paths.socket(&app.name);
                match client::ask(&socket, &Request::Status).await {
                    Ok(answer) => {
                        let status = status(answer)?;
                        printer.say(&format!("a host serves {} already: asking it", app.name));
                        Ok(Found::Served { socket, app: app.name, status })
                    }
                    Err(ClientError::NobodyThere { .. }) => {
                        Ok(Found::File { app: Box::new(app), path: path.clone() })
                    }
                    Err(error) => Err(Error::unreachable(&app.name, error)),
                }
            }
        }
    }

    /// Returns the socket of the host that serves it, and the app's name.
    ///
    /// # Errors
    /// Nobody serves it.
    pub(crate) async fn served(
        &self,
        printer: &Printer,
    ) -> Result<(PathBuf, String, StatusLine), Error> {
        match self.find(printer).await? {
            Found::Served { socket, app, status } => Ok((socket, app, *status)),
            Found::File { app, path } => {
                Err(Error::new(super::Exit::Unreachable, format!("no gate serves {}", app.name))
                    .hint(format!("start it with `gate serve {}`", path.display())))
            }
        }
    }

    /// Returns the app's name without asking anybody.
    ///
    /// # Errors
    /// The app file is wrong.
    pub(crate) fn app_name(&self, printer: &Printer) -> Result<String, Error> {
        match self {
            Self::Local(name) => Ok(name.clone()),
            Self::File(path) => Ok(read_app(printer, path)?.name),
        }
    }
}

pub(crate) fn paths() -> Result<Paths, Error> {
    Paths::from_env().map_err(|error| Error::user(error.to_string()))
}

/// Returns the only app that has state here, for commands that name none.
///
/// # Errors
/// There is none, or more than one.
pub(crate) fn only_one(paths: &Paths) -> Result<Target, Error> {
    let apps = known(paths);
    match apps.as_slice() {
        [app] => Ok(Target::Local(app.clone())),
        [] => Err(Error::user("no app is known here").hint("name a target: `local/NAME`")),
        apps => Err(Error::user("more than one app is known here")
            .hint(format!("name one of: local/{}", apps.join(", local/")))),
    }
}

/// Returns the apps that have state here, by name.
fn known(paths: &Paths) -> Vec<String> {
    let folder = paths.app("");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
    names.sort();
    names
}

fn status(answer: Answer) -> Result<Box<StatusLine>, Error> {
    match answer {
        Answer::Status { line } => Ok(line),
        answer => Err(super::follow::unexpected(answer)),
    }
}

/// Reads an app file and says what is odd about it.
///
/// Its folder is made absolute: a host may be started again from another working directory.
pub(crate) fn read_app(printer: &Printer, path: &Path) -> Result<App, Error> {
    let checked = app::read(path, &read_file(path)?)?;
    if !checked.warnings.is_empty() {
        printer.say(&checked.warnings.coloured());
    }
    let mut app = checked.value;
    // `app.yaml` has the parent "", which is no path.
    app.folder = std::path::absolute(Path::new(".").join(&app.folder)).map_err(|error| {
        Error::user(format!("can't tell the folder of {}", path.display())).caused_by(error)
    })?;
    Ok(app)
}

/// Reads a file that a user wrote; a little more than is allowed, so that the reader can say that.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, Error> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| {
        Error::user(format!("can't read {}", path.display())).caused_by(error)
    };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::Target;

    #[track_caller]
    fn check(written: &str, expected: Result<Target, &str>) {
        match (written.parse::<Target>(), expected) {
            (Ok(seen), Ok(expected)) => assert_eq!(seen, expected),
            (Err(seen), Err(part)) => assert!(seen.contains(part), "{seen:?} has no {part:?}"),
            (seen, expected) => panic!("{seen:?} is not {expected:?}"),
        }
    }

    #[test]
    fn is_a_local_app_or_a_file() {
        check("local/checkout", Ok(Target::Local("checkout".into())));
        check("app.yaml", Ok(Target::File("app.yaml".into())));
        check("local/app.yml", Ok(Target::File("local/app.yml".into())));
        check("local/", Err("not the name of an app"));
        check("local/../etc", Err("not the name of an app"));
        check("local/A", Err("not the name of an app"));
        check("deployment/web", Err("no Kubernetes platform yet"));
        check("checkout", Err("a target is"));
        check("no/such/file", Err("a target is"));
    }
}
