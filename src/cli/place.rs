//! In which cluster a Deployment is: kubectl's own words.

use std::path::PathBuf;

use clap::Args;

use crate::platform::kubernetes::Where;

#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Place {
    /// The namespace of a Deployment [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    namespace: Option<String>,
    /// The context in the kubeconfig [default: the present one]
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The kubeconfig [default: $KUBECONFIG, else ~/.kube/config, else the pod's own account]
    #[arg(long, global = true, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
}

impl Place {
    pub(crate) fn named(&self) -> Where {
        let Self { namespace, context, kubeconfig } = self.clone();
        Where { kubeconfig, context, namespace }
    }
}
