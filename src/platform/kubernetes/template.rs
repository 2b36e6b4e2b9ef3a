//! A pod template: what makes a revision what it is.
//!
//! A revision's identity is a hash over the template as JSON, with what Kubernetes writes without
//! meaning left out. It exists before the first write, which the pod-template-hash does not.

use kube::api::DynamicObject;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::names;

/// Returns the hex digest of a template; keys in any order, `null` and absent are the same.
#[must_use]
pub fn hash(template: &Value) -> String {
    let bytes = serde_json::to_vec(&plain(template)).unwrap_or_default();
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns a ReplicaSet's template without the hash that the controller adds.
#[must_use]
pub fn of_set(set: &DynamicObject) -> Option<Value> {
    let mut template = set.data.pointer("/spec/template")?.clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(names::TEMPLATE_HASH);
    }
    Some(template)
}

/// Returns a value without nulls, its keys sorted.
fn plain(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            fields.into_iter().map(|(key, value)| (key.clone(), plain(value))).collect()
        }
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}

/// Where a pod template lists its containers, in the order in which a release names them.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// One container of a template and its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    pub container: String,
    pub image: String,
}

/// Returns the containers of a template, init containers and native sidecars last.
#[must_use]
pub fn images(template: &Value) -> Vec<Image> {
    let text = |container: &Value, key: &str| {
        container.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    LISTS
        .iter()
        .flat_map(|list| template.pointer(&format!("/spec/{list}")))
        .flat_map(|list| list.as_array().into_iter().flatten())
        .map(|container| Image {
            container: text(container, "name"),
            image: text(container, "image"),
        })
        .collect()
}

/// What the user wrote after `--release`: `IMAGE`, or `CONTAINER=IMAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub container: Option<String>,
    pub image: String,
}

/// Why a release does not fit a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    #[error("`{image}` does not say for which container: the pods have {}", containers.join(", "))]
    Ambiguous { image: String, containers: Vec<String> },
    #[error("there is no container {container}: the pods have {}", containers.join(", "))]
    NoContainer { container: String, containers: Vec<String> },
    #[error("the container {container} is named twice")]
    Twice { container: String },
}

impl std::str::FromStr for Wanted {
    type Err = String;

    fn from_str(written: &str) -> Result<Self, String> {
        // An image may hold `=` nowhere, so the first one ends a container's name.
        let (container, image) = match written.split_once('=') {
            Some((container, image)) => (Some(container.to_owned()), image),
            None => (None, written),
        };
        if image.is_empty()
            || image.chars().any(char::is_whitespace)
            || container.as_deref() == Some("")
        {
            return Err(format!("`{written}` is no release: IMAGE or CONTAINER=IMAGE"));
        }
        Ok(Self { container, image: image.to_owned() })
    }
}

/// Returns the template with the release's images in it.
///
/// One image without a container means the only container, or the one whose image has the same
/// repository; a container's name reaches init containers and native sidecars as well.
///
/// # Errors
/// It does not say which container, or one that is not there.
pub fn with_release(template: &Value, wanted: &[Wanted]) -> Result<Value, Misfit> {
    let mut named: Vec<(String, &str)> = Vec::new();
    for release in wanted {
        let container = container_of(template, release)?;
        if named.iter().any(|(known, _)| *known == container) {
            return Err(Misfit::Twice { container });
        }
        named.push((container, &release.image));
    }
    let mut template = template.clone();
    for list in LISTS {
        let path = format!("/spec/{list}");
        let containers = template.pointer_mut(&path).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let name = container.get("name").and_then(Value::as_str).unwrap_or_default();
            if let Some((_, image)) = named.iter().find(|(known, _)| known == name) {
                container["image"] = Value::String((*image).to_owned());
            }
        }
    }
    Ok(template)
}

