//! Looks at a real Prometheus.

use std::collections::BTreeMap;
use std::time::Duration;

use gate::analysis::{Counters, PerArm};
use gate::evidence::prometheus::reader::Settings;
use gate::evidence::prometheus::{Arms, Reader};

use crate::real::{RealPrometheus, Target};
use crate::server::{Says, Server};

const PODINFO: &str = include_str!("expositions/podinfo-6.9.2.txt");

pub(crate) fn arms(baseline: &[(&str, &str)], candidate: &[(&str, &str)]) -> Arms {
    let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(label, name)| ((*label).to_owned(), (*name).to_owned())).collect()
    };
    Arms::Instances(PerArm { baseline: map(baseline), candidate: map(candidate) })
}

#[tokio::test(flavor = "multi_thread")]
async fn looks_read_fresh_counters_once() {
    let old = Server::start(Says::metrics(PODINFO)).await;
    let new = Server::start(Says::metrics("# nothing yet\nup_to_date 1\n")).await;
    let targets = [
        Target { server: &old, instance: "10.0.0.1:80", labels: &[] },
        Target { server: &new, instance: "10.0.0.2:80", labels: &[] },
    ];
    let Some(prometheus) = RealPrometheus::scraping(&targets, "1s").await else { return };
    let arms = arms(&[("10.0.0.1:80", "old")], &[("10.0.0.2:80", "new")]);
    let source = prometheus.source("plain");
    let bounds = source.bounds(&arms, &[]).await.unwrap();
    assert_eq!(bounds, [5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 2500.0, 5000.0, 10_000.0]);
    let settings = Settings::new(bounds, Duration::from_secs(1), Duration::from_secs(1));
    let mut reader = Reader::new(source, settings);
    let seen = reader.look(&arms).await;
    println!("{seen:?}");
    assert_eq!(seen.missing, None);
    assert_eq!(seen.baseline["old"], Counters(vec![70.0, 3.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]));
    assert_eq!(seen.candidate["new"], Counters(vec![0.0; 13]));
}
