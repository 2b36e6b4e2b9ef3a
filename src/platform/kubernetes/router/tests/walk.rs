//! Orders as the platform gives them, and what must hold at every moment on the way.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::cluster::{Cluster, ID};
use super::refusals::rewrites;
use super::requests::reach;
use crate::platform::kubernetes::names::SERVE;
use crate::platform::kubernetes::router::{GatewayApi, Isolation, Order, PlainService, Router};
use crate::platform::kubernetes::write::{Kind, Op, Write};
use crate::policy::{Strategy, Testers, Traffic};
use crate::rollout::TestersAre;
use crate::share::Share;

pub(super) const STABLE: u32 = 4;
/// Turns until an order is in effect, at most: settling alone takes ten.
const TURNS_MAX: usize = 40;
/// No write is refused.
pub(super) const EVERY: u64 = u64::MAX;
pub(super) const HEADER: (&str, &str) = ("x-release", "next");
const SERVICES: [&str; 2] = ["web", "web-front"];

pub(super) struct Walk {
    pub(super) cluster: Cluster,
    pub(super) router: Router,
    pub(super) now: DateTime<Utc>,
    pub(super) adopted: bool,
    /// Whoever sends [`HEADER`] is let in on the way forward.
    pub(super) testers: bool,
    /// The share has been seen at 0 since it was ordered, and nobody has reset anything since.
    pub(super) safe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    Plain,
    InPlace,
    Overlay,
}

pub(super) const ALL: [Kept; 3] = [Kept::Plain, Kept::InPlace, Kept::Overlay];

pub(super) fn percent(percent: f64) -> Share {
    Share::from_percent(percent).unwrap()
}

fn router(cluster: &Cluster, kept: Kept, testers: bool) -> Router {
    let seen = cluster.snapshot();
    let (header, value) = (HEADER.0.to_owned(), HEADER.1.to_owned());
    let testers = testers.then_some(Testers { header, value });
    let traffic = Traffic { testers, ..Traffic::default() };
    match kept {
        Kept::Plain => Router::Service(PlainService::new(&seen, &cluster.template(), &[]).unwrap()),
        Kept::InPlace | Kept::Overlay => {
            Router::GatewayApi(GatewayApi::new(&seen, &cluster.template(), &traffic).unwrap())
        }
    }
}

impl Walk {
    pub(super) fn new(kept: Kept) -> Self {
        Self::begin(kept, false)
    }

    pub(super) fn with_testers(kept: Kept) -> Self {
        Self::begin(kept, true)
    }

    fn begin(kept: Kept, testers: bool) -> Self {
        let mut cluster = match kept {
            Kept::Plain => Cluster::new(STABLE),
            Kept::InPlace | Kept::Overlay => Cluster::with_route(STABLE),
        };
        if kept == Kept::Overlay {
            let mut route = Cluster::route();
            route["metadata"]["managedFields"] =
                json!([{ "manager": "flux", "operation": "Apply" }]);
            cluster.put(Kind::HttpRoute, "shop", route);
            cluster.run();
        }
        let router = router(&cluster, kept, testers);
        let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
        Self { cluster, router, now, adopted: false, testers, safe: false }
    }

    pub(super) fn kept(&self) -> Kept {
        let over = self
            .cluster
            .get(Kind::HttpRoute, "shop")
            .is_some_and(|route| route["metadata"]["managedFields"][0]["operation"] == "Apply");
        match (&self.router, over) {
            (Router::Service(_), _) => Kept::Plain,
            (Router::GatewayApi(_), false) => Kept::InPlace,
            (Router::GatewayApi(_), true) => Kept::Overlay,
        }
    }

