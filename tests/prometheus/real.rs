//! A real Prometheus as a child of the test.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gate::evidence::presets::Preset;
use gate::evidence::prometheus::{Credentials, Source};
use tempfile::TempDir;

use crate::server::Server;

/// Every wait ends here, however slow the machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// One scraped server, and the labels that the scrape adds.
pub(crate) struct Target<'a> {
    pub(crate) server: &'a Server,
    pub(crate) instance: &'a str,
    pub(crate) labels: &'a [(&'a str, &'a str)],
}

pub(crate) struct RealPrometheus {
    child: Child,
    url: String,
    _folder: TempDir,
}

/// Finds the binary; `None` says so, and is a failure where tools are required.
fn binary() -> Option<PathBuf> {
    let named = std::env::var_os("GATE_TEST_PROMETHEUS").map(PathBuf::from);
    let cache = std::env::var_os("GATE_CI_CACHE").map(PathBuf::from).or_else(|| {
        std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache/gate-ci"))
    });
    let cached = cache.map(|cache| cache.join("bin/prometheus"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join("prometheus"));
    let found = named.into_iter().chain(on_path).chain(cached).find(|path| path.is_file());
    if found.is_none() {
        assert!(
            std::env::var_os("GATE_REQUIRE_TOOLS").is_none(),
            "no prometheus: run .ci/install-prometheus"
        );
        eprintln!("SKIPPED: no prometheus: run .ci/install-prometheus, or set GATE_TEST_PROMETHEUS");
    }
    found
}

impl RealPrometheus {
    /// Starts one that scrapes the targets, and waits until it has done so. `None`: there is no Prometheus.
    pub(crate) async fn scraping(targets: &[Target<'_>], interval: &str) -> Option<Self> {
        let binary = binary()?;
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        std::fs::write(&config, scrape_config(targets, interval)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(binary)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .args(["--enable-feature=native-histograms", "--log.level=warn"])
            .args(["--web.enable-remote-write-receiver", "--web.enable-lifecycle"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let this = Self { child, url: format!("http://127.0.0.1:{port}"), _folder: folder };
        // Discovery holds its first targets back for five seconds, so readiness says nothing.
        let all = targets.len();
        this.until(&format!("count(up == 1) >= {all}")).await;
        Some(this)
    }

    pub(crate) fn source(&self, preset: &str) -> Source {
        let preset = Preset::named(preset).unwrap();
        Source::new(&self.url, preset, &Credentials::default()).unwrap()
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Waits until an expression has a result.
    pub(crate) async fn until(&self, expression: &str) {
        let source = self.source("plain");
        let polled = async {
            loop {
                if let Ok(gate::evidence::prometheus::answer::Data::Vector(series)) =
                    source.ask(expression).await
                    && !series.is_empty()
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let waited = tokio::time::timeout(WAIT_MAX, polled).await;
        assert!(waited.is_ok(), "{expression} has no result after {WAIT_MAX:?}");
    }
}

impl Drop for RealPrometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scrape_config(targets: &[Target<'_>], interval: &str) -> String {
    let mut config =
        format!("global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\nscrape_configs:\n- job_name: app\n  static_configs:\n");
    for target in targets {
        let mut labels = format!("instance: {:?}", target.instance);
        for (name, value) in target.labels {
            let _ = write!(labels, ", {name}: {value:?}");
        }
        let address = target.server.address;
        let _ = writeln!(config, "  - {{targets: [\"{address}\"], labels: {{{labels}}}}}");
    }
    config
}
