use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::{Claim, Field, Kind, Threat, Tool, claim, owns};

/// Of a real server-side apply (1.34), cut.
fn applied(manager: &str, image: bool) -> Value {
    let container = if image {
        json!({ ".": {}, "f:image": {}, "f:name": {} })
    } else {
        json!({ ".": {}, "f:name": {} })
    };
    json!({
        "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "manager": manager, "operation": "Apply",
        "fieldsV1": { "f:spec": { "f:replicas": {}, "f:template": { "f:spec": {
            "f:containers": { "k:{\"name\":\"web\"}": container } } } } },
    })
}

fn object(meta: Value) -> DynamicObject {
    let mut object =
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" } });
    object["metadata"].as_object_mut().unwrap().extend(meta.as_object().unwrap().clone());
    serde_json::from_value(object).unwrap()
}

fn found(meta: Value) -> Option<Claim> {
    claim(Kind::Deployment, &object(meta), Field::Images)
}

#[track_caller]
fn check(meta: Value, expected: Option<(&str, Threat)>) {
    let seen = found(meta).map(|claim| (claim.tool.to_string(), claim.threat));
    assert_eq!(seen, expected.map(|(tool, threat)| (tool.to_owned(), threat)));
}

#[test]
fn who_puts_the_old_image_back_is_found() {
    let argo = json!({ "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/web" });
    check(json!({ "annotations": argo }), Some(("Argo CD (application shop)", Threat::PutBack)));
    check(
        json!({ "annotations": argo, "managedFields": [applied("argocd-controller", true)] }),
        Some(("Argo CD (application shop)", Threat::PutBack)),
    );
    check(
        json!({ "annotations": argo, "managedFields": [applied("argocd-controller", false)] }),
        Some(("Argo CD (application shop)", Threat::Left)),
    );
    check(
        json!({ "labels": { "argocd.argoproj.io/instance": "shop" } }),
        Some(("Argo CD (application shop)", Threat::PutBack)),
    );
    let update = json!({ "manager": "argocd-controller", "operation": "Update" });
    let helm = json!({ "app.kubernetes.io/instance": "shop" });
    check(
        json!({ "labels": helm, "managedFields": [update] }),
        Some(("Argo CD (application shop)", Threat::PutBack)),
    );
    // Helm sets that label as well.
    check(json!({ "labels": helm }), None);
    let flux = json!({ "kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "flux-system" });
    let name = "Flux (Kustomization apps)";
    check(
        json!({ "labels": flux, "managedFields": [applied("kustomize-controller", true)] }),
        Some((name, Threat::PutBack)),
    );
    check(
        json!({ "labels": flux, "managedFields": [applied("kustomize-controller", false)] }),
        Some((name, Threat::Left)),
    );
    for (key, value, threat) in [
        ("kustomize.toolkit.fluxcd.io/reconcile", "disabled", Threat::Left),
        ("kustomize.toolkit.fluxcd.io/ssa", "IfNotPresent", Threat::Left),
        ("kustomize.toolkit.fluxcd.io/ssa", "Merge", Threat::PutBack),
    ] {
        let told = json!({ "labels": flux, "annotations": { key: value }, "managedFields": [applied("kustomize-controller", true)] });
        check(told, Some((name, threat)));
    }
    check(
        json!({ "labels": { "helm.toolkit.fluxcd.io/name": "shop" } }),
        Some(("Flux (HelmRelease shop)", Threat::PutBack)),
    );
}

#[test]
fn an_apply_by_hand_is_told_from_a_tool_that_repeats_it() {
    check(json!({}), None);
    check(json!({ "managedFields": [applied("gate", true)] }), None);
    check(json!({ "managedFields": [applied("fleet", true)] }), Some(("`fleet`", Threat::PutBack)));
    check(json!({ "managedFields": [applied("fleet", false)] }), None);
    check(
        json!({ "managedFields": [applied("kubectl", true)] }),
        Some(("`kubectl`", Threat::NextApply)),
    );
    let annotations = json!({ "kubectl.kubernetes.io/last-applied-configuration": "{}" });
    check(json!({ "annotations": annotations }), Some(("`kubectl apply`", Threat::NextApply)));
}

#[test]
fn what_to_configure_is_said() {
    let meta = json!({ "annotations": { "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:prod/web" } });
    let seen = found(meta).unwrap();
    assert_eq!(
        seen.what(),
        "Argo CD (application shop) writes the images of Deployment web as well, and would put them back"
    );
    let remedy = seen.remedy().unwrap();
    let (_, yaml) = remedy.split_once('\n').unwrap();
    let read: Value = serde_saphyr::from_str(yaml).unwrap();
    let expected = json!({ "spec": {
        "ignoreDifferences": [{ "group": "apps", "kind": "Deployment", "name": "web", "jqPathExpressions":
            [".spec.template.spec.containers[].image", ".spec.template.spec.initContainers[]?.image"] }],
        "syncPolicy": { "syncOptions": ["RespectIgnoreDifferences=true"] },
    } });
    assert_eq!(read, expected);
    let left = Claim { threat: Threat::Left, ..seen };
    assert_eq!(left.remedy(), None);
    let tool = Tool::FluxKustomization { name: "apps".into() };
    let flux = Claim { tool, threat: Threat::PutBack, ..left };
    assert!(flux.remedy().unwrap().contains("ssa: IfNotPresent"));
}

#[test]
fn an_atomic_list_is_owned_as_one_piece() {
    let path = ["f:spec", "f:rules", "*", "f:backendRefs"];
    for (fields, expected) in [
        (json!({ "f:spec": { "f:rules": {} } }), true),
        (json!({ "f:spec": {} }), true),
        (json!({ "f:spec": { "f:hostnames": {} } }), false),
        (
            json!({ "f:spec": { "f:rules": { ".": {}, "k:{\"name\":\"a\"}": { "f:backendRefs": {} } } } }),
            true,
        ),
        (
            json!({ "f:spec": { "f:rules": { ".": {}, "k:{\"name\":\"a\"}": { "f:matches": {} } } } }),
            false,
        ),
        (json!({}), false),
        (json!(null), false),
    ] {
        assert_eq!(owns(&fields, &path), expected, "{fields}");
    }
}
