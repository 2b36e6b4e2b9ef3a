//! A real Prometheus as a child of the test.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use gate::evidence::presets::Preset;
use gate::evidence::prometheus::answer::Data;
use gate::evidence::prometheus::{Credentials, Source};
use tempfile::TempDir;

use crate::server::Server;

/// Every wait ends here, however slow the machine.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// One scraped server, and what the scrape calls it.
pub(crate) struct Target<'a> {
    pub(crate) server: &'a Server,
    pub(crate) instance: &'a str,
    /// Of the target, as a cluster's discovery gives them.
    pub(crate) labels: &'a [(&'a str, &'a str)],
}

/// What one is started with.
#[derive(Default)]
pub(crate) struct Setup<'a> {
    pub(crate) targets: &'a [Target<'a>],
    /// Scraped as well, under their own addresses.
    pub(crate) addresses: &'a [String],
    /// Samples of the past, as OpenMetrics.
    pub(crate) past: Option<String>,
    /// A web configuration: TLS, passwords.
    pub(crate) web: Option<String>,
}

pub(crate) struct RealPrometheus {
    child: Child,
    address: String,
    _folder: TempDir,
}

/// Finds a binary of Prometheus; `None` says so, and is a failure where tools are required.
fn tool(name: &str) -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let named = var("GATE_TEST_PROMETHEUS").map(|path| path.with_file_name(name));
    let home = || var("HOME").map(|home| home.join(".cache/gate-ci"));
    let cached = var("GATE_CI_CACHE").or_else(home).map(|cache| cache.join("bin").join(name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).map(|folder| folder.join(name));
    let found = named.into_iter().chain(on_path).chain(cached).find(|path| path.is_file());
    if found.is_none() {
        let what = format!("no {name}: run .ci/install-prometheus, or set GATE_TEST_PROMETHEUS");
        assert!(var("GATE_REQUIRE_TOOLS").is_none(), "{what}");
        eprintln!("SKIPPED: {what}");
    }
    found
}

impl RealPrometheus {
    /// Starts one that scrapes the targets each second, and waits until it has. `None`: there is none to start.
    pub(crate) async fn scraping(targets: &[Target<'_>]) -> Option<Self> {
        Self::scraping_but(0, targets).await
    }

    /// The same, where some of the targets can't be scraped.
    pub(crate) async fn scraping_but(dead: usize, targets: &[Target<'_>]) -> Option<Self> {
        let this = Self::start(Setup { targets, ..Setup::default() })?;
        // Discovery holds its first targets back for five seconds, so readiness says nothing.
        this.until(&this.source("plain"), &format!("count(up == 1) >= {}", targets.len() - dead))
            .await;
        Some(this)
    }

    /// Starts one that remembers the past and scrapes nothing.
    pub(crate) async fn remembering(past: String) -> Option<Self> {
        let this = Self::start(Setup { past: Some(past), ..Setup::default() })?;
        this.until(&this.source("plain"), "vector(1)").await;
        Some(this)
    }

    pub(crate) fn start(setup: Setup<'_>) -> Option<Self> {
        let (prometheus, promtool) = (tool("prometheus")?, tool("promtool")?);
        let folder = tempfile::tempdir().unwrap();
        let (config, data) = (folder.path().join("prometheus.yml"), folder.path().join("data"));
        std::fs::write(&config, scrape_config(setup.targets, setup.addresses)).unwrap();
        if let Some(past) = setup.past {
            remember(&promtool, folder.path(), &data, &past);
        }
        let web = folder.path().join("web.yml");
        std::fs::write(&web, setup.web.unwrap_or_default()).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--web.config.file={}", web.display()))
            .arg(format!("--storage.tsdb.path={}", data.display()))
            .arg(format!("--web.listen-address={address}"))
            .args(["--enable-feature=native-histograms", "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Some(Self { child, address, _folder: folder })
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn source(&self, preset: &str) -> Source {
        let preset = Preset::named(preset).unwrap();
        Source::new(&self.url(), preset, &Credentials::default()).unwrap()
    }

    /// Waits until an expression has a result.
    pub(crate) async fn until(&self, source: &Source, expression: &str) {
        let polled = async {
            loop {
                match source.ask(expression).await {
                    Ok(Data::Vector(series)) if !series.is_empty() => return,
                    Ok(_) | Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        let waited = tokio::time::timeout(WAIT_MAX, polled).await;
        assert!(waited.is_ok(), "{expression} has no result after {WAIT_MAX:?}");
    }
}

impl Drop for RealPrometheus {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn scrape_config(targets: &[Target<'_>], addresses: &[String]) -> String {
    let mut config = "global: {scrape_interval: 1s, scrape_timeout: 1s}\n".to_owned();
    if !(targets.is_empty() && addresses.is_empty()) {
        config += "scrape_configs:\n- job_name: app\n  static_configs:\n";
    }
    for target in targets {
        let mut labels = format!("instance: {:?}", target.instance);
        for (name, value) in target.labels {
            let _ = write!(labels, ", {name}: {value:?}");
        }
        let address = target.server.address;
        let _ = writeln!(config, "  - {{targets: [\"{address}\"], labels: {{{labels}}}}}");
    }
    for address in addresses {
        let _ = writeln!(config, "  - {{targets: [{address:?}]}}");
    }
    config
}

fn remember(promtool: &Path, folder: &Path, data: &Path, past: &str) {
    let text = folder.join("past.txt");
    std::fs::write(&text, past).unwrap();
    let made = Command::new(promtool)
        .args(["tsdb", "create-blocks-from", "openmetrics"])
        .args([&text, data])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
