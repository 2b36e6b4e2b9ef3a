//! The app file's reader.

use super::*;

const CHECKOUT: &str = include_str!("../../../../examples/local/checkout.yaml");

fn accepted(text: &str) -> App {
    match read(Path::new("apps/app.yaml"), text.as_bytes()) {
        Ok(checked) => checked.value,
        Err(report) => panic!("{report}"),
    }
}

/// Returns what is printed for an app file that is not accepted.
fn refusal(text: &str) -> String {
    match read(Path::new("apps/app.yaml"), text.as_bytes()) {
        Ok(checked) => panic!("accepted: {:?}", checked.value),
        Err(report) => report.to_string(),
    }
}

#[test]
fn the_example_reads_without_a_warning() {
    let checked = read(Path::new("examples/local/checkout.yaml"), CHECKOUT.as_bytes()).unwrap();
    assert!(checked.warnings.is_empty(), "{}", checked.warnings);
    let app = checked.value;
    let names: Vec<&str> = app.releases.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["broken", "crashing", "flapping", "hanging", "never-ready", "slow", "v1", "v2"]
    );
    let Some(PolicySource::Inline(policy)) = &app.policy else { panic!("no inline policy") };
    let shares: Vec<u16> = policy.stages.iter().map(|s| s.share.basis_points()).collect();
    assert_eq!(shares, [1000, 5000, 10_000]);
    assert_eq!(app.probes.judged().unwrap().period, Duration::from_secs(2));
}
