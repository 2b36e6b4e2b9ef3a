//! Where a host keeps what must survive it.

use std::path::{Path, PathBuf};

/// The folder of everything: `$GATE_STATE_DIR`, else `$XDG_STATE_HOME/gate`, else `~/.local/state/gate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paths {
    root: PathBuf,
}

/// There is no folder to keep state in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no folder for gate's state: set GATE_STATE_DIR or HOME")]
pub struct NoStateFolder;

impl Paths {
    #[must_use]
    pub const fn at(root: PathBuf) -> Self {
        Self { root }
    }

    /// # Errors
    /// None of the three variables is set.
    pub fn from_env() -> Result<Self, NoStateFolder> {
        let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        if let Some(own) = var("GATE_STATE_DIR") {
            return Ok(Self::at(own.into()));
        }
        let state = var("XDG_STATE_HOME")
            .map(PathBuf::from)
            .or_else(|| Some(Path::new(&var("HOME")?).join(".local/state")))
            .ok_or(NoStateFolder)?;
        Ok(Self::at(state.join("gate")))
    }

    /// One app's host: its lock, socket, state and logs.
    #[must_use]
    pub fn app(&self, app: &str) -> PathBuf {
        self.root.join("local").join(app)
    }

    #[must_use]
    pub fn socket(&self, app: &str) -> PathBuf {
        self.app(app).join("socket")
    }

    #[must_use]
    pub fn lock(&self, app: &str) -> PathBuf {
        self.app(app).join("lock")
    }

    /// Copies of the journals of a Deployment's promotions that this machine has driven, one file each: in
    /// whichever cluster and namespace, as ids tell them apart.
    #[must_use]
    pub fn deployment(&self, name: &str) -> PathBuf {
        self.root.join("cluster").join(name).join("history")
    }

    /// The journals of a target's promotions, one file each.
    #[must_use]
    pub fn history(&self, app: &str) -> PathBuf {
        self.app(app).join("history")
    }
}
