//! One watch: what is there and what becomes of it, told as long as somebody listens.
//!
//! **What is there comes through the watch itself**, as new as it was when it was asked for (Kubernetes calls it a
//! streaming list; API servers have it by default since 1.34). No list is asked for before it. An API server that
//! does not have it says so, or never comes to the end of what is there: [`Lists`] remembers that, and from then on
//! a list comes before each watch.
//!
//! **A failure begins it anew.** A watch that only goes on says nothing until something changes, and nobody could
//! tell it from a broken one.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::api::{Api, WatchEvent, WatchParams};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Resource, ResourceExt as _};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, sleep, timeout};

use super::access::told;

/// Before a broken watch begins anew, the first time, and at most: the way back and people wait for it.
const AGAIN_AFTER: Duration = Duration::from_millis(100);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(2);
/// An API server that has not told all that is there, and tells nothing for so long, is asked by a list.
const SILENT_MAX: Duration = Duration::from_secs(4);
/// The API server ends a watch after 290 s; one that has brought nothing for longer has nobody at its other end.
const IDLE_MAX: Duration = Duration::from_secs(295);
/// Of the bookmark that follows what is there.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What a watch tells.
#[derive(Debug)]
pub enum Told<K> {
    /// What is there follows, all of it.
    Begins,
    /// As it is now: new, changed, or there already.
    Is(K),
    Gone(K),
    /// All that is there was told; what follows are changes.
    All,
    /// It is broken, with why, and begins anew.
    Broken(String),
}

/// Whether an API server has to be asked by lists, which it is until it is known. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Lists(Arc<AtomicBool>);

impl Lists {
    fn are_needed(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why a watch that brings what is there has ended.
enum Failed {
    Broken(String),
    /// The API server can't do that.
    Untold,
}

/// Watches, and tells what comes; never returns.
pub async fn follow<K>(
    api: Api<K>,
    only: WatchParams,
    lists: Lists,
    mut tell: impl FnMut(Told<K>) + Send,
) where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut again_after = AGAIN_AFTER;
    loop {
        let mut has_told_all = false;
        let mut noting = |told| {
            has_told_all |= matches!(told, Told::All);
            tell(told);
        };
        let why = once(&api, &only, &lists, &mut noting).await;
        tell(Told::Broken(why));
        if has_told_all {
            again_after = AGAIN_AFTER;
        }
        sleep(again_after).await;
        again_after = (again_after * 2).min(AGAIN_AFTER_MAX);
    }
}

/// Watches until something fails; returns what.
async fn once<K>(
    api: &Api<K>,
    only: &WatchParams,
    lists: &Lists,
    tell: &mut (impl FnMut(Told<K>) + Send),
) -> String
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    if !lists.are_needed() {
        match streamed(api, only, tell).await {
            Failed::Broken(why) => return why,
            Failed::Untold => lists.0.store(true, Ordering::Relaxed),
        }
    }
    listed(api.clone(), only, tell).await
}

async fn streamed<K>(
    api: &Api<K>,
    only: &WatchParams,
    tell: &mut (impl FnMut(Told<K>) + Send),
) -> Failed
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let initial = only.clone().initial_events();
    // Without a version it is what is there now; with "0" a server that lags could tell an old world.
    let mut events = match timeout(SILENT_MAX, api.watch(&initial, "")).await {
        Ok(Ok(events)) => Box::pin(events),
        Ok(Err(error)) => return Failed::of(&error),
        Err(_) => return Failed::Untold,
    };
    let mut version = match told_all(events.as_mut(), tell).await {
        Ok(version) => version,
        Err(failed) => return failed,
    };
    loop {
        let opened = Instant::now();
        if let Err(why) = told_changes(events.as_mut(), &mut version, tell).await {
            return Failed::Broken(why);
        }
        if opened.elapsed() < AGAIN_AFTER {
            return Failed::Broken("the watch ends as soon as it begins".into());
        }
        match api.watch(only, &version).await {
            Ok(next) => events.set(next),
            Err(error) => return Failed::Broken(in_words(&error)),
        }
    }
}

/// Tells what is there; returns the version that it is of.
async fn told_all<K>(
    mut events: impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin,
    tell: &mut impl FnMut(Told<K>),
) -> Result<String, Failed> {
    tell(Told::Begins);
    loop {
        let Ok(event) = timeout(SILENT_MAX, events.next()).await else {
            return Err(Failed::Untold);
        };
        match event {
            Some(Ok(WatchEvent::Added(object) | WatchEvent::Modified(object))) => {
                tell(Told::Is(object));
            }
            // What changes meanwhile is told as well.
            Some(Ok(WatchEvent::Deleted(object))) => tell(Told::Gone(object)),
            Some(Ok(WatchEvent::Bookmark(mark))) => {
                if mark.metadata.annotations.contains_key(INITIAL_END) {
                    tell(Told::All);
                    return Ok(mark.metadata.resource_version);
                }
            }
            Some(Ok(WatchEvent::Error(status))) => {
                return Err(Failed::of(&kube::Error::Api(status.boxed())));
            }
            Some(Err(error)) => return Err(Failed::of(&error)),
            None => return Err(Failed::Broken("the watch ended before all was told".into())),
        }
    }
}

/// Tells changes until the watch has ended; `version` is then where the next one goes on.
async fn told_changes<K: Resource>(
    mut events: impl Stream<Item = kube::Result<WatchEvent<K>>> + Unpin,
    version: &mut String,
    tell: &mut impl FnMut(Told<K>),
) -> Result<(), String> {
    while let Ok(Some(event)) = timeout(IDLE_MAX, events.next()).await {
        match event.map_err(|error| in_words(&error))? {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                *version = object.resource_version().unwrap_or_default();
                tell(Told::Is(object));
            }
            WatchEvent::Deleted(object) => {
                *version = object.resource_version().unwrap_or_default();
                tell(Told::Gone(object));
            }
            WatchEvent::Bookmark(mark) => *version = mark.metadata.resource_version,
            WatchEvent::Error(status) => return Err(in_words(&kube::Error::Api(status.boxed()))),
        }
    }
    Ok(())
}

async fn listed<K>(
    api: Api<K>,
    only: &WatchParams,
    tell: &mut (impl FnMut(Told<K>) + Send),
) -> String
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let config = watcher::Config {
        field_selector: only.field_selector.clone(),
        label_selector: only.label_selector.clone(),
        ..watcher::Config::default()
    };
    let mut events = pin!(watcher(api, config));
    while let Some(event) = events.next().await {
        tell(match event {
            Ok(Event::Init) => Told::Begins,
            Ok(Event::InitApply(object) | Event::Apply(object)) => Told::Is(object),
            Ok(Event::InitDone) => Told::All,
            Ok(Event::Delete(object)) => Told::Gone(object),
            Err(error) => return error.to_string(),
        });
    }
    "the watch has ended".into()
}

impl Failed {
    /// Before all is told. A refusal means this way of asking: 422 where the server has it switched off, 400 and 403
    /// where something before it knows better, 504 where its store can't say how new it is. Were it the watch
    /// itself that is refused, the list would be as well.
    fn of(error: &kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if matches!(status.code, 400 | 403 | 422 | 504) => {
                Self::Untold
            }
            _ => Self::Broken(in_words(error)),
        }
    }
}

fn in_words(error: &kube::Error) -> String {
    told("the watch", error).what
}
