//! The Dockerfile: its build command, what it copies, how it is probed. No image is built.

use std::collections::BTreeSet;

use crate::{
    configuration::{is_command, paybell},
    read, root, yaml,
};

const DOCKERFILE: &str = "deploy/docker/Dockerfile";

/// The instructions, continued lines joined.
fn instructions() -> Vec<String> {
    let text = read(DOCKERFILE);
    let code: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
    code.join("\n").replace("\\\n", " ").lines().map(str::to_owned).collect()
}

fn argument_of(instruction: &str) -> String {
    let found = instructions().into_iter().rfind(|line| line.starts_with(&format!("{instruction} ")));
    found.unwrap_or_else(|| panic!("no {instruction}"))[instruction.len() + 1..].trim().to_owned()
}

/// Where the image's admin listener is.
pub fn admin_address() -> String {
    argument_of("ENV").strip_prefix("PAYBELL__ADMIN__LISTEN=").unwrap().to_owned()
}

#[test]
fn the_image_runs_a_command_that_exists() {
    let entry: Vec<String> = serde_json::from_str(&argument_of("ENTRYPOINT")).unwrap();
    assert_eq!(entry, ["/usr/bin/paybell"]);
    assert!(instructions().iter().any(|line| line == "COPY --from=build /paybell /usr/bin/paybell"));
    let command: Vec<String> = serde_json::from_str(&argument_of("CMD")).unwrap();
    is_command(&command.iter().map(String::as_str).collect::<Vec<_>>());
    let user = argument_of("USER");
    let of_compose = yaml("docker-compose.yml")[0]["services"]["worker"]["user"].as_str().unwrap().to_owned();
    assert_eq!(user, of_compose);
}

/// The probe asks the admin listener that the image's own variable names, which is where it answers.
#[test]
fn the_image_is_probed_where_it_answers() {
    let health = argument_of("HEALTHCHECK");
    let (_, command) = health.split_once("CMD ").unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(command, ["/usr/bin/paybell", "healthcheck"]);
    let nobody_there = paybell()
        .arg("healthcheck")
        .current_dir(tempfile::tempdir().unwrap().path())
        .env("PAYBELL__ADMIN__LISTEN", admin_address().replace(":8082", ":1"))
        .output()
        .unwrap();
    assert_eq!(nobody_there.status.code(), Some(1));
    let said = String::from_utf8(nobody_there.stderr).unwrap();
    assert!(said.contains("http://127.0.0.1:1/readyz"), "{said}");
}

/// Every crate of the workspace is among what the builder gets; secrets and build output are not.
#[test]
fn the_builder_gets_the_workspace_and_nothing_else() {
    let text = read("deploy/docker/Dockerfile.dockerignore");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines[0], "*", "everything else is shut out first");
    let let_in: BTreeSet<&str> = lines.iter().filter_map(|line| line.strip_prefix('!')).collect();
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let folder = member.as_str().unwrap().trim_end_matches("/*");
        assert!(let_in.contains(folder), "{folder} is not sent to the builder");
    }
    for needed in ["Cargo.toml", "Cargo.lock"] {
        assert!(let_in.contains(needed));
    }
    for path in &let_in {
        assert!(root().join(path).exists(), "{path}");
    }
    assert!(!let_in.iter().any(|path| path.starts_with("deploy") || path.starts_with("target")));
    let build = instructions().into_iter().find(|line| line.contains("cargo build")).unwrap();
    assert!(build.contains("--locked --release --package paybell "), "{build}");
    let rust = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(
        read(DOCKERFILE).contains(&format!("ARG RUST_IMAGE=rust:{rust}-")),
        "the toolchain is not {rust}"
    );
}
