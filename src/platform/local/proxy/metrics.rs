//! The proxy's counters as Prometheus reads them. These names are a promise to dashboards.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::Shared;
use super::instance::{Instance, Kind};

/// The media type of the metrics' text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns everything as text. It reads the same counters that the evidence does.
pub(super) fn render(shared: &Arc<Shared>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Proxied(Arc::clone(shared))));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Proxied(Arc<Shared>);

type Labels = Vec<(&'static str, String)>;

impl Collector for Proxied {
    fn encode(&self, mut to: DescriptorEncoder<'_>) -> fmt::Result {
        let shared = &self.0;
        let instances = shared.router.instances();
        requests(&mut to, &instances)?;
        errors(&mut to, &instances)?;
        durations(&mut to, &instances)?;
        open(&mut to, &instances)?;
        shares(&mut to, shared)?;
        clients(&mut to, shared)
    }
}

fn requests(to: &mut DescriptorEncoder<'_>, instances: &[Arc<Instance>]) -> fmt::Result {
    let help = "Requests by the status that the client got (499: it gave up)";
    let mut family =
        to.encode_descriptor("gate_proxy_requests", help, None, MetricType::Counter)?;
    for instance in instances {
        for (code, count) in instance.tally().codes() {
            let labels = labels(instance, [("code", code.to_string())]);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn errors(to: &mut DescriptorEncoder<'_>, instances: &[Arc<Instance>]) -> fmt::Result {
    let help = "Requests that count as errors of their revision, by what went wrong";
    let mut family = to.encode_descriptor("gate_proxy_errors", help, None, MetricType::Counter)?;
    for instance in instances {
        for (failure, count) in instance.tally().failures() {
            let labels = labels(instance, [("kind", failure.word().to_owned())]);
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

fn durations(to: &mut DescriptorEncoder<'_>, instances: &[Arc<Instance>]) -> fmt::Result {
    let name = "gate_proxy_request_duration_seconds";
    let help = "Time until the head of the response";
    let mut family = to.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for instance in instances {
        let tally = instance.tally();
        let classes = tally.classes();
        let bounds = tally.bounds().iter().map(std::time::Duration::as_secs_f64);
        let buckets = bounds.chain([f64::INFINITY]).zip(classes.iter().copied());
        let buckets = buckets.collect::<Vec<_>>();
        let (sum, count) = (tally.seconds(), classes.iter().sum());
        let labels = labels(instance, []);
        let mut series = family.encode_family(&labels)?;
        series.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

fn open(to: &mut DescriptorEncoder<'_>, instances: &[Arc<Instance>]) -> fmt::Result {
    type Count = fn(&Instance) -> usize;
    let gauges: [(&str, &str, Count); 3] = [
        ("gate_proxy_in_flight", "Requests that have not ended", |of| of.open(Kind::Request)),
        ("gate_proxy_streams", "Upgraded connections and event streams", |of| {
            of.open(Kind::Stream)
        }),
        ("gate_proxy_connections", "Connections to the instance", Instance::connections),
    ];
    for (name, help, count) in gauges {
        let mut family = to.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for instance in instances {
            let labels = labels(instance, []);
            gauge(&mut family.encode_family(&labels)?, count(instance))?;
        }
    }
    Ok(())
}

fn shares(to: &mut DescriptorEncoder<'_>, shared: &Shared) -> fmt::Result {
    let help = "The candidate's share as the gate wrote it, 0 to 1";
    let asked = shared.router.share().fraction();
    to.encode_descriptor("gate_proxy_share_asked", help, None, MetricType::Gauge)?
        .encode_gauge(&asked)?;
    let help = "Requests assigned to each arm; their ratio is the share as seen";
    let mut family =
        to.encode_descriptor("gate_proxy_assigned", help, None, MetricType::Counter)?;
    let assigned = shared.router.assigned();
    for (arm, count) in [("stable", assigned.stable), ("candidate", assigned.candidate)] {
        let labels = vec![("arm", arm.to_owned())];
        family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
    }
    Ok(())
}

fn clients(to: &mut DescriptorEncoder<'_>, shared: &Shared) -> fmt::Result {
    let help = "Connections of clients";
    let family = to.encode_descriptor("gate_proxy_clients", help, None, MetricType::Gauge)?;
    gauge(&mut { family }, shared.clients())?;
    let counters = [
        (
            "gate_proxy_clients_held",
            "Times that a connection had to wait for a place",
            &shared.held,
        ),
        (
            "gate_proxy_accept_errors",
            "Connections that could not be accepted",
            &shared.accept_errors,
        ),
        ("gate_proxy_unserved", "Requests that no instance could serve", &shared.unserved),
    ];
    for (name, help, count) in counters {
        to.encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&count.load(Relaxed), None)?;
    }
    Ok(())
}

fn gauge(to: &mut MetricEncoder<'_>, count: usize) -> fmt::Result {
    to.encode_gauge(&i64::try_from(count).unwrap_or(i64::MAX))
}

fn labels<const N: usize>(instance: &Instance, more: [(&'static str, String); N]) -> Labels {
    let arm = if instance.candidate.load(Relaxed) { "candidate" } else { "stable" };
    let mut labels = vec![
        ("revision", instance.revision.clone()),
        ("instance", instance.name.clone()),
        ("arm", arm.to_owned()),
    ];
    labels.extend(more);
    labels
}
