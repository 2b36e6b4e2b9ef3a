//! Whether the namespace has room for a second set of pods.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceQuota};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde_json::Value;

use super::{Found, Question, Surroundings};
use crate::platform::kubernetes::snapshot::Rollout;

pub(super) fn check(asked: &Question<'_>, around: &Surroundings, found: &mut Found) {
    let Some(target) = &asked.seen.target else { return };
    let Some(spec) = asked.pods().and_then(|pods| pods.spec) else { return };
    let stable = Rollout::of(target).wanted;
    let surge = surge(target.data.pointer("/spec/strategy/rollingUpdate/maxSurge"), stable);
    let candidate = asked.copies_max(stable);
    if surge > 0 {
        found.note(
            "surge",
            format!(
                "adoption begins with up to {surge} pods more, beside {candidate} of the candidate"
            ),
        );
    }
    let needed = needed(&spec, candidate + surge);
    for quota in around.quotas.seen().into_iter().flatten().filter(|quota| is_for_all(quota)) {
        for (resource, needed, room) in short(quota, &needed) {
            let name = quota.metadata.name.as_deref().unwrap_or_default();
            found.warn(
                "quota",
                format!("ResourceQuota {name} has room for {} of {resource}, and {candidate} copies of the candidate with {surge} of adoption's surge need {}", amount(room), amount(needed)),
                "raise it, or use smaller shares: without room the candidate does not become ready, or adoption is stuck",
            );
        }
    }
}

/// A quota with scopes is for some pods only; which ones is not worked out here.
fn is_for_all(quota: &ResourceQuota) -> bool {
    let spec = quota.spec.as_ref();
    spec.is_some_and(|spec| {
        spec.scopes.as_ref().is_none_or(Vec::is_empty) && spec.scope_selector.is_none()
    })
}

/// How many pods a rolling update starts beside the wanted ones; a part is rounded up. Source: the Deployment API.
fn surge(written: Option<&Value>, stable: u32) -> u32 {
    let percent = |text: &str| text.strip_suffix('%')?.parse::<u32>().ok();
    match written {
        Some(Value::Number(number)) => {
            number.as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(0)
        }
        Some(Value::String(text)) => {
            let of_stable = u64::from(percent(text).unwrap_or(25)) * u64::from(stable);
            u32::try_from(of_stable.div_ceil(100)).unwrap_or(u32::MAX)
        }
        // The default is 25 %.
        _ => stable.div_ceil(4),
    }
}

/// What so many pods take, by the names that quotas give it.
fn needed(spec: &PodSpec, pods: u32) -> BTreeMap<String, f64> {
    let mut needed = BTreeMap::from([
        ("pods".to_owned(), f64::from(pods)),
        ("count/pods".to_owned(), f64::from(pods)),
        ("count/deployments.apps".to_owned(), 1.0),
        ("count/replicasets.apps".to_owned(), 2.0),
    ]);
    for resource in ["cpu", "memory", "ephemeral-storage"] {
        let requests = of_pod(spec, |container| quantity(requested(container)?, resource));
        let limits = of_pod(spec, |container| {
            quantity(container.resources.as_ref()?.limits.as_ref()?, resource)
        });
        let all = f64::from(pods);
        needed.insert(format!("limits.{resource}"), limits * all);
        needed.insert(format!("requests.{resource}"), requests * all);
        needed.insert(resource.to_owned(), requests * all);
    }
    needed
}

/// A limit without a request is the request as well. Source: the Pod API.
fn requested(container: &Container) -> Option<&BTreeMap<String, Quantity>> {
    let resources = container.resources.as_ref()?;
    resources.requests.as_ref().or(resources.limits.as_ref())
}

/// The main containers and sidecars together, or the largest init container where that takes more.
fn of_pod(spec: &PodSpec, each: impl Fn(&Container) -> Option<f64>) -> f64 {
    let of = |container: &Container| each(container).unwrap_or(0.0);
    let goes_on = |container: &Container| container.restart_policy.as_deref() == Some("Always");
    let init = || spec.init_containers.iter().flatten();
    let together: f64 = spec.containers.iter().chain(init().filter(|c| goes_on(c))).map(of).sum();
    init().filter(|c| !goes_on(c)).map(of).fold(together, f64::max)
}

fn quantity(resources: &BTreeMap<String, Quantity>, name: &str) -> Option<f64> {
    read(&resources.get(name)?.0)
}

/// Reads a quantity (`500m`, `1Gi`, `2e3`). Source: `k8s.io/apimachinery/pkg/api/resource`.
fn read(text: &str) -> Option<f64> {
    const SUFFIXES: [(&str, f64); 16] = [
        ("Ki", 1024.0),
        ("Mi", 1_048_576.0),
        ("Gi", 1_073_741_824.0),
        ("Ti", 1_099_511_627_776.0),
        ("Pi", 1_125_899_906_842_624.0),
        ("Ei", 1_152_921_504_606_846_976.0),
        ("n", 1e-9),
        ("u", 1e-6),
        ("m", 1e-3),
        ("k", 1e3),
        ("M", 1e6),
        ("G", 1e9),
        ("T", 1e12),
        ("P", 1e15),
        ("E", 1e18),
        ("", 1.0),
    ];
    let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite());
    SUFFIXES.iter().find_map(|(suffix, factor)| Some(number(text.strip_suffix(suffix)?)? * factor))
}

/// What a quota has too little room for: its name, what is needed, what is left.
fn short(quota: &ResourceQuota, needed: &BTreeMap<String, f64>) -> Vec<(String, f64, f64)> {
    let status = quota.status.as_ref();
    let hard = status.and_then(|status| status.hard.as_ref()).into_iter().flatten();
    let used = status.and_then(|status| status.used.as_ref());
    let rooms = hard.filter_map(|(resource, hard)| {
        let used = used.and_then(|used| quantity(used, resource)).unwrap_or(0.0);
        let room = (read(&hard.0)? - used).max(0.0);
        let needed = *needed.get(resource)?;
        (needed > room).then(|| (resource.clone(), needed, room))
    });
    rooms.collect()
}

/// Bytes in MiB from there on, CPUs to a thousandth.
fn amount(number: f64) -> String {
    const MIB: f64 = 1_048_576.0;
    if number >= MIB {
        return format!("{:.0}Mi", number / MIB);
    }
    format!("{}", (number * 1000.0).round() / 1000.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{amount, read, surge};

    #[test]
    fn quantities_are_read_as_the_api_writes_them() {
        for (text, expected) in [
            ("500m", Some(0.5)),
            ("2", Some(2.0)),
            ("1Gi", Some(1_073_741_824.0)),
            ("64M", Some(64e6)),
            ("2e3", Some(2000.0)),
            ("1E", Some(1e18)),
            ("0.5", Some(0.5)),
            ("", None),
            ("many", None),
            ("NaN", None),
            ("infinity", None),
        ] {
            assert_eq!(read(text), expected, "{text}");
        }
        assert_eq!(
            (amount(0.25), amount(3.0), amount(67_108_864.0)),
            ("0.25".into(), "3".into(), "64Mi".into())
        );
    }

    #[test]
    fn a_surge_is_a_number_or_a_part_rounded_up() {
        assert_eq!(surge(None, 4), 1);
        assert_eq!(surge(None, 5), 2);
        assert_eq!(surge(Some(&json!("25%")), 5), 2);
        assert_eq!(surge(Some(&json!(0)), 5), 0);
        assert_eq!(surge(Some(&json!(3)), 5), 3);
    }
}
