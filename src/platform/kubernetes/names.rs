//! Every name that gate writes into a cluster, in one place.
//!
//! What gate makes carries [`REVISION`] and [`TARGET`], so that it is found again after a crash
//! without any record of it.

use sha2::{Digest, Sha256};

/// Who writes, in `metadata.managedFields`.
pub const MANAGER: &str = "gate";

/// Label of everything that belongs to one promotion: its id. Tells the candidate's pods apart; the
/// pod-template-hash does not exist before the ReplicaSet, and is not unique.
pub const REVISION: &str = "gate.rs/revision";
/// Label of everything that gate makes: the name of the target, cut to a label's length.
pub const TARGET: &str = "gate.rs/target";
/// Readiness gate (and pod condition) of a candidate's pods behind plain Services: false until gate
/// lets the pod in.
pub const SERVE: &str = "gate.rs/serve";
/// Annotation of the candidate Deployment: the share that its copies are enough for, in percent.
pub const SIZED_FOR: &str = "gate.rs/sized-for";
/// Annotation of a user's object that gate has changed: what it was, as JSON, until it is so again.
pub const ORIGINAL: &str = "gate.rs/original";
/// Annotation of a target: the policy to use where none is named.
pub const POLICY: &str = "gate.rs/policy";
/// Annotation of a record: the process that writes it, as JSON.
pub const OWNER: &str = "gate.rs/owner";
/// Annotation of a record: the id of the promotion that runs; absent while none does.
pub const RUNS: &str = "gate.rs/runs";
/// What the annotations of a record begin with by which people ask for something.
pub const ASKS: &str = "gate.rs/";
/// Label of the watchdog's pod: the id of the promotion that it guards.
pub const WATCHDOG: &str = "gate.rs/watchdog";
/// Kubernetes' own label of a ReplicaSet and its pods.
pub const TEMPLATE_HASH: &str = "pod-template-hash";

/// The longest value of a label, and the longest name of a Service.
const LABEL_CHARS_MAX: usize = 63;
/// Of the hash that takes the place of what was cut off.
const HASH_CHARS: usize = 8;

/// Returns the name of the candidate of a target: its Deployment, its Service, its HPA.
#[must_use]
pub fn candidate(target: &str) -> String {
    fitting(target, "-candidate")
}

/// Returns the value of the label [`TARGET`].
#[must_use]
pub fn target_label(target: &str) -> String {
    fitting(target, "")
}

/// Returns the name of the record of a target.
#[must_use]
pub fn record(target: &str) -> String {
    fitting(target, "-gate")
}

/// Returns the name of the watchdog of a target: its pod, its account, its Role.
#[must_use]
pub fn watchdog(target: &str) -> String {
    fitting(target, "-watchdog")
}

/// Appends a suffix; where that is too long, the middle is cut out and a hash of the whole name stands for it.
#[must_use]
pub fn fitting(name: &str, suffix: &str) -> String {
    if name.len() + suffix.len() <= LABEL_CHARS_MAX {
        return format!("{name}{suffix}");
    }
    let digest = Sha256::digest(name.as_bytes());
    let hash: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let room = LABEL_CHARS_MAX - suffix.len() - HASH_CHARS - 1;
    let kept: String = name.chars().take(room).collect();
    // A label must not have a dot or a dash before the next separator's end; one dash is enough.
    let kept = kept.trim_end_matches(['-', '.', '_']);
    format!("{kept}-{}{suffix}", &hash[..HASH_CHARS])
}

#[cfg(test)]
mod tests {
    use super::{candidate, target_label};

    #[track_caller]
    fn check(seen: &str, expected: &str) {
        assert_eq!(seen, expected);
        assert!(seen.len() <= 63, "{} characters", seen.len());
    }

    #[test]
    fn long_names_are_cut_and_hashed() {
        check(&candidate("checkout"), "checkout-candidate");
        let just_fits = "a".repeat(53);
        check(&candidate(&just_fits), &format!("{just_fits}-candidate"));
        let long = "b".repeat(54);
        check(&candidate(&long), &format!("{}-a93b1af9-candidate", "b".repeat(44)));
        let dashed = format!("{}---{}", "c".repeat(42), "d".repeat(40));
        assert!(!candidate(&dashed).contains("--"), "{}", candidate(&dashed));
        check(&target_label("checkout"), "checkout");
        assert_ne!(candidate(&"e".repeat(70)), candidate(&"e".repeat(71)));
    }
}
