//! Native histograms, scraped by a real Prometheus in the format that client libraries expose them in: protocol
//! buffers (`io.prometheus.client.MetricFamily`), which are written by hand here.

use std::time::Duration;

use gate::analysis::{Counters, Unknown};
use gate::evidence::prometheus::reader::{Seen, Settings};
use gate::evidence::prometheus::{Arms, Reader};

use crate::reading::arms;
use crate::real::{RealPrometheus, Target};
use crate::server::{Says, Server};

const SECOND: Duration = Duration::from_secs(1);
const PATIENT: Duration = Duration::from_secs(30);
const KIND: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
const COUNTER: u64 = 0;
const HISTOGRAM: u64 = 4;

/// A message of protocol buffers, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn number(mut self, field: u64, value: u64) -> Self {
        self.varint(field << 3);
        self.varint(value);
        self
    }

    /// Zigzag: 0, −1, 1, −2, …
    fn signed(self, field: u64, value: i64) -> Self {
        self.number(field, (value.cast_unsigned() << 1) ^ (value >> 63).cast_unsigned())
    }

    fn double(mut self, field: u64, value: f64) -> Self {
        self.varint(field << 3 | 1);
        self.0.extend(value.to_le_bytes());
        self
    }

    fn bytes(mut self, field: u64, bytes: &[u8]) -> Self {
        self.varint(field << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
        self
    }
}

/// A family of one metric.
fn family(name: &str, kind: u64, metric: &Message) -> Vec<u8> {
    let family = Message::default().bytes(1, name.as_bytes()).number(3, kind).bytes(4, &metric.0).0;
    let mut delimited = Message::default();
    delimited.varint(family.len() as u64);
    [delimited.0, family].concat()
}

/// Requests, and how many of them are in each bucket of this schema, from the bucket `first` on.
fn exposed(requests: f64, schema: i64, first: i64, buckets: &[u64]) -> Says {
    let label = Message::default().bytes(1, b"code").bytes(2, b"200");
    let counter = Message::default().double(1, requests);
    let counter = Message::default().bytes(1, &label.0).bytes(3, &counter.0);
    let span = Message::default().signed(1, first).number(2, buckets.len() as u64);
    let mut histogram = Message::default()
        .number(1, buckets.iter().sum())
        .double(2, 1.0)
        .signed(5, schema)
        .double(6, 1e-128)
        .number(7, 0)
        .bytes(12, &span.0);
    let mut before = 0;
    for count in buckets {
        let count = count.cast_signed();
        histogram = histogram.signed(13, count - before);
        before = count;
    }
    let histogram = Message::default().bytes(7, &histogram.0);
    let body = [
        family("http_requests_total", COUNTER, &counter),
        family("http_request_duration_seconds", HISTOGRAM, &histogram),
    ];
    Says::Bytes { kind: KIND, body: body.concat() }
}

struct Site {
    prometheus: RealPrometheus,
    app: Server,
    reader: Reader,
    arms: Arms,
}

impl Site {
    /// Schema 3; the buckets −16 to −13 end at 250, 273, 297 and 324 ms.
    async fn start(limits_ms: &[f64]) -> Option<(Self, Vec<f64>)> {
        let app = Server::start(exposed(100.0, 3, -16, &[40, 30, 20, 10])).await;
        let target = Target { server: &app, instance: "app", labels: &[] };
        let prometheus = RealPrometheus::scraping(&[target]).await?;
        let source = prometheus.source("plain");
        let arms = arms(&[("app", "b0")], &[]);
        let bounds = source.bounds(&arms, limits_ms).await.unwrap();
        let settings = Settings::new(bounds.clone(), SECOND, SECOND);
        let reader = Reader::new(source, Settings { patience: PATIENT, ..settings });
        Some((Self { prometheus, app, reader, arms }, bounds))
    }

    /// Exposes something else, waits until it is scraped, and looks.
    async fn look(&mut self, says: Says, requests: f64) -> Seen {
        self.app.say(says);
        let scraped = format!("sum(http_requests_total) == {requests}");
        self.prometheus.until(&self.prometheus.source("plain"), &scraped).await;
        self.reader.look(&self.arms).await
    }
}

/// The column of a bound.
fn column(bounds: &[f64], bound_ms: f64) -> usize {
    2 + bounds.iter().position(|bound| (bound - bound_ms).abs() < 0.001).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_native_histogram_is_counted_at_its_own_edges() {
    let Some((mut site, bounds)) = Site::start(&[300.0]).await else { return };
    let seen = site.reader.look(&site.arms).await;
    assert_eq!(seen.missing, None);
    let Counters(row) = &seen.baseline["b0"];
    let slower = |bound: f64| row[column(&bounds, bound)];
    assert_eq!((row[0], row[1]), (100.0, 0.0));
    assert_eq!((slower(125.0), slower(250.0), slower(500.0)), (100.0, 60.0, 0.0));
    assert_eq!((slower(297.302), slower(324.210)), (10.0, 0.0));
    let seen = site.look(exposed(200.0, 3, -16, &[50, 50, 50, 50]), 200.0).await;
    let Counters(row) = &seen.baseline["b0"];
    assert_eq!((row[column(&bounds, 250.0)], row[column(&bounds, 297.302)]), (150.0, 50.0));
    // Ranges have another key for histograms.
    let source = site.prometheus.source("plain");
    let past = source.history(&site.arms, &bounds, 30 * SECOND, SECOND).await.unwrap();
    let first = &past.first().unwrap().baseline["b0"].0;
    assert_eq!((first[0], first[column(&bounds, 250.0)]), (100.0, 60.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduced_resolution_is_unknown_and_powers_of_two_outlive_it() {
    let Some((mut site, _)) = Site::start(&[300.0]).await else { return };
    // Schema 2: two buckets each have become one, which end at 250, 297 and 354 ms; the last is beyond 324.
    let seen = site.look(exposed(200.0, 2, -8, &[100, 50, 50]), 200.0).await;
    let Some(Unknown::SourceDown { what }) = seen.missing else { panic!("{seen:?}") };
    assert!(
        what.contains("http_request_duration_seconds of b0 has coarser buckets than before"),
        "{what}"
    );
    assert!(seen.baseline.is_empty());
    let Some((mut site, bounds)) = Site::start(&[250.0]).await else { return };
    let seen = site.look(exposed(200.0, 2, -8, &[100, 50, 50]), 200.0).await;
    let Counters(row) = &seen.baseline["b0"];
    assert_eq!((row[0], row[column(&bounds, 250.0)]), (200.0, 100.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_histogram_that_begins_anew_alone_is_unknown_and_a_restart_is_not() {
    let Some((mut site, bounds)) = Site::start(&[250.0]).await else { return };
    assert_eq!(site.reader.look(&site.arms).await.missing, None);
    let seen = site.look(exposed(110.0, 3, -16, &[1, 1, 1, 1]), 110.0).await;
    let Some(Unknown::SourceDown { what }) = seen.missing else { panic!("{seen:?}") };
    assert!(
        what.contains("the histogram of b0 has begun anew, and its requests have not"),
        "{what}"
    );
    let seen = site.look(exposed(4.0, 3, -16, &[1, 1, 1, 1]), 4.0).await;
    let Counters(row) = &seen.baseline["b0"];
    assert_eq!((row[0], row[column(&bounds, 250.0)]), (4.0, 3.0));
}