    pub(super) fn order(&self, share: Share) -> Order<'static> {
        let strategy = Strategy::Canary;
        Order { revision: ID, share, strategy, adopted: self.adopted, now: self.now }
    }

    pub(super) fn label(&self) -> Option<(String, String)> {
        match self.router.isolation() {
            Isolation::Readiness => None,
            Isolation::Label { key, value } => Some((key, value)),
        }
    }

    /// Gives the candidate the copies that a share needs.
    pub(super) fn size(&mut self, share: Share) {
        let pods = self.router.copies(share, STABLE);
        let label = self.label();
        let label = label.as_ref().map(|(key, value)| (key.as_str(), value.as_str()));
        let have = self.cluster.of(Kind::Pod).filter(|(name, _)| name.starts_with("candidate-"));
        let pods = pods.max(u32::try_from(have.count()).unwrap());
        self.cluster.scale_candidate(pods, label);
        self.cluster.run();
    }

    /// One turn: observes, decides, and sends those of the writes that have a bit in `sent`; the others
    /// are refused, or gate is killed before.
    pub(super) fn turn(&mut self, share: Share, sent: u64) -> usize {
        self.now += TimeDelta::milliseconds(200);
        let (seen, order) = (self.cluster.snapshot(), self.order(share));
        // As the core asks for it: the testers are in before a share rises.
        let writes = match self.testers && !share.is_zero() && self.testers_are() != TestersAre::In
        {
            true => self.router.let_in(&seen, &order),
            false => self.router.next(&seen, &order),
        };
        self.send(&writes, share, sent);
        writes.len()
    }

    /// A turn of a stage in which nobody else has the candidate yet, or no longer.
    pub(super) fn let_in(&mut self, sent: u64) -> usize {
        self.now += TimeDelta::milliseconds(200);
        self.safe = false;
        let order = self.order(Share::ZERO);
        let writes = self.router.let_in(&self.cluster.snapshot(), &order);
        self.send(&writes, Share::ZERO, sent);
        writes.len()
    }

    /// Turns until the testers are in, as before the first share.
    pub(super) fn prepare(&mut self) {
        for _ in 0..TURNS_MAX {
            if self.testers_are() == TestersAre::In {
                return;
            }
            self.let_in(EVERY);
            self.cluster.run();
        }
        panic!("the testers are not in: {:#?}", self.cluster.objects);
    }

    pub(super) fn testers_are(&self) -> TestersAre {
        self.router.testers_are(&self.cluster.snapshot(), ID)
    }

    fn send(&mut self, writes: &[Write], share: Share, sent: u64) {
        for (index, write) in writes.iter().enumerate() {
            if sent >> index & 1 == 1 {
                assert!(self.cluster.write(write), "{write:?}");
                self.check(share);
            }
        }
    }

    /// Turns until the order is in effect; returns how many writes that took.
    pub(super) fn drive(&mut self, share: Share) -> usize {
        let mut writes = 0;
        self.safe &= share.is_zero();
        for _ in 0..TURNS_MAX {
            let wrote = self.turn(share, EVERY);
            writes += wrote;
            let before = self.seen(share);
            self.cluster.run();
            self.check(share);
            self.safe |= self.is_given_back(share);
            let testers = match share.is_zero() {
                true => self.testers_are() == TestersAre::Out,
                false => !self.testers || self.testers_are() == TestersAre::In,
            };
            if wrote == 0 && before == Some(share) && testers {
                return writes;
            }
            // A gate that is started again finds the same router.
            assert_eq!(router(&self.cluster, self.kept(), self.testers), self.router);
        }
        panic!("{share} is not in effect: {:?}, {:#?}", self.seen(share), self.cluster.objects);
    }

    pub(super) fn seen(&self, share: Share) -> Option<Share> {
        self.router.share(&self.cluster.snapshot(), &self.order(share))
    }

    /// Nobody's requests go to the candidate, and that is how it was ordered.
    pub(super) fn is_given_back(&self, share: Share) -> bool {
        share.is_zero() && self.seen(share) == Some(share) && self.testers_are() == TestersAre::Out
    }

    /// What must hold whenever the controllers catch up: somebody serves, and at 0 it is stable.
    pub(super) fn check(&self, share: Share) {
        let mut caught_up = self.cluster.clone();
        caught_up.run();
        for service in SERVICES {
            let (candidate, others) = caught_up.behind(service);
            assert!(candidate + others > 0, "nobody behind {service}: {:#?}", caught_up.objects);
        }
        let part = part(&caught_up);
        let given_back = self.safe && share.is_zero();
        let reached = reach(&caught_up, "/", true).max(reach(&caught_up, "/news/today", true));
        assert!(!given_back || part.max(reached) == 0.0, "{part} at 0, of the testers {reached}");
    }

    /// Everything of gate's goes; returns how many writes that took.
    pub(super) fn restore(&mut self) -> usize {
        let mut count = 0;
        for _ in 0..TURNS_MAX {
            let writes = self.router.restore(&self.cluster.snapshot(), ID);
            if writes.is_empty() {
                return count;
            }
            count += writes.len();
            for write in writes {
                assert!(self.cluster.write(&write), "{write:?}");
                self.check(Share::ZERO);
            }
            self.cluster.run();
        }
        panic!("the way out has no end");
    }

    /// The candidate's pods are ended, as the platform does it once the share was seen at 0.
    pub(super) fn end(&mut self) {
        self.drive(Share::ZERO);
        let out = self.router.keep_out(&self.cluster.snapshot());
        self.send(&out, Share::ZERO, EVERY);
        self.cluster.end_candidate();
        self.restore();
    }
}

