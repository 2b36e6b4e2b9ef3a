//! What a Prometheus remembers: history, gaps, resets, scrape intervals, old samples.

use std::fmt::Write;
use std::time::Duration;

use gate::analysis::evidence::{Header, Judge};
use gate::analysis::{Unknown, Verdict};
use gate::clock::{Clock, SystemClock};
use gate::evidence::prometheus::Reader;
use gate::evidence::prometheus::before::Unfit;
use gate::evidence::prometheus::reader::Settings;
use gate::policy::parse_condition;

use crate::reading::arms;
use crate::real::RealPrometheus;

const HOUR: i64 = 3600;
const BOUNDS_MS: [f64; 2] = [100.0, 1000.0];

/// One instance's samples: seconds before now, and requests.
pub(crate) struct Instance {
    pub(crate) name: &'static str,
    pub(crate) samples: Vec<(i64, u64)>,
}

/// An instance that is sampled every 15 s for two hours, restarts an hour ago, and is not heard of
/// from half an hour to 20 minutes ago.
fn steady() -> Instance {
    let ages = (0..=480).rev().map(|k| 15 * k).filter(|age| !(1200..1800).contains(age));
    let requests = |age: i64| if age > HOUR { 2 * HOUR - age } else { HOUR - age };
    let samples = ages.map(|age| (age, 1000 + 10 * requests(age).unsigned_abs())).collect();
    Instance { name: "steady", samples }
}

fn every(name: &'static str, seconds: i64, from: i64, until: i64) -> Instance {
    let ages = (until..=from).rev().filter(|age| (age - until) % seconds == 0);
    Instance { name, samples: ages.enumerate().map(|(k, age)| (age, 10 * k as u64)).collect() }
}

/// Writes the instances as OpenMetrics: one request in a hundred fails, one in ten takes over 100 ms.
pub(crate) fn past(now: i64, instances: &[Instance]) -> String {
    let (mut requests, mut buckets) = (String::new(), String::new());
    for Instance { name, samples } in instances {
        for (age, n) in samples {
            let at = now - age;
            for (status, n) in [("200", n - n / 100), ("503", n / 100)] {
                let _ = writeln!(
                    requests,
                    r#"http_requests_total{{instance="{name}",status="{status}"}} {n} {at}"#
                );
            }
            for (le, n) in [("0.1", n - n / 10), ("1", *n), ("+Inf", *n)] {
                let _ = writeln!(
                    buckets,
                    r#"http_request_duration_seconds_bucket{{instance="{name}",le="{le}"}} {n} {at}"#
                );
            }
        }
    }
    format!(
        "# TYPE http_requests counter\n{requests}# TYPE http_request_duration_seconds histogram\n{buckets}# EOF\n"
    )
}

pub(crate) fn now() -> i64 {
    SystemClock::start().now().timestamp()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_what_was_sampled() {
    let Some(prometheus) = RealPrometheus::remembering(past(now(), &[steady()])).await else {
        return;
    };
    let (source, arms) = (prometheus.source("plain"), arms(&[("steady", "steady")], &[]));
    let bounds = source.bounds(&arms, &[]).await.unwrap();
    assert_eq!(bounds, BOUNDS_MS);
    let step = Duration::from_secs(15);
    let length = Duration::from_secs(2 * 3600);
    let looks = source.history(&arms, &bounds, length, step).await.unwrap();
    assert!(looks.iter().map(|look| look.at_s).is_sorted());
    assert!(looks.iter().all(|look| (-7200.0..=0.0).contains(&look.at_s)));
    // 481 moments without 40 of the gap; one at either end may lie outside by now.
    assert!((435..=441).contains(&looks.len()), "{}", looks.len());
    let rows: Vec<&Vec<f64>> = looks.iter().map(|look| &look.baseline["steady"].0).collect();
    assert!(rows.iter().all(|row| row.len() == 4 && row.iter().all(|value| value.is_finite())));
    let resets = rows.windows(2).filter(|pair| pair[1][0] < pair[0][0]).count();
    assert_eq!(resets, 1);
    let longest = looks.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).fold(0.0, f64::max);
    assert!((600.0..=630.0).contains(&longest), "{longest}");
    let last = rows.last().unwrap();
    assert_eq!(
        (last[1], last[2], last[3]),
        ((last[0] / 100.0).floor(), (last[0] / 10.0).floor(), 0.0)
    );
    teaches(&looks);
    let short = source.history(&arms, &bounds, Duration::from_secs(300), step).await.unwrap();
    assert!((19..=21).contains(&short.len()), "{}", short.len());
}

