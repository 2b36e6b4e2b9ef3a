//! What a host can't do, in words for the user.

use std::path::Path;

use crate::durable::LockError;
use crate::platform::local::LocalError;
use crate::platform::local::app::App;
use crate::platform::local::scraped::NotScraped;
use crate::policy::Policy;

/// What a host can't do, in words for the user, and the exit code that it means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct HostError {
    pub exit_code: u8,
    pub message: String,
    pub hint: Option<String>,
}

impl HostError {
    /// Refuses a policy that tells testers by a header: on one host nothing does.
    ///
    /// # Errors
    /// It does.
    pub fn unless_without_testers(policy: &Policy) -> Result<(), Self> {
        if policy.traffic.testers.is_none() {
            return Ok(());
        }
        Err(Self {
            exit_code: 2,
            message: "on one host gate can't tell testers by a header".into(),
            hint: Some(
                "leave `traffic.testers` out of the policy: it is for a Deployment behind a Gateway".into(),
            ),
        })
    }

    /// A host listens to the user who runs it, and to root.
    #[must_use]
    pub fn of_another(app: &str, owner: Option<u32>) -> Self {
        let whose = owner.map_or_else(|| "another user".into(), |uid| format!("user {uid}"));
        let sudo = owner.map_or_else(|| "sudo".into(), |uid| format!("sudo -u '#{uid}'"));
        Self {
            exit_code: 7,
            message: format!("the host of {app} is {whose}'s: only that user and root may ask it"),
            hint: Some(format!("ask it as that user, such as `{sudo} gate status local/{app}`")),
        }
    }
}

pub(super) fn cannot_make(path: &Path, error: &std::io::Error) -> HostError {
    HostError {
        exit_code: 6,
        message: format!("can't make {}: {error}", path.display()),
        hint: Some("gate keeps its state there; GATE_STATE_DIR names another folder".into()),
    }
}

pub(super) fn busy(app: &App, error: &LockError) -> HostError {
    HostError {
        exit_code: 7,
        message: format!("another gate serves {}: {error}", app.name),
        hint: Some(format!("gate status local/{}", app.name)),
    }
}

impl From<LocalError> for HostError {
    fn from(error: LocalError) -> Self {
        let (exit_code, hint) = match &error {
            LocalError::Listen { .. } => {
                (6, Some("stop what listens there, or name another address in the app file"))
            }
            LocalError::NoSuchRelease { .. } => (2, None),
            LocalError::Random => (6, None),
        };
        let message = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        Self { exit_code, message, hint: hint.map(ToOwned::to_owned) }
    }
}

impl From<NotScraped> for HostError {
    fn from(error: NotScraped) -> Self {
        Self { exit_code: 2, hint: error.hint(), message: error.to_string() }
    }
}
