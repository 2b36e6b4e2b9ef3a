//! Objects that select pods by labels, and so see the candidate's as stable's, or do not see them.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::{Selector, SelectorExt as _};

use super::{Found, Labels, Looked, Question, Surroundings, listed};
use crate::platform::kubernetes::router::Isolation;

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let (stable, candidate) = (asked.stable_labels(), asked.candidate_labels());
    match asked.router.isolation() {
        Isolation::Readiness => blocked(around, &candidate, found),
        Isolation::Label { key, .. } => unseen(around, &stable, &candidate, &key, found),
    }
}

/// A candidate's pod that is not let in counts as one that is down.
fn blocked(around: &Surroundings, candidate: &Labels, found: &mut Found) {
    let budgets = around.budgets.seen().into_iter().flatten().filter(|budget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|selector| selects(selector, candidate))
    });
    let names: Vec<String> = budgets.filter_map(|budget| budget.metadata.name.clone()).collect();
    if !names.is_empty() {
        found.warn(
            "disruption_budget",
            format!("PodDisruptionBudget {} counts the candidate's pods, which are not ready until they are let in: it may forbid drains of stable's nodes meanwhile", listed(&names)),
            "drain no node while the candidate is at a low share",
        );
    }
}

/// What matches stable's pods and would not match the candidate's.
fn unseen(
    around: &Surroundings,
    stable: &Labels,
    candidate: &Labels,
    key: &str,
    found: &mut Found,
) {
    let lost =
        |selector: &LabelSelector| selects(selector, stable) && !selects(selector, candidate);
    let mut names = Vec::new();
    for policy in seen(&around.policies) {
        // Without a selector it is for every pod.
        let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        if selector.is_some_and(lost) {
            names.push(format!(
                "NetworkPolicy {}",
                policy.metadata.name.as_deref().unwrap_or_default()
            ));
        }
    }
    for budget in seen(&around.budgets) {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        if selector.is_some_and(lost) {
            names.push(format!(
                "PodDisruptionBudget {}",
                budget.metadata.name.as_deref().unwrap_or_default()
            ));
        }
    }
    for monitor in seen(&around.monitors) {
        let selector = monitor.data.pointer("/spec/selector").cloned().unwrap_or_default();
        let selector = serde_json::from_value::<LabelSelector>(selector);
        if selector.is_ok_and(|selector| lost(&selector)) {
            names.push(format!(
                "PodMonitor {}",
                monitor.metadata.name.as_deref().unwrap_or_default()
            ));
        }
    }
    if !names.is_empty() {
        found.warn(
            "unseen",
            format!("the candidate's pods have another value of the label {key}: they are not selected by {}", listed(&names)),
            format!("select by a label other than {key} there, so that both revisions are treated alike"),
        );
    }
}

fn seen<T>(looked: &Looked<Vec<T>>) -> impl Iterator<Item = &T> {
    looked.seen().into_iter().flatten()
}

/// Returns whether a selector matches labels; one that can't be read matches nothing.
pub(super) fn selects(selector: &LabelSelector, labels: &Labels) -> bool {
    Selector::try_from(selector.clone()).is_ok_and(|selector| selector.matches(labels))
}