/// A judge learns from all of it, and finds nothing wrong.
fn teaches(looks: &[gate::analysis::Look]) {
    let policy =
        ["error_rate > 5%", "response_time_p95 > 500ms"].map(|text| parse_condition(text).unwrap());
    let header = Header::new(BOUNDS_MS.to_vec(), 15.0, Vec::new());
    let mut judge = Judge::new(&policy, &header).unwrap();
    let untaught = judge.clone();
    for look in looks {
        let judgement = judge.judge_live(look);
        assert_eq!(judgement.verdict, Verdict::Unknown { why: vec![Unknown::Collecting] });
    }
    assert_eq!(judge.dropped(), (0, 0));
    assert_ne!(judge, untaught);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_scrape_interval_is_measured() {
    let instances = [
        every("quick", 5, 300, 0),
        every("minutely", 60, 600, 0),
        every("rare", 90, 900, 0),
        every("young", 15, 15, 15),
        every("gone", 15, 1500, 900),
    ];
    let Some(prometheus) = RealPrometheus::remembering(past(now(), &instances)).await else {
        return;
    };
    let source = prometheus.source("plain");
    let measure = async |name: &str| source.interval(&arms(&[(name, name)], &[])).await;
    assert_eq!(measure("quick").await, Ok(Duration::from_secs(5)));
    assert_eq!(measure("minutely").await, Ok(Duration::from_secs(60)));
    let rare = measure("rare").await.unwrap_err();
    assert_eq!(rare, Unfit::TooRare { interval: Duration::from_secs(90) });
    assert_eq!(
        rare.to_string(),
        "scraped every 90 s: evidence needs a sample at least every 60 s; lower scrape_interval"
    );
    assert_eq!(measure("young").await, Err(Unfit::TooYoung { samples: 1 }));
    let nobody = || Err(Unfit::NoSeries { of: "http_requests_total".into() });
    assert_eq!(measure("nobody").await, nobody());
    assert_eq!(measure("gone").await, nobody());
}

#[tokio::test(flavor = "multi_thread")]
async fn old_samples_are_no_evidence() {
    let instances = [every("fresh", 15, 300, 0), every("old", 15, 300, 120)];
    let Some(prometheus) = RealPrometheus::remembering(past(now(), &instances)).await else {
        return;
    };
    let look = async |baseline: &[(&str, &str)], candidate: &[(&str, &str)]| {
        let settings =
            Settings::new(BOUNDS_MS.to_vec(), Duration::from_secs(15), Duration::from_secs(15));
        Reader::new(prometheus.source("plain"), settings).look(&arms(baseline, candidate)).await
    };
    let seen = look(&[("fresh", "a"), ("old", "b")], &[]).await;
    assert_eq!(seen.baseline.keys().collect::<Vec<_>>(), ["a"]);
    assert_eq!(seen.missing, None);
    let seen = look(&[("fresh", "a")], &[("old", "b")]).await;
    assert!(seen.candidate.is_empty());
    let Some(Unknown::Stale { age_s }) = seen.missing else { panic!("{seen:?}") };
    assert!((120..180).contains(&age_s), "{age_s}");
    let seen = look(&[("fresh", "a")], &[("nobody", "b")]).await;
    assert_eq!(
        seen.missing.unwrap().to_string(),
        "no data from the candidate: no series of http_requests_total{instance=~\"nobody\"}"
    );
}