/// Returns the part of the requests that reach the candidate, as the data plane has it: the largest.
pub(super) fn part(cluster: &Cluster) -> f64 {
    let fraction = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
    let Some(user) = cluster.routed.get("shop") else {
        let behind = SERVICES.map(|service| cluster.behind(service));
        let parts = behind.map(|(own, others)| fraction(own as f64, (own + others) as f64));
        return parts.into_iter().fold(0.0, f64::max);
    };
    let rules = cluster.routed.get("shop-gate").unwrap_or(user);
    let parts = rules.as_array().unwrap().iter().filter_map(|rule| {
        let (mut own, mut all) = (0.0, 0.0);
        for backend in rule["backendRefs"].as_array().unwrap() {
            let (name, weight) = (backend["name"].as_str().unwrap(), weight(backend));
            if name.starts_with("web") {
                all += weight;
                own += if name.ends_with("-candidate") { weight } else { 0.0 };
                let (candidate, others) = cluster.behind(name);
                assert!(weight == 0.0 || candidate + others > 0, "{weight} to nobody: {name}");
            }
        }
        let ours = rule["backendRefs"].to_string().contains("web");
        assert!(!ours || all > 0.0, "a rule sends nobody anything: {rule}");
        ours.then(|| fraction(own, all))
    });
    parts.fold(0.0, f64::max)
}

pub(super) fn weight(backend: &Value) -> f64 {
    backend.get("weight").map_or(1.0, |weight| weight.as_f64().unwrap())
}

#[track_caller]
pub(super) fn same(before: &Cluster, after: &Cluster) {
    assert_eq!(before.users_view(), after.users_view());
}

/// Shares in effect, the part of the requests for each, and the most writes that one took.
#[track_caller]
fn check(kept: Kept, orders: &[(f64, f64)], writes_max: usize) {
    let mut walk = Walk::new(kept);
    let before = walk.cluster.clone();
    for (ordered, expected) in orders {
        let share = percent(*ordered);
        walk.size(share);
        let writes = walk.drive(share);
        let seen = part(&walk.cluster);
        assert!((seen - expected).abs() < 1e-9, "{kept:?} {ordered} %: {seen}");
        assert!(writes <= writes_max, "{kept:?} {ordered} %: {writes} writes");
    }
    walk.end();
    same(&before, &walk.cluster);
}

#[test]
fn every_share_is_reached_and_given_back() {
    let pods = [(0.0, 0.0), (5.0, 0.2), (25.0, 0.2), (50.0, 0.5), (100.0, 1.0), (0.0, 0.0)];
    check(Kept::Plain, &pods, 8);
    let exact = [(0.0, 0.0), (5.0, 0.05), (12.34, 0.1234), (50.0, 0.5), (100.0, 1.0), (0.0, 0.0)];
    check(Kept::InPlace, &exact, 4);
    check(Kept::Overlay, &exact, 4);
}

/// A rule that replaces the prefix of a path may have one match only, so it becomes one rule for each method.
#[test]
fn a_rule_that_rewrites_is_laid_over_match_by_match() {
    let mut walk = Walk::new(Kept::Overlay);
    let mut route = walk.cluster.get(Kind::HttpRoute, "shop").unwrap().clone();
    let rule = &mut route["spec"]["rules"][1];
    rewrites(rule);
    rule["name"] = json!("news");
    walk.cluster.put(Kind::HttpRoute, "shop", route);
    walk.cluster.run();
    let before = walk.cluster.clone();
    for share in [12.5, 100.0] {
        walk.size(percent(share));
        walk.drive(percent(share));
        let laid = walk.cluster.get(Kind::HttpRoute, "shop-gate").unwrap();
        let rules = laid["spec"]["rules"].as_array().unwrap();
        let matches = |rule: &Value| rule["matches"].as_array().unwrap().len();
        assert_eq!(rules.iter().map(matches).collect::<Vec<_>>(), [7, 1, 1, 1, 1, 1, 1, 1, 7]);
        assert!(rules.iter().all(|rule| rule.get("name").is_none()), "each name once: {laid:#}");
        let weights = |rule: &Value| {
            let refs = rule["backendRefs"].as_array().unwrap();
            refs.iter().map(weight).collect::<Vec<_>>()
        };
        let first = weights(&rules[1]);
        assert!(rules[2..8].iter().all(|rule| weights(rule) == first), "{laid:#}");
        assert!((part(&walk.cluster) - share / 100.0).abs() < 1e-9);
    }
    walk.end();
    same(&before, &walk.cluster);
}

