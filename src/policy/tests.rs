//! The readers against good files, bad files, and noise.

use std::path::Path;

use super::*;

const SHIPPED: [(&str, &str); 5] = [
    ("policies/canary.yaml", include_str!("../../policies/canary.yaml")),
    ("policies/blue-green.yaml", include_str!("../../policies/blue-green.yaml")),
    ("policies/cautious.yaml", include_str!("../../policies/cautious.yaml")),
    ("policies/seed.yaml", include_str!("../../policies/seed.yaml")),
    ("policies/all-conditions.yaml", include_str!("../../policies/all-conditions.yaml")),
];

fn policy(text: &str) -> Policy {
    match read(Path::new("policy.yaml"), text.as_bytes()) {
        Ok(checked) => checked.value,
        Err(report) => panic!("{report}"),
    }
}

/// Returns what is printed for a policy that is not accepted.
fn refusal(text: &str) -> String {
    match read(Path::new("policy.yaml"), text.as_bytes()) {
        Ok(checked) => panic!("accepted: {:?}", checked.value),
        Err(report) => report.to_string(),
    }
}

#[test]
fn every_shipped_policy_reads_without_a_warning() {
    for (name, text) in SHIPPED {
        match read(Path::new(name), text.as_bytes()) {
            Ok(checked) => assert!(checked.warnings.is_empty(), "{}", checked.warnings),
            Err(report) => panic!("{report}"),
        }
    }
}
