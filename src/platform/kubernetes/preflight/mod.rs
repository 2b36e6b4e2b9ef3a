//! What speaks against a promotion before anything is written: pure checks of the snapshot, and of a few
//! more objects that are read once.
//!
//! What can't be looked at (a missing permission, an old API server) is said, and is neither good nor bad.

use k8s_openapi::api::core::v1::{PodSpec, PodTemplateSpec};
use serde::Serialize;
use serde_json::Value;

use crate::plan::Plan;
use crate::platform::kubernetes::access::Access;
use crate::platform::kubernetes::autoscaler;
use crate::platform::kubernetes::permissions::{self, Scope};
use crate::platform::kubernetes::router::{Isolation, Router};
use crate::platform::kubernetes::snapshot::{Rollout, Snapshot};
use crate::policy::Policy;

mod surroundings;

mod workload;

mod services;

mod routes;

mod ownership;

mod neighbours;

mod quota;

mod placement;

#[cfg(test)]
mod tests;

pub use surroundings::{Looked, Surroundings};

/// How much a finding weighs; worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The promotion does not begin (exit code 7).
    Refuse,
    /// It begins; something will not be as a user may expect.
    Warn,
    /// Good to know.
    Note,
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub level: Level,
    /// Which check, one word for scripts.
    pub check: &'static str,
    pub what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A promotion that is about to begin.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub seen: &'a Snapshot,
    pub plan: &'a Plan,
    pub policy: &'a Policy,
    pub router: &'a Router,
    /// The release's pod template, as the target would have it.
    pub template: &'a Value,
    /// The target's name.
    pub target: &'a str,
    /// `--gitops-ok`
    pub gitops_ok: bool,
    /// See [`Scope::pods_proxy`].
    pub pods_proxy: bool,
    /// See [`Scope::watchdog`].
    pub watchdog: bool,
}

/// Returns everything that is found, worst first.
pub async fn findings(access: &Access, asked: &Question<'_>) -> Vec<Finding> {
    let around = Surroundings::look(access, asked).await;
    let mut found = judged(asked, &around);
    found.extend(refused_permissions(access, asked).await);
    found.sort_by_key(|finding| finding.level);
    found
}

/// Returns what the objects say, in the order of the checks.
#[must_use]
pub fn judged(asked: &Question<'_>, around: &Surroundings) -> Vec<Finding> {
    let mut found = Found(Vec::new());
    if let Some(target) = &asked.seen.target {
        workload::check(asked, around, &Rollout::of(target), &mut found);
        services::check(asked, &mut found);
        routes::check(asked, around, &mut found);
        ownership::check(asked, around, &mut found);
        neighbours::check(asked, around, &mut found);
        quota::check(asked, around, &mut found);
        placement::check(asked, around, &mut found);
    } else {
        let what = format!("there is no Deployment {}", asked.target);
        found.refuse("target", what, "check its name and the namespace (`-n`)");
    }
    around.not_looked(&mut found);
    found.0
}

async fn refused_permissions(access: &Access, asked: &Question<'_>) -> Option<Finding> {
    let scope = asked.scope();
    let missing = match permissions::missing(access, &permissions::needed(&scope)).await {
        Ok(missing) => missing,
        Err(error) => {
            let what = format!("the permissions could not be asked for: {error}");
            return Some(Finding { level: Level::Note, check: "permissions", what, remedy: None });
        }
    };
    if missing.is_empty() {
        return None;
    }
    let list: Vec<String> = missing.iter().map(ToString::to_string).collect();
    let all = permissions::role(asked.target, &access.namespace, &permissions::needed(&scope));
    Some(Finding {
        level: Level::Refuse,
        check: "permissions",
        what: format!("these permissions are missing: {}", list.join("; ")),
        remedy: Some(format!("let an administrator apply:\n{all}")),
    })
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Found(Vec<Finding>);

impl Found {
    fn refuse(&mut self, check: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Refuse, check, what, Some(remedy.into()));
    }

    fn warn(&mut self, check: &'static str, what: impl Into<String>, remedy: impl Into<String>) {
        self.add(Level::Warn, check, what, Some(remedy.into()));
    }

    fn note(&mut self, check: &'static str, what: impl Into<String>) {
        self.add(Level::Note, check, what, None);
    }

    fn add(
        &mut self,
        level: Level,
        check: &'static str,
        what: impl Into<String>,
        remedy: Option<String>,
    ) {
        self.0.push(Finding { level, check, what: what.into(), remedy });
    }
}

impl<'a> Question<'a> {
    /// Returns what the promotion needs permissions for.
    #[must_use]
    pub fn scope(&self) -> Scope<'a> {
        Scope {
            target: self.target,
            router: self.router,
            autoscaler: autoscaler::of(self.seen, self.target)
                .and_then(|scaler| scaler.metadata.name.as_deref()),
            pods_proxy: self.pods_proxy,
            watchdog: self.watchdog,
        }
    }

    /// The release's pods; `None` where this version of gate can't read them.
    fn pods(&self) -> Option<PodTemplateSpec> {
        serde_json::from_value(self.template.clone()).ok()
    }

    /// The labels of the candidate's pods, as far as Services and policies select on them.
    fn candidate_labels(&self) -> Labels {
        let mut labels = self.release_labels();
        if let Isolation::Label { key, value } = self.router.isolation() {
            labels.insert(key, value);
        }
        labels
    }

    fn release_labels(&self) -> Labels {
        self.pods().and_then(|pods| pods.metadata?.labels).unwrap_or_default()
    }

    fn stable_labels(&self) -> Labels {
        let labels = || {
            let template =
                self.seen.target.as_ref()?.data.pointer("/spec/template/metadata/labels")?;
            serde_json::from_value(template.clone()).ok()
        };
        labels().unwrap_or_default()
    }

    /// The most copies that the candidate has: those of the largest share.
    fn copies_max(&self, stable: u32) -> u32 {
        let copies = self.plan.stages.iter().map(|stage| self.router.copies(stage.share, stable));
        copies.max().unwrap_or(stable).max(1)
    }
}

type Labels = std::collections::BTreeMap<String, String>;

/// Returns some names for a sentence, the rest as a count.
fn listed<T: AsRef<str>>(names: &[T]) -> String {
    /// Names in one sentence.
    const NAMES_MAX: usize = 5;
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The containers of a pod that run all the time and at the start.
fn all_containers(spec: &PodSpec) -> impl Iterator<Item = &k8s_openapi::api::core::v1::Container> {
    spec.containers.iter().chain(spec.init_containers.iter().flatten())
}