#[test]
fn a_switch_in_one_step_is_never_a_mixture() {
    for kept in ALL {
        check(kept, &[(0.0, 0.0), (100.0, 1.0), (0.0, 0.0), (100.0, 1.0)], 10);
    }
    let mut walk = Walk::new(Kept::Plain);
    walk.size(Share::FULL);
    for _ in 0..TURNS_MAX {
        walk.turn(Share::FULL, EVERY);
        walk.cluster.run();
        let part = part(&walk.cluster);
        assert!(part == 0.0 || part == 1.0, "{part}");
    }
    assert_eq!(part(&walk.cluster), 1.0);
}

#[test]
fn where_nothing_was_let_in_nothing_is_written() {
    for kept in ALL {
        let mut walk = Walk::new(kept);
        walk.size(Share::FULL);
        assert_eq!((walk.drive(Share::ZERO), walk.seen(Share::ZERO)), (0, Some(Share::ZERO)));
        walk.cluster.end_candidate();
        assert_eq!(walk.restore(), 0);
    }
}

#[test]
fn an_adopted_release_takes_over_without_a_gap() {
    for kept in ALL {
        let mut walk = Walk::new(kept);
        let before = walk.cluster.clone();
        walk.size(Share::FULL);
        walk.drive(Share::FULL);
        // Stable rolls: none of it is left for a moment, and the candidate serves everybody.
        walk.cluster.roll(2, 0);
        if kept == Kept::Plain {
            walk.cluster.run();
            assert_eq!(walk.turn(Share::FULL, EVERY), 0);
            walk.check(Share::FULL);
        }
        walk.cluster.roll(2, STABLE);
        walk.cluster.run();
        walk.adopted = true;
        walk.end();
        same(&before, &walk.cluster);
    }
}

/// The first turn at 0 after 100 %: its writes, in words.
#[track_caller]
fn check_first(kept: Kept, expected: &[&str]) {
    let mut walk = Walk::new(kept);
    walk.size(Share::FULL);
    walk.drive(Share::FULL);
    let writes = walk.router.next(&walk.cluster.snapshot(), &walk.order(Share::ZERO));
    let said = writes.iter().map(|write| {
        let Write::Patch { kind, name, ops } = write else { panic!("{write:?}") };
        let of_version = |op: &Op| format!("{op:?}").contains("resourceVersion");
        assert!(!ops.iter().any(of_version), "an edit elsewhere would refuse the way back");
        format!("{kind} {name}")
    });
    assert_eq!(said.collect::<Vec<_>>(), expected);
    for write in &writes {
        walk.cluster.write(write);
    }
    walk.cluster.run();
    assert_eq!((walk.seen(Share::ZERO), part(&walk.cluster)), (Some(Share::ZERO), 0.0));
}

#[test]
fn the_first_write_of_the_way_back_is_enough() {
    check_first(Kept::Plain, &["Service web", "Service web-front"]);
    check_first(Kept::InPlace, &["HTTPRoute shop"]);
    check_first(Kept::Overlay, &["HTTPRoute shop-gate"]);
}

#[test]
fn nobody_is_sent_to_a_stable_without_a_ready_pod() {
    for kept in ALL {
        let mut walk = Walk::new(kept);
        walk.size(Share::FULL);
        walk.drive(Share::FULL);
        walk.cluster.roll(1, 0);
        walk.cluster
            .objects
            .retain(|(kind, name), _| *kind != Kind::Pod || !name.starts_with("web-"));
        walk.cluster.run();
        let order = walk.order(Share::ZERO);
        assert_eq!(walk.router.next(&walk.cluster.snapshot(), &order), [], "{kept:?}");
        walk.cluster.stable_pod("hash1", 0);
        walk.cluster.run();
        walk.drive(Share::ZERO);
    }
}

#[test]
fn a_pod_that_is_not_ready_is_not_counted_and_one_of_the_others_takes_its_place() {
    let mut walk = Walk::new(Kept::Plain);
    walk.size(percent(50.0));
    walk.drive(percent(25.0));
    let open = |walk: &Walk| -> Vec<String> {
        let pods = walk.cluster.of(Kind::Pod).filter(|(_, pod)| {
            let conditions = pod["status"]["conditions"].as_array().unwrap();
            conditions.iter().any(|one| one["type"] == SERVE && one["status"] == "True")
        });
        pods.map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(open(&walk), ["candidate-0"]);
    let pod = walk.cluster.objects.get_mut(&(Kind::Pod, "candidate-0".into())).unwrap();
    let conditions = pod["status"]["conditions"].as_array_mut().unwrap();
    conditions.retain(|one| one["type"] != "ContainersReady");
    walk.cluster.run();
    assert_eq!(walk.seen(percent(25.0)), Some(Share::ZERO));
    walk.drive(percent(25.0));
    assert_eq!(open(&walk), ["candidate-1"]);
}
