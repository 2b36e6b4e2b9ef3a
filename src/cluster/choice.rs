//! Which policy judges a target: the one that is given, else the Deployment's own, else the built-in.

use kube::api::DynamicObject;

use super::requests::Stopped;
use crate::host::protocol::PolicyText;
use crate::platform::kubernetes::names;
use crate::policy::{self, Policy};

/// A policy that was given and read, before the target is.
pub(super) struct Given {
    policy: Policy,
    source: String,
    stands_in: bool,
}

impl Given {
    /// # Errors
    /// It is no policy.
    pub(super) fn of(text: Option<&PolicyText>) -> Result<Option<Self>, Stopped> {
        let Some(PolicyText { source, text, stands_in }) = text else { return Ok(None) };
        let read = policy::read(source.as_ref(), text.as_bytes());
        let policy = read.map_err(|report| Stopped::usage(report.to_string(), None))?.value;
        Ok(Some(Self { policy, source: source.clone(), stands_in: *stands_in }))
    }

    /// Returns whether it moves traffic by routes, which then have to be read.
    pub(super) fn goes_by_routes(&self) -> bool {
        self.policy.traffic.by_routes()
    }
}

/// Returns the policy for a target, and its source in words for the user.
///
/// # Errors
/// The target's annotation names none.
pub(super) fn choose(
    given: Option<Given>,
    target: &DynamicObject,
) -> Result<(Policy, String), Stopped> {
    let (first, last) = match given {
        Some(given) if given.stands_in => (None, Some(given)),
        other => (other, None),
    };
    let plain = |Given { policy, source, .. }| (policy, source);
    if let Some(given) = first {
        return Ok(plain(given));
    }
    let own = own(target)?.or_else(|| last.map(plain));
    Ok(own.unwrap_or_else(|| (policy::built_in(), "the built-in canary".into())))
}

/// Returns the policy that the Deployment's annotation names.
fn own(target: &DynamicObject) -> Result<Option<(Policy, String)>, Stopped> {
    let annotations = target.metadata.annotations.as_ref();
    let Some(name) = annotations.and_then(|all| all.get(names::POLICY)) else { return Ok(None) };
    let source = format!("{name} (shipped with gate, named by the annotation {})", names::POLICY);
    policy::shipped(name).map(|policy| Some((policy, source))).ok_or_else(|| {
        let message = format!("the annotation {} names no shipped policy: {name}", names::POLICY);
        let hint = "canary, blue-green, cautious, seed, all-conditions; or give `--policy FILE`";
        Stopped::usage(message, Some(hint.into()))
    })
}

#[cfg(test)]
mod tests {
    use kube::api::{ApiResource, DynamicObject};

    use super::{Given, choose, names};
    use crate::host::protocol::PolicyText;

    fn source(given: Option<bool>, annotation: Option<&str>) -> Option<String> {
        let text = include_str!("../../policies/canary.yaml").to_owned();
        let given = given.and_then(|stands_in| {
            Given::of(Some(&PolicyText { source: "given".into(), text, stands_in })).ok().unwrap()
        });
        let deployment = ApiResource::erase::<k8s_openapi::api::apps::v1::Deployment>(&());
        let mut target = DynamicObject::new("shop", &deployment);
        target.metadata.annotations =
            annotation.map(|name| [(names::POLICY.to_owned(), name.to_owned())].into());
        choose(given, &target).ok().map(|(_, source)| source)
    }

    #[test]
    fn the_first_of_four_is_taken() {
        let is = |given, annotation, expected: &str| {
            let source = source(given, annotation).unwrap();
            assert!(source.starts_with(expected), "{given:?} {annotation:?}: {source}");
        };
        is(Some(false), Some("cautious"), "given");
        is(Some(true), Some("cautious"), "cautious (shipped");
        is(Some(true), None, "given");
        is(None, Some("cautious"), "cautious (shipped");
        is(None, None, "the built-in canary");
        assert_eq!(source(Some(true), Some("no-such")), None);
    }
}
