//! Whether the nodes can hold both revisions: what one pod a node means for twice as many pods.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, PodAffinityTerm, PodSpec};

use super::neighbours::selects;
use super::{Found, Question, Surroundings, all_containers, listed};
use crate::platform::kubernetes::snapshot::Rollout;

const HOSTNAME: &str = "kubernetes.io/hostname";

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let Some(spec) = asked.pods().and_then(|pods| pods.spec) else { return };
    let Some(target) = &asked.seen.target else { return };
    let stable = Rollout::of(target).wanted;
    let pods = stable + asked.copies_max(stable);
    let ports = host_ports(&spec);
    if !ports.is_empty() {
        fits(around, &spec, HOSTNAME, pods, &format!("host ports ({})", listed(&ports)), found);
    }
    let labels = [asked.stable_labels(), asked.candidate_labels()];
    for term in anti_affinity(&spec) {
        let own = term
            .label_selector
            .as_ref()
            .is_some_and(|selector| labels.iter().any(|labels| selects(selector, labels)));
        if own {
            let why = format!("required anti-affinity by {}", term.topology_key);
            fits(around, &spec, &term.topology_key, pods, &why, found);
        }
    }
    for spread in spec.topology_spread_constraints.iter().flatten() {
        let counted = spread.label_selector.as_ref().is_some_and(|it| selects(it, &labels[1]));
        if spread.when_unsatisfiable == "DoNotSchedule" && counted {
            found.warn(
                "topology_spread",
                format!("the topology spread by {} counts the candidate's pods as stable's: some may find no node", spread.topology_key),
                "add `matchLabelKeys: [pod-template-hash]` to it, or allow a larger `maxSkew`",
            );
        }
    }
}

/// Returns whether a template's pods depend on how many nodes there are.
pub(super) fn asks_for_nodes(spec: &PodSpec) -> bool {
    !host_ports(spec).is_empty() || anti_affinity(spec).next().is_some()
}

fn host_ports(spec: &PodSpec) -> Vec<String> {
    let ports = all_containers(spec).flat_map(|container| container.ports.iter().flatten());
    let of_host = ports.filter_map(|port| {
        // In the host's network every port is the host's.
        let of_host =
            if spec.host_network == Some(true) { Some(port.container_port) } else { None };
        port.host_port.or(of_host)
    });
    of_host.filter(|port| *port > 0).map(|port| port.to_string()).collect()
}

fn anti_affinity(spec: &PodSpec) -> impl Iterator<Item = &PodAffinityTerm> {
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.pod_anti_affinity.as_ref());
    let required = affinity
        .and_then(|affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref());
    required.into_iter().flatten()
}

/// One pod a node (or zone): refuses where there are too few, warns where that is not known.
fn fits(around: &Surroundings, spec: &PodSpec, key: &str, pods: u32, why: &str, found: &mut Found) {
    let Some(nodes) = around.nodes.seen() else {
        found.warn(
            "placement",
            format!("because of {why} each pod needs a place of its own: {pods} in all"),
            "see that there are so many nodes",
        );
        return;
    };
    let places: BTreeSet<&str> = nodes
        .iter()
        .filter(|node| may_take(node, spec))
        .filter_map(|node| value(node, key))
        .collect();
    if (places.len() as u64) < u64::from(pods) {
        found.refuse(
            "placement",
            format!("because of {why} each pod needs a place of its own: {pods} of both revisions, and there are {}", places.len()),
            "add nodes, or use smaller shares, or make the anti-affinity a preference",
        );
    }
}

fn value<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    node.metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn may_take(node: &Node, spec: &PodSpec) -> bool {
    let closed = node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true));
    let wanted = spec.node_selector.iter().flatten();
    !closed && wanted.into_iter().all(|(key, wanted)| value(node, key) == Some(wanted))
}