fn container_of(template: &Value, wanted: &Wanted) -> Result<String, Misfit> {
    let all = images(template);
    let containers = || all.iter().map(|image| image.container.clone()).collect();
    if let Some(container) = &wanted.container {
        return if all.iter().any(|image| image.container == *container) {
            Ok(container.clone())
        } else {
            Err(Misfit::NoContainer { container: container.clone(), containers: containers() })
        };
    }
    let same: Vec<&Image> =
        all.iter().filter(|image| repository(&image.image) == repository(&wanted.image)).collect();
    let main = template.pointer("/spec/containers").and_then(Value::as_array).map_or(0, Vec::len);
    match (same.as_slice(), main) {
        ([one], _) => Ok(one.container.clone()),
        (_, 1) => Ok(all[0].container.clone()),
        _ => Err(Misfit::Ambiguous { image: wanted.image.clone(), containers: containers() }),
    }
}

/// Returns an image without its tag and digest.
#[must_use]
pub fn repository(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(before, _)| before);
    match image.rsplit_once(':') {
        // `registry:5000/app`: what follows the colon is a port.
        Some((before, tag)) if !tag.contains('/') => before,
        Some(_) | None => image,
    }
}

/// Returns what people call a template: the images that tell it from another, else all of them.
#[must_use]
pub fn name(template: &Value, other: Option<&Value>) -> String {
    let all = images(template);
    let others = other.map(images).unwrap_or_default();
    let telling: Vec<&Image> = all.iter().filter(|image| !others.contains(image)).collect();
    let shown: Vec<&str> = match telling.as_slice() {
        [] => all.iter().take(1).map(|image| image.image.as_str()).collect(),
        telling => telling.iter().map(|image| image.image.as_str()).collect(),
    };
    shown.join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Misfit, hash, images, name, repository, with_release};

    fn pods() -> serde_json::Value {
        json!({
            "metadata": { "creationTimestamp": null, "labels": { "app": "web" } },
            "spec": {
                "containers": [
                    { "name": "web", "image": "acme/web:1" },
                    { "name": "proxy", "image": "registry:5000/proxy" },
                ],
                "initContainers": [{ "name": "migrate", "image": "acme/web:1" }],
            },
        })
    }

    #[test]
    fn a_hash_is_of_what_is_meant() {
        let mut same = pods();
        same["metadata"] = json!({ "labels": { "app": "web" } });
        assert_eq!(hash(&pods()), hash(&same));
        same["spec"]["containers"][0]["image"] = json!("acme/web:2");
        assert_ne!(hash(&pods()), hash(&same));
    }

    #[track_caller]
    fn check(written: &[&str], expected: Result<[&str; 3], Misfit>) {
        let wanted: Vec<_> = written.iter().map(|one| one.parse().unwrap()).collect();
        let seen = with_release(&pods(), &wanted).map(|template| {
            images(&template).into_iter().map(|image| image.image).collect::<Vec<_>>()
        });
        assert_eq!(seen, expected.map(|images| images.map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_release_finds_its_container() {
        let all = || ["web", "proxy", "migrate"].map(str::to_owned).to_vec();
        check(&["web=acme/web:2"], Ok(["acme/web:2", "registry:5000/proxy", "acme/web:1"]));
        check(
            &["web=acme/web:2", "migrate=acme/web:2"],
            Ok(["acme/web:2", "registry:5000/proxy", "acme/web:2"]),
        );
        check(
            &["registry:5000/proxy:7"],
            Ok(["acme/web:1", "registry:5000/proxy:7", "acme/web:1"]),
        );
        let image = "acme/web:2".to_owned();
        check(&["acme/web:2"], Err(Misfit::Ambiguous { image, containers: all() }));
        let container = "nobody".to_owned();
        check(&["nobody=x"], Err(Misfit::NoContainer { container, containers: all() }));
        check(&["web=x", "web=y"], Err(Misfit::Twice { container: "web".into() }));
    }

    #[test]
    fn repositories_lose_tag_and_digest() {
        assert_eq!(repository("acme/web:1"), "acme/web");
        assert_eq!(repository("registry:5000/web"), "registry:5000/web");
        assert_eq!(repository("acme/web@sha256:0123"), "acme/web");
        assert_eq!(repository("acme/web:1@sha256:0123"), "acme/web");
    }

    #[test]
    fn a_name_is_the_image_that_is_new() {
        let released = with_release(&pods(), &["web=acme/web:2".parse().unwrap()]).unwrap();
        assert_eq!(name(&released, Some(&pods())), "acme/web:2");
        assert_eq!(name(&pods(), None), "acme/web:1, registry:5000/proxy, acme/web:1");
    }
}
