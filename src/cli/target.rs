//! What is released: `deployment/NAME`, `local/NAME`, or the path of an app file.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::error::Error;
use super::output::Printer;
use super::peer::Peer;
use crate::cluster::Cluster;
use crate::host::client::ClientError;
use crate::host::paths::Paths;
use crate::host::protocol::{Answer, Request};
use crate::platform::kubernetes::Where;
use crate::platform::local::app::{self, App};
use crate::policy::FILE_BYTES_MAX;
use crate::published::StatusLine;

/// The longest DNS label.
const NAME_BYTES_MAX: usize = 63;
/// The longest DNS subdomain.
const OBJECT_NAME_BYTES_MAX: usize = 253;

/// A target as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The app that a running `gate serve` has.
    Local(String),
    /// An app file.
    File(PathBuf),
    /// A Deployment, and the cluster that it is in.
    Deployment { name: String, place: Where },
}

/// A target as it is found.
#[derive(Debug)]
pub(crate) enum Found {
    /// Somebody takes requests for it.
    Served { peer: Peer },
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
            Some(("deployment" | "deploy" | "deployments", name)) if is_object_name(name) => {
                Ok(Self::Deployment { name: name.to_owned(), place: Where::default() })
            }
            Some(("deployment" | "deploy" | "deployments", name)) => {
                Err(format!("`{name}` is not the name of a Deployment"))
            }
            Some(_) if Path::new(written).is_file() => as_file(),
            Some(_) | None => {
                Err("a target is `deployment/NAME`, `local/NAME` or the path of an app file".into())
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(name) => write!(f, "local/{name}"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Deployment { name, .. } => write!(f, "deployment/{name}"),
        }
    }
}

/// Returns whether it is a DNS subdomain, as Kubernetes wants a Deployment's name.
fn is_object_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    (1..=OBJECT_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(plain)
}

impl Target {
    /// Says in which cluster a Deployment is.
    ///
    /// # Errors
    /// A local target is in none.
    pub(crate) fn put(&mut self, given: &Where) -> Result<(), Error> {
        match self {
            Self::Deployment { place, .. } => place.clone_from(given),
            Self::Local(_) | Self::File(_) if *given == Where::default() => {}
            Self::Local(_) | Self::File(_) => {
                return Err(Error::user(format!("{self} is in no cluster"))
                    .hint("-n/--namespace, --context and --kubeconfig are of `deployment/NAME`"));
            }
        }
        Ok(())
    }

    /// Returns the cluster that has it; `None`: it is a local one.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        match self {
            Self::Deployment { name, place } => {
                let journals = paths().ok().map(|paths| paths.deployment(name));
                Some(Cluster::new(place.clone(), name.clone()).copying(journals))
            }
            Self::Local(_) | Self::File(_) => None,
        }
    }

    /// Looks who serves it. A cluster is not asked.
    ///
    /// # Errors
    /// The app file is wrong, or the host of `local/NAME` does not answer.
    pub(crate) async fn find(&self, printer: &Printer) -> Result<Found, Error> {
        if let Some(cluster) = self.cluster() {
            return Ok(Found::Served { peer: Peer::Cluster(cluster) });
        }
        let paths = paths()?;
        match self {
            Self::Deployment { .. } => unreachable!("it has a cluster"),
            Self::Local(name) => {
                let peer = Peer::Host { socket: paths.socket(name), app: name.clone() };
                match peer.ask(&Request::Status).await {
                    Ok(answer) => served(peer, answer),
                    Err(error) => Err(peer.unreachable(error)),
                }
            }
            Self::File(path) => {
                let app = read_app(printer, path)?;
                let peer = Peer::Host { socket: paths.socket(&app.name), app: app.name.clone() };
                match peer.ask(&Request::Status).await {
                    Ok(answer) => {
                        printer.say(&format!("a host serves {} already: asking it", app.name));
                        served(peer, answer)
                    }
                    Err(ClientError::NobodyThere { .. }) => {
                        Ok(Found::File { app: Box::new(app), path: path.clone() })
                    }
                    Err(error) => Err(peer.unreachable(error)),
                }
            }
        }
    }

    /// Returns who takes requests for it.
    ///
    /// # Errors
    /// Nobody serves it.
    pub(crate) async fn peer(&self, printer: &Printer) -> Result<Peer, Error> {
        match self.find(printer).await? {
            Found::Served { peer } => Ok(peer),
            Found::File { app, path } => {
                Err(Error::new(super::Exit::Unreachable, format!("no gate serves {}", app.name))
                    .hint(format!("start it with `gate serve {}`", path.display())))
            }
        }
    }

    /// Returns who takes requests for it, and where it stands.
    ///
    /// # Errors
    /// Nobody serves it.
    pub(crate) async fn served(&self, printer: &Printer) -> Result<(Peer, StatusLine), Error> {
        let peer = self.peer(printer).await?;
        match peer.ask(&Request::Status).await {
            Ok(Answer::Status { line }) => Ok((peer, *line)),
            Ok(answer) => Err(super::follow::unexpected(answer)),
            Err(error) => Err(peer.unreachable(error)),
        }
    }

    /// Returns where the journals of its promotions are, without asking anybody.
    ///
    /// # Errors
    /// The app file is wrong.
    pub(crate) fn journals(&self, printer: &Printer, paths: &Paths) -> Result<PathBuf, Error> {
        Ok(match self {
            Self::Local(name) => paths.history(name),
            Self::File(path) => paths.history(&read_app(printer, path)?.name),
            Self::Deployment { name, .. } => paths.deployment(name),
        })
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

/// Returns a peer that has answered as one does that may be asked.
fn served(peer: Peer, answer: Answer) -> Result<Found, Error> {
    match answer {
        Answer::Status { .. } => Ok(Found::Served { peer }),
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
    placed(checked.value, path)
}

/// The same, where what is odd about it has been said.
pub(crate) fn read_app_again(path: &Path) -> Result<App, Error> {
    placed(app::read(path, &read_file(path)?)?.value, path)
}

fn placed(mut app: App, path: &Path) -> Result<App, Error> {
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
    use super::{Target, Where};

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
        let name = "web".to_owned();
        check("deployment/web", Ok(Target::Deployment { name, place: Where::default() }));
        check("deployment/Web", Err("not the name of a Deployment"));
        check("checkout", Err("a target is"));
        check("no/such/file", Err("a target is"));
    }
}
