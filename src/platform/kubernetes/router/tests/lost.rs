//! All that leads users to the target is deleted while the candidate has a share.

use chrono::TimeDelta;

use super::cluster::Cluster;
use super::walk::{ALL, Kept, STABLE, Walk, percent};
use crate::platform::kubernetes::write::Kind;
use crate::share::Share;

fn objects(kept: Kept) -> (Kind, &'static [&'static str]) {
    match kept {
        Kept::Plain => (Kind::Service, &["web", "web-front"]),
        Kept::InPlace | Kept::Overlay => (Kind::HttpRoute, &["shop"]),
    }
}

#[test]
fn it_is_named_once_nothing_of_it_is_left_and_the_way_back_has_an_end() {
    for kept in ALL {
        let mut walk = Walk::new(kept);
        let (kind, names) = objects(kept);
        walk.size(percent(50.0));
        walk.drive(percent(50.0));
        for name in names {
            assert_eq!(walk.router.lost(&walk.cluster.snapshot()), None, "{kept:?}");
            walk.cluster.objects.remove(&(kind, (*name).to_owned())).unwrap();
        }
        walk.cluster.run();
        let lost = walk.router.lost(&walk.cluster.snapshot()).unwrap();
        assert_eq!(lost, format!("{kind} {}", names.join(", ")));
        back(&mut walk);
        assert_eq!(walk.seen(Share::ZERO), Some(Share::ZERO), "{kept:?}");
        if kept == Kept::Plain {
            // A Service that is put there again finds nobody of the candidate.
            for (key, object) in Cluster::new(STABLE).objects {
                walk.cluster.objects.entry(key).or_insert(object);
            }
            walk.cluster.run();
            assert_eq!(walk.cluster.behind("web").0, 0);
            assert_eq!(walk.seen(Share::ZERO), Some(Share::ZERO));
        }
    }
}

/// Turns as the platform takes them; nobody is served, so nothing of that is checked.
fn back(walk: &mut Walk) {
    for _ in 0..40 {
        walk.now += TimeDelta::milliseconds(200);
        let writes = walk.router.next(&walk.cluster.snapshot(), &walk.order(Share::ZERO));
        for write in &writes {
            assert!(walk.cluster.write(write), "{write:?}");
        }
        walk.cluster.run();
        if writes.is_empty() && walk.seen(Share::ZERO) == Some(Share::ZERO) {
            return;
        }
    }
}
