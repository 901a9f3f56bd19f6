//! Each file by itself: it parses, its head says how it was tested, and docs/deployment.md has it in its table, in both
//! languages.

use crate::{files_below, read, root, yaml};

/// Every file that an operator installs, relative to the repository.
fn installed_files() -> Vec<String> {
    let relative = |path: std::path::PathBuf| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
    let mut files: Vec<String> = files_below("deploy").into_iter().map(relative).collect();
    files.retain(|path| !path.starts_with("deploy/compose/secrets/"));
    files.push("docker-compose.yml".to_owned());
    files
}

#[test]
fn every_file_parses() {
    let (mut yamls, mut jsons, mut tomls) = (0, 0, 0);
    for path in installed_files() {
        match path.rsplit('.').next().unwrap() {
            "yml" | "yaml" => {
                assert!(yaml(&path).iter().all(|document| document.is_object()), "{path}");
                yamls += 1;
            }
            "json" => {
                let text = read(&path);
                serde_json::from_str::<serde_json::Value>(&text)
                    .unwrap_or_else(|error| panic!("{path}: {error}"));
                jsons += 1;
            }
            "toml" => {
                read(&path).parse::<toml::Table>().unwrap_or_else(|error| panic!("{path}: {error}"));
                tomls += 1;
            }
            _ => {}
        }
    }
    assert!(yamls >= 10 && jsons >= 3 && tomls >= 4, "found {yamls} YAML, {jsons} JSON, {tomls} TOML");
}

/// JSON has no comments, and a list of four lines needs no proof.
#[test]
fn every_head_says_how_it_was_tested() {
    let exempt = [".json", ".env", ".dockerignore", "/namespace.yaml", "/rules.test.yml"];
    for path in installed_files().iter().filter(|path| !exempt.iter().any(|end| path.ends_with(end))) {
        let text = read(path);
        let head: Vec<&str> =
            text.lines().take_while(|line| line.starts_with('#') || line.is_empty()).collect();
        let head = head.join("\n");
        assert!(head.contains("# Tested:") || head.contains("# Untested"), "{path} begins with\n{head}");
    }
}

#[test]
fn both_documents_name_every_file() {
    for document in ["docs/deployment.md", "docs/deployment.zh-CN.md"] {
        let text = read(document);
        let missing: Vec<String> = installed_files()
            .into_iter()
            .filter(|path| {
                let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                !text.contains(&format!("`{path}`")) && !text.contains(&format!("`{folder}/`"))
            })
            .collect();
        assert!(missing.is_empty(), "{document} does not mention {missing:#?}");
    }
}

#[test]
fn both_documents_have_the_same_commands_and_tables() {
    let blocks = |text: &str| -> Vec<String> {
        let lines = |block: &str| -> Vec<String> {
            let words = block.lines().map(|line| line.split(" #").next().unwrap().trim().to_owned());
            words.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
        };
        text.split("```").skip(1).step_by(2).flat_map(lines).collect()
    };
    let counts = |text: &str| {
        let count = |start: &str| text.lines().filter(|line| line.starts_with(start)).count();
        (count("## "), count("| "))
    };
    let (english, chinese) = (read("docs/deployment.md"), read("docs/deployment.zh-CN.md"));
    assert_eq!(blocks(&english), blocks(&chinese));
    assert_eq!(counts(&english), counts(&chinese));
}

/// The commands that the document shows, and those in the heads of files.
#[test]
fn the_commands_in_the_document_exist() {
    let text = read("docs/deployment.md");
    let blocks = text.split("```").skip(1).step_by(2).flat_map(str::lines);
    let mut found = 0;
    for line in blocks.filter_map(|line| line.trim().strip_prefix("paybell ")) {
        let words: Vec<&str> = line.split(" #").next().unwrap().split_whitespace().collect();
        crate::configuration::is_command(&words);
        found += 1;
    }
    assert!(found >= 1, "only {found} commands in docs/deployment.md");
    let made = tempfile::tempdir().unwrap();
    crate::make_secrets(made.path());
    let mut files = 0;
    for word in text.split(['`', ' ', '\n']).filter(|word| word.starts_with("deploy/")) {
        let word = word.trim_end_matches(['.', ',']);
        let is_made =
            word.strip_prefix("deploy/compose/secrets/").is_some_and(|name| made.path().join(name).exists());
        assert!(is_made || root().join(word).exists(), "docs/deployment.md: {word}");
        files += 1;
    }
    assert!(files >= 10, "only {files} files in docs/deployment.md");
}
