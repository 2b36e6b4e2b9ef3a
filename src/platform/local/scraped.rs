//! This host's releases as a Prometheus sees them: each is the address that it is scraped at.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::Local;
use super::app::{PortRule, ReleaseSpec};
use super::revision::Revision;
use crate::analysis::PerArm;
use crate::evidence::presets::{KeptBy, TARGET};
use crate::evidence::prometheus::{Arms, Refusal, Source};
use crate::plan::Plan;

/// The label that tells instances apart.
pub const LABEL: &str = TARGET;

/// Why a plan's metrics server can't count the releases of this host.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotScraped {
    #[error(transparent)]
    Source(#[from] Refusal),
    #[error(
        "a metrics server tells releases apart by their ports, and the one of {release} changes with every start"
    )]
    AutoPort { release: String },
    #[error("the preset {preset} is of a proxy before the instances, which here is gate's own")]
    ProxysPreset { preset: &'static str },
}

impl NotScraped {
    /// What to do.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Source(_) => None,
            Self::AutoPort { release } => Some(format!(
                "give {release} a `port:` of its own and list it as a target of a scrape; `port: auto` can't be scraped by a static config"
            )),
            Self::ProxysPreset { .. } => Some("write `source: proxy`".into()),
        }
    }
}

/// Returns the metrics server of a plan, if it has one that can count both releases.
///
/// # Errors
/// See [`NotScraped`].
pub fn source(
    plan: &Plan,
    stable: &ReleaseSpec,
    release: &ReleaseSpec,
) -> Result<Option<Source>, NotScraped> {
    let Some(source) = Source::for_plan(&plan.judge, Some(LABEL))? else { return Ok(None) };
    if source.preset.kept_by == KeptBy::Proxy {
        return Err(NotScraped::ProxysPreset { preset: source.preset.name });
    }
    for (spec, name) in [(stable, &plan.stable.name), (release, &plan.release.name)] {
        if spec.port == PortRule::Auto {
            return Err(NotScraped::AutoPort { release: name.clone() });
        }
    }
    Ok(Some(source))
}

/// Returns the series of stable alone, before anything runs; `None` where its port is not fixed.
#[must_use]
pub fn stable_of_spec(stable: &ReleaseSpec) -> Option<Arms> {
    match stable.port {
        PortRule::Auto => None,
        PortRule::Fixed(port) => {
            let baseline = addresses(SocketAddr::from(([127, 0, 0, 1], port)), "stable");
            Some(Arms::Instances(PerArm { baseline, candidate: BTreeMap::new() }))
        }
    }
}

/// A target may be written by its number or by its name.
fn addresses(address: SocketAddr, instance: &str) -> BTreeMap<String, String> {
    let port = address.port();
    let written = [address.to_string(), format!("localhost:{port}")];
    written.into_iter().map(|written| (written, instance.to_owned())).collect()
}

impl Local {
    /// Returns which series are whose.
    #[must_use]
    pub fn arms(&self) -> Arms {
        let roster = self.roster();
        let of = |revision: Option<&Revision>| {
            let address = revision.and_then(Revision::address);
            let named = revision.zip(address);
            named.map(|(one, address)| addresses(address, one.instance())).unwrap_or_default()
        };
        Arms::Instances(PerArm {
            baseline: of(Some(&roster.stable)),
            candidate: of(roster.candidate.as_ref()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{LOCAL_DEFAULTS, Release};

    fn check(source_url: &str, preset: Option<&str>, ports: [PortRule; 2], expected: &str) {
        let mut policy = crate::policy::built_in();
        policy.evidence.source = Some(source_url.into());
        policy.evidence.preset = preset.map(str::to_owned);
        let named =
            |name: &str| Release { name: name.into(), hash: name.into(), irreversible: false };
        let plan = Plan::new(&policy, "", "local/shop", named("v1"), named("v2"), LOCAL_DEFAULTS);
        let [stable, release] = ports.map(|port| ReleaseSpec {
            command: vec!["app".into()],
            env: BTreeMap::new(),
            cwd: None,
            port,
            irreversible: false,
            drain: None,
        });
        let said = match source(&plan, &stable, &release) {
            Ok(found) => format!("{}", found.is_some()),
            Err(why) => format!("{why}|{}", why.hint().unwrap_or_default()),
        };
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn a_port_that_changes_cant_be_scraped() {
        let (auto, one, two) = (PortRule::Auto, PortRule::Fixed(9001), PortRule::Fixed(9002));
        let url = "http://127.0.0.1:9090";
        check(url, None, [one, two], "true");
        check("proxy", None, [auto, auto], "false");
        check(url, None, [auto, two], "the one of v1 changes with every start|give v1 a `port:`");
        check(url, None, [one, auto], "the one of v2 changes");
        check(url, Some("envoy"), [one, two], "which here is gate's own|write `source: proxy`");
        check(url, Some("nginx"), [one, two], "there is no `nginx`");
    }

    #[test]
    fn stable_is_its_port() {
        let written = addresses(SocketAddr::from(([127, 0, 0, 1], 9001)), "stable");
        let names: Vec<&str> = written.keys().map(String::as_str).collect();
        assert_eq!(names, ["127.0.0.1:9001", "localhost:9001"]);
    }
}
