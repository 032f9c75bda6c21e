//! Kubernetes manifests and the compose file, held against the schemas of what reads them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot run its subject has failed")]

#[path = "support/needs.rs"]
mod needs;
#[path = "support/skipped.rs"]
mod skipped;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use needs::has;
use skipped::skipped;

fn project(place: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(place)
}

/// Python with the packages that `tests/tools.sh schemas` has brought.
fn python(arguments: &[&str], file: &Path) -> Option<Output> {
    let packages = project("target/tools/schemas");
    if !packages.join("kubernetes_validate").exists() {
        skipped("the schemas of Kubernetes and Compose are not there: tests/tools.sh schemas");
        return None;
    }
    let output = Command::new("python3").args(arguments).arg(file).env("PYTHONPATH", packages).output();
    Some(output.unwrap())
}

fn kustomized(place: &Path) -> String {
    let output = Command::new("kubectl").arg("kustomize").arg(place).output().unwrap();
    assert!(output.status.success(), "{}: {output:?}", place.display());
    String::from_utf8(output.stdout).unwrap()
}

fn strictly(manifest: &str) -> Option<Output> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap();
    fs::write(&file, manifest).unwrap();
    python(&["-m", "kubernetes_validate", "--strict", "-k", "1.33"], file.path())
}

#[test]
fn each_base_and_overlay_is_what_kubernetes_takes_and_asks_for_no_right_but_one() {
    if !has("kubectl") {
        return;
    }
    let overlays = fs::read_dir(project("packaging/kubernetes/overlays")).unwrap();
    let mut places: Vec<PathBuf> = overlays.map(|entry| entry.unwrap().path()).collect();
    places.push(project("packaging/kubernetes/daemonset"));
    assert!(places.len() >= 6, "{places:?}");
    for place in places {
        let manifest = kustomized(&place);
        for fact in [
            "runAsNonRoot: true",
            "readOnlyRootFilesystem: true",
            "            add:\n            - NET_RAW\n            drop:\n            - ALL\n",
            "path: /live",
            "path: /ready",
            "type: RuntimeDefault",
        ] {
            assert!(manifest.contains(fact), "{}: {fact}: {manifest}", place.display());
        }
        let Some(output) = strictly(&manifest) else { return };
        assert!(output.status.success(), "{}: {output:?}", place.display());
    }
    // The judge does judge.
    let wrong =
        kustomized(&project("packaging/kubernetes/daemonset")).replace("hostNetwork:", "hostNetwrok:");
    assert!(!strictly(&wrong).unwrap().status.success());
}

#[test]
fn the_sidecar_joins_whatever_is_labelled() {
    if !has("kubectl") {
        return;
    }
    // kustomize takes no absolute paths.
    let directory = tempfile::tempdir_in(project("packaging/kubernetes/overlays")).unwrap();
    let put = |file: &str, text: &str| fs::write(directory.path().join(file), text).unwrap();
    put(
        "kustomization.yaml",
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [sets.yaml]\n\
         components: [../../sidecar]\n",
    );
    let set = |name: &str, labels: &str| {
        format!(
            "apiVersion: apps/v1\nkind: StatefulSet\nmetadata:\n  name: {name}\n  labels: {{{labels}}}\nspec:\n  \
             serviceName: x\n  selector: {{matchLabels: {{a: b}}}}\n  template:\n    metadata: {{labels: {{a: b}}}}\n    \
             spec:\n      containers: [{{name: x, image: x}}]\n"
        )
    };
    put("sets.yaml", &format!("{}---\n{}", set("joined", "sidetone: sidecar"), set("alone", "")));
    let manifest = kustomized(directory.path());
    let (joined, alone): (Vec<&str>, Vec<&str>) = manifest
        .split("---\n")
        .filter(|part| part.contains("kind: StatefulSet"))
        .partition(|part| part.contains("name: joined"));
    assert!(
        joined[0].contains("restartPolicy: Always") && joined[0].contains("image: sidetone"),
        "{manifest}"
    );
    assert!(!alone[0].contains("image: sidetone"), "{manifest}");
    if let Some(output) = strictly(&manifest) {
        assert!(output.status.success(), "{output:?}");
    }
}

#[test]
fn configurations_in_manifests_are_right() {
    for file in ["sidecar", "daemonset"] {
        let file = project("packaging/kubernetes").join(file).join("sidetone.toml");
        let output = Command::new(env!("CARGO_BIN_EXE_sidetone"))
            .args(["check", "--config"])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}: {output:?}", file.display());
    }
}

#[test]
fn the_compose_file_is_what_its_specification_says_and_mounts_what_is_there() {
    let file = project("packaging/compose/compose.yaml");
    let text = fs::read_to_string(&file).unwrap();
    for line in text.lines() {
        let Some(mount) = line.trim().strip_prefix("- .") else { continue };
        let source = format!(".{}", mount.split(':').next().unwrap());
        assert!(file.parent().unwrap().join(&source).exists(), "{source} is mounted, and not there");
    }
    let schema = project("target/tools/schemas/compose_spec.json");
    let check = "import json, sys, yaml, jsonschema\n\
                 schema = json.load(open(sys.argv[1])); document = yaml.safe_load(open(sys.argv[2]))\n\
                 validator = jsonschema.Draft201909Validator(schema)\n\
                 validator.validate(document)\n\
                 document['services']['sidetone']['cap_droop'] = []\n\
                 assert list(validator.iter_errors(document)), 'the judge does not judge'";
    let Some(output) = python(&["-c", check, schema.to_str().unwrap()], &file) else { return };
    assert!(output.status.success(), "{output:?}");
    skipped("loki.yaml and tempo.yaml: no checker of theirs is to be had as a package");
}
