//! The way into a cluster: kubectl's own files, contexts and namespaces.

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use http::header::USER_AGENT;
use kube::api::{Api, DynamicObject};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::following::Lists;
use super::write::Kind;
use crate::platform::PlatformError;

/// A connection to the API server may take so long.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An answer that brings nothing for so long is given up; watches are asked to end before that.
const READ_TIMEOUT: Duration = Duration::from_secs(295);
/// A write may take so long.
pub(super) const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How the API server's audit log calls gate.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("gate/", env!("CARGO_PKG_VERSION")));

/// What kubectl calls it: absent parts come from the kubeconfig, or from the pod that gate runs in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Where {
    pub kubeconfig: Option<PathBuf>,
    pub context: Option<String>,
    pub namespace: Option<String>,
}

/// One namespace of one cluster.
#[derive(Clone)]
pub struct Access {
    pub client: Client,
    pub namespace: String,
    /// How its watches begin.
    pub lists: Lists,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Access {
    /// Connects. Nothing is asked of the API server yet.
    ///
    /// # Errors
    /// No kubeconfig, no such context, a credential that can't be read.
    pub async fn new(place: &Where) -> Result<Self, PlatformError> {
        let config = config(place).await.map_err(|what| PlatformError { what })?;
        let namespace = place.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        Self::to(config, namespace)
    }

    /// Connects to one API server. A refusal is told as it came: the client's own policy would ask
    /// again up to 15 times, unseen, after 429, 503 and 504, each of which can be a pod's own answer.
    ///
    /// # Errors
    /// A credential or certificate that can't be used.
    pub fn to(mut config: Config, namespace: String) -> Result<Self, PlatformError> {
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.default_retry = false;
        config.headers.push((USER_AGENT, AGENT));
        let client = Client::try_from(config)
            .map_err(|error| PlatformError { what: format!("no way into the cluster: {error}") })?;
        Ok(Self { client, namespace, lists: Lists::default() })
    }

    /// Returns the objects of a kind in the namespace, as they are.
    #[must_use]
    pub fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource())
    }

    /// Waits for one answer of the API server, and not longer than it may take.
    ///
    /// # Errors
    /// The server's refusal in words (see [`told`]), or that it does not answer.
    pub async fn ask<T>(
        &self,
        what: &str,
        answer: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, PlatformError> {
        match tokio::time::timeout(WRITE_TIMEOUT, answer).await {
            Ok(answer) => answer.map_err(|error| told(what, &error)),
            Err(_) => Err(PlatformError {
                what: format!("{what}: no answer from the API server within {WRITE_TIMEOUT:?}"),
            }),
        }
    }
}

async fn config(place: &Where) -> Result<Config, String> {
    let options = KubeConfigOptions { context: place.context.clone(), ..Default::default() };
    let file = match &place.kubeconfig {
        Some(path) => {
            Some(Kubeconfig::read_from(path).map_err(|e| format!("{}: {e}", path.display()))?)
        }
        None if place.context.is_some() || std::env::var_os("KUBECONFIG").is_some() => {
            Some(Kubeconfig::read().map_err(|error| error.to_string())?)
        }
        None => None,
    };
    match file {
        Some(file) => {
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| error.to_string())
        }
        None => Config::infer().await.map_err(|error| error.to_string()),
    }
}

/// Says what the API server refused, and what to do where that is known.
#[must_use]
pub fn told(what: &str, error: &kube::Error) -> PlatformError {
    let kube::Error::Api(status) = error else {
        return PlatformError { what: format!("{what}: {}", in_words(error)) };
    };
    let message = if status.message.is_empty() { &status.reason } else { &status.message };
    let next = match status.code {
        401 => " (log in again: the credentials are not accepted)",
        403 => " (a permission is missing: `gate preflight` prints the Role to apply)",
        409 | 422 => " (somebody else has changed it: it is looked at again)",
        429 => " (the API server is busy: it is tried again)",
        _ => "",
    };
    PlatformError { what: format!("{what}: {} {message}{next}", status.code) }
}

/// The chain of causes in one line: `Display` of a transport error alone says nothing.
fn in_words(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        source = cause.source();
    }
    words
}
