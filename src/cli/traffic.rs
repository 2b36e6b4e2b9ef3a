//! What is known of an app's traffic: given, counted at its host, or asked of a metrics server.

use std::net::SocketAddr;
use std::time::Duration;

use super::error::Error;
use super::exit::Exit;
use super::output::Printer;
use super::plan;
use super::target::{Target, read_app_again};
use crate::evidence::prometheus;
use crate::evidence::prometheus::before::Unfit;
use crate::evidence::scrape::scrape;
use crate::plan::Plan;

/// How long the traffic of a running host is measured, and how long it may take to answer.
const MEASURED: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// The stable revision's error rate where nobody knows it.
const ERROR_RATE: f64 = 0.001;
/// What is known of the traffic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Traffic {
    pub(crate) rps: f64,
    pub(crate) error_rate: f64,
    /// For how long it was watched; absent: it was given.
    pub(crate) watched_s: Option<f64>,
}

pub(crate) const fn given(rps: f64) -> Traffic {
    Traffic { rps, error_rate: ERROR_RATE, watched_s: None }
}

/// As a metrics server counts it.
pub(crate) fn counted(traffic: prometheus::Traffic) -> Traffic {
    Traffic {
        rps: traffic.rps,
        error_rate: traffic.error_rate.unwrap_or(ERROR_RATE),
        watched_s: Some(traffic.seconds),
    }
}

/// Asks the plan's metrics server, if it has one, whether stable can be judged with it, and how much traffic
/// it has. What the server has to say is written into the plan.
pub(crate) async fn ask_server(
    plan: &mut Plan,
    target: &Target,
) -> Result<Option<(Traffic, Vec<String>)>, Error> {
    if plan.judge.server().is_none() {
        return Ok(None);
    }
    let path = match target {
        Target::File(path) => path,
        Target::Local(_) => {
            return Err(Error::user("which series are stable's is not known")
                .hint("name its app file, where the ports of its releases are"));
        }
        // A cluster asks by itself, once it knows the pods.
        Target::Deployment { .. } => return Ok(None),
    };
    let app = read_app_again(path)?;
    let Some((source, arms)) = plan::server_of(&app, plan)? else { return Ok(None) };
    let url = plan.judge.source.clone();
    let unfit = |why: Unfit| {
        Error::new(Exit::Refused, format!("the metrics server {url} can't be judged with: {why}"))
    };
    let fitness = source.fitness(&arms, &plan.conditions).await.map_err(unfit)?;
    let notes = fitness.notes.clone();
    fitness.complete(&mut plan.judge);
    let traffic = source.traffic(&arms).await.map_err(unfit)?;
    Ok(Some((counted(traffic), notes)))
}

/// Counts the requests of the running host for a while.
pub(crate) async fn measure(printer: &Printer, admin: SocketAddr) -> Result<Traffic, Error> {
    let before = counts(admin).await?;
    printer.say(&format!("measuring the traffic for {} s", MEASURED.as_secs()));
    tokio::time::sleep(MEASURED).await;
    let after = counts(admin).await?;
    let requests = (after.0 - before.0).max(0.0);
    let error_rate = if after.0 > 0.0 { (after.1 / after.0).min(1.0) } else { ERROR_RATE };
    Ok(Traffic {
        rps: requests / MEASURED.as_secs_f64(),
        error_rate,
        watched_s: Some(MEASURED.as_secs_f64()),
    })
}

/// Requests and errors of all revisions since the host began.
async fn counts(admin: SocketAddr) -> Result<(f64, f64), Error> {
    let text = scrape(&admin.to_string(), ANSWER_MAX).await.map_err(|error| {
        Error::new(Exit::Refused, format!("the traffic at {admin} can't be measured"))
            .caused_by(error)
            .hint("start the host with `gate serve`, or give `--rps N`")
    })?;
    let sum = |name: &str| -> f64 {
        let rows = text.lines().filter(|line| line.starts_with(name));
        rows.filter_map(|row| row.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    Ok((sum("gate_proxy_requests_total{"), sum("gate_proxy_errors_total{")))
}
