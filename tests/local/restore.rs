//! The way back of an adoption: one write too, as long as what stable was still runs.

use std::io::{BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use gate::clock::{Clock as _, SystemClock};
use gate::plan::{LOCAL_DEFAULTS, Plan};
use gate::platform::Platform as _;
use gate::platform::local::app::{self, App, PolicySource};
use gate::platform::local::{Home, Local, Target, release_of};
use gate::rollout::{self, Ask, Asks, Effect, End, Observation, Phase, State, World};
use gate::share::Share;
use rustix::process::Signal;

use crate::poll::within;
use crate::processes;
use crate::site::{SOON, Site};
use crate::traffic;

/// The local platform in this process, and a promotion of `v2` on it.
struct Ground {
    site: Site,
    local: Local,
    plan: Plan,
    target: Target,
    /// A request that stable has begun.
    begun: Begun,
}

/// A request half of whose body is sent, and half of whose answer has come.
struct Begun(BufReader<TcpStream>);

impl Begun {
    fn at(address: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = "POST /echo HTTP/1.1\r\nhost: site\r\ncontent-length: 9\r\n\r\nunbr";
        stream.write_all(head.as_bytes()).unwrap();
        let mut begun = Self(BufReader::new(stream));
        begun.read_up_to("unbr");
        begun
    }

    fn ends_well(mut self) {
        self.0.get_mut().write_all(b"oken!").unwrap();
        self.read_up_to("oken!");
    }

    fn read_up_to(&mut self, end: &str) {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let byte = self.0.by_ref().bytes().next();
            text.push(byte.unwrap_or_else(|| panic!("it was cut")).unwrap());
        }
    }
}

impl Ground {
    /// `v2` has been proven, and stable takes it.
    async fn adopted(drain: &str) -> Self {
        let policy = crate::site::QUICK.replace("\n  drain: 1s", &format!("\n  drain: {drain}"));
        let site = Site::with(&policy, "v1");
        let app = app(&site);
        let home =
            Home { gate: env!("CARGO_BIN_EXE_gate").into(), folder: site.state(), embedded: false };
        std::fs::create_dir_all(&home.folder).unwrap();
        let Some(PolicySource::Inline(policy)) = &app.policy else { panic!("no policy") };
        let (v1, v2) = (&app.releases["v1"], &app.releases["v2"]);
        let (stable, release) = (release_of("v1", v1), release_of("v2", v2));
        let plan = Plan::new(policy, "test", "local/shop", stable, release, LOCAL_DEFAULTS);
        let spec = v2.clone();
        let (local, _) = Local::open(app, home, SystemClock::start(), |_| ()).unwrap();
        assert!(local.stable_settled(SOON).await);
        let mut target = local.target(&plan, spec);
        let full = Effect::SetShare { share: Share::FULL };
        target.act(&Effect::EnsureCandidate { share: Share::FULL }).await.unwrap();
        let begun = Begun::at(&site.address);
        let mut ground = Self { site, local, plan, target, begun };
        ground
            .seen("a ready candidate", |w| w.candidate.as_ref().is_some_and(|c| c.complete()))
            .await;
        ground.target.act(&full).await.unwrap();
        ground.target.act(&Effect::Adopt).await.unwrap();
        assert!(traffic::get(&ground.site.address).is_from("v2"));
        ground
    }

    async fn seen(&mut self, what: &str, is_so: impl Fn(&World) -> bool) -> World {
        for _ in 0..SOON.as_millis() / 20 {
            let world = self.target.observe().await.unwrap();
            if is_so(&world) {
                return world;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{what} is not seen: {:?}", self.target.observe().await);
    }

    fn pid_of(&self, release: &str) -> u32 {
        let all = self.site.applications();
        all.iter().find(|one| one.release() == release).unwrap_or_else(|| panic!("{all:?}")).pid
    }

    /// A person aborts: what is done follows from what is seen, until the end.
    async fn aborted(&mut self) -> State {
        let now = SystemClock::start().now();
        let mut state = State { phase: Phase::Adopting, ..State::new(now) };
        let abort = Ask { at: now, by: "ada".into(), reason: None };
        let asks = Asks { abort: Some(abort), ..Asks::default() };
        for _ in 0..SOON.as_millis() / 20 {
            let world = self.target.observe().await.ok();
            let now = SystemClock::start().now();
            let seen = Observation { now, world, judged: None, asks: asks.clone() };
            let decision = rollout::step(&self.plan, &state, &seen);
            state = decision.state;
            if state.ended().is_some() {
                return state;
            }
            for effect in decision.effects {
                let _ = self.target.act(&effect).await; // one that is refused is asked for again
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("it does not come back: {:?}, {:?}", state, self.target.observe().await);
    }

    async fn assert_back(&mut self) {
        let world = self.target.observe().await.unwrap();
        assert_eq!(world.stable.revision, self.plan.stable.hash);
        assert_eq!((world.share, &world.candidate), (Some(Share::ZERO), &None), "{world:?}");
        let stored = self.local.stored();
        assert_eq!(stored.stable.release.name, "v1");
        assert_eq!(stored.passed, [], "stable is not among those that were");
        let good = within(SOON, || traffic::get(&self.site.address).is_good().then_some(()));
        assert!(good.is_some(), "stable does not answer");
        for _ in 0..20 {
            let seen = traffic::get(&self.site.address);
            assert!(seen.is_good() && seen.is_from("v1"), "{seen:?}");
        }
    }
}

fn app(site: &Site) -> App {
    let path = site.folder().join("app.yaml");
    app::read(&path, &std::fs::read(&path).unwrap()).unwrap().value
}

/// What was adopted dies before it is seen to be complete, and somebody aborts: what stable was has
/// not ended yet, and is stable again at once, as the same process.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_while_what_was_adopted_is_down_calls_the_old_stable_back() {
    let mut ground = Ground::adopted("4s").await;
    let old = ground.pid_of("v1");
    processes::signal(ground.pid_of("v2"), Signal::KILL);
    ground.seen("that it is down", |world| world.stable.ready == 0).await;
    let state = ground.aborted().await;
    assert_eq!(state.ended(), Some(End::RolledBack));
    ground.assert_back().await;
    assert_eq!(ground.pid_of("v1"), old, "it was not started anew");
    assert_eq!(ground.site.applications().len(), 1);
    // It is not drained any more: past that time nothing is cut, old or new.
    let past = Instant::now() + Duration::from_secs(5);
    while Instant::now() < past {
        let seen = traffic::get(&ground.site.address);
        assert!(seen.is_good() && seen.is_from("v1"), "{seen:?}");
    }
    ground.begun.ends_well();
}

/// The same a little later: what stable was has ended, and is started anew.
#[tokio::test(flavor = "multi_thread")]
async fn an_abort_when_the_old_stable_has_ended_starts_it_anew() {
    let mut ground = Ground::adopted("0s").await;
    ground.seen("the end of the old one", |world| !world.retiring).await;
    processes::signal(ground.pid_of("v2"), Signal::KILL);
    ground.seen("that it is down", |world| world.stable.ready == 0).await;
    assert_eq!(ground.aborted().await.ended(), Some(End::RolledBack));
    ground.assert_back().await;
}
