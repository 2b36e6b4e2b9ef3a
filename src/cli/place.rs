//! In which cluster the target of a command is.

use std::path::PathBuf;

use clap::Args;

use super::Command;
use super::backtest::BacktestArgs;
use super::error::Error;
use super::record::RecordArgs;
use super::remembered::RememberedArgs;
use super::target::Target;
use crate::platform::kubernetes::Where;

/// In which cluster a Deployment is: kubectl's own words.
#[derive(Clone, Debug, Args)]
pub(super) struct Place {
    /// The namespace of a Deployment [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) namespace: Option<String>,
    /// The context in the kubeconfig [default: the present one]
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the pod's own account]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
}

impl From<Place> for Where {
    fn from(Place { namespace, context, kubeconfig }: Place) -> Self {
        Self { kubeconfig, context, namespace }
    }
}

impl Command {
    /// Says in which cluster its target is.
    ///
    /// # Errors
    /// A local target is in none.
    pub(super) fn put(&mut self, place: Where) -> Result<(), Error> {
        match self.remembered() {
            Some(remembered) => {
                remembered.place = place;
                Ok(())
            }
            None => self.target().map_or(Ok(()), |target| target.put(&place)),
        }
    }

    /// Returns the target that it names.
    const fn target(&mut self) -> Option<&mut Target> {
        match self {
            Self::Promote(args) => Some(args.target()),
            Self::Status(args) => args.target(),
            Self::Abort(args) => Some(args.target()),
            Self::Hold(args) | Self::Resume(args) => Some(args.target()),
            Self::Retry(args) => Some(args.target()),
            Self::Approve(args) => Some(args.target()),
            Self::Rollback(args) => Some(args.target()),
            Self::History(args) => args.target(),
            Self::Plan(args) => Some(args.target()),
            Self::Preflight(args) => Some(args.target()),
            Self::Doctor(args) => Some(args.target()),
            Self::Explain(args) => args.target(),
            Self::Init(args) => args.target(),
            Self::Demo
            | Self::Validate(_)
            | Self::Simulate(_)
            | Self::Backtest(_)
            | Self::Record(_)
            | Self::Serve(_)
            | Self::Schema(_)
            | Self::Completions(_)
            | Self::Man
            | Self::Version => None,
            Self::Hidden(command) => command.target(),
        }
    }

    /// Returns whose past it reads, which may be one of this host, of a cluster or of a Prometheus.
    const fn remembered(&mut self) -> Option<&mut RememberedArgs> {
        let (Self::Backtest(BacktestArgs { remembered, .. })
        | Self::Record(RecordArgs { remembered, .. })) = self
        else {
            return None;
        };
        Some(remembered)
    }
}
