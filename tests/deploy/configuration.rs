//! The binary as the files call it: the commands that exist, and whether a configuration with an environment is sound.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
};

use crate::{make_secrets, read};

/// A command with nothing of ours in its environment.
pub fn paybell() -> Command {
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("paybell");
    assert!(path.is_file(), "{} is missing: run `cargo build -p paybell` first", path.display());
    let mut command = Command::new(path);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("PAYBELL") || name == "RUST_LOG" {
            command.env_remove(name);
        }
    }
    command
}

/// The binary knows this command line: its words are commands or roles, its flags are flags of that command. What
/// stands between a flag and the next is the flag's value.
#[track_caller]
pub fn is_command(arguments: &[&str]) {
    let words_first = arguments.iter().take_while(|argument| !argument.starts_with("--"));
    let output = paybell().args(words_first).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !arguments.is_empty(), "paybell does not know {arguments:?}");
    let words: BTreeSet<&str> =
        help.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-').collect();
    let mut is_value = false;
    for argument in arguments {
        let is_flag = argument.starts_with("--");
        let is_known = is_value && !is_flag || words.contains(argument);
        assert!(is_known, "{argument} of {arguments:?} is not in\n{help}");
        is_value = is_flag;
    }
}

/// A configuration file with an environment, as a process would find them. Whatever the file or the environment
/// expects below `secrets` (a place in a container or unit) is looked for among the files of `deploy/make-secrets`, and
/// only there: a secret that is not handed out is a problem.
#[track_caller]
pub fn is_sound(file: &str, environment: &[(String, String)], handed_out: &Secrets<'_>) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path();
    make_secrets(&folder.join("made"));
    make_certificate(&folder.join("made"));
    for name in handed_out.names {
        fs::copy(folder.join("made").join(name), folder.join(name))
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let moved = |text: &str| text.replace(handed_out.place, folder.to_str().unwrap());
    let config = folder.join("paybell.toml");
    fs::write(&config, moved(&read(file))).unwrap();
    let mut command = paybell();
    command.args(["config", "check", "--config"]).arg(&config).stdin(Stdio::null());
    command.envs(environment.iter().map(|(name, value)| (name, moved(value))));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file} with {environment:?} and {:?}:\n{said}", handed_out.names);
}

/// What the merchant platform gives, under every name that the files have for it.
fn make_certificate(folder: &Path) {
    let pair = rcgen::generate_simple_self_signed(["merchant".to_owned()]).unwrap();
    let texts = [pair.cert.pem(), pair.signing_key.serialize_pem()];
    for names in [["client-cert", "client-key"], ["apiclient_cert.pem", "apiclient_key.pem"]] {
        for (name, text) in names.iter().zip(&texts) {
            fs::write(folder.join(name), text).unwrap();
        }
    }
}

/// The secrets that a process gets, and where it sees them.
pub struct Secrets<'s> {
    pub place: &'s str,
    pub names: &'s [&'s str],
}

#[test]
fn a_command_that_does_not_exist_is_noticed() {
    is_command(&["run", "ingress", "--config", "/etc/paybell/paybell.toml"]);
    for wrong in
        [&["serve"][..], &["run", "cashier"], &["run", "--role", "ingress"], &["simulate", "--port", "1"]]
    {
        let result = std::panic::catch_unwind(|| is_command(wrong));
        assert!(result.is_err(), "{wrong:?} passed");
    }
}

#[test]
fn a_secret_that_is_not_handed_out_is_noticed() {
    let file = "deploy/compose/paybell.toml";
    let environment = [("PAYBELL__RABBITMQ__URL_FILE".to_owned(), "/run/secrets/amqp-url".to_owned())];
    let place = "/run/secrets";
    is_sound(file, &environment, &Secrets { place, names: &["wechat-key", "amqp-url"] });
    let without = std::panic::catch_unwind(|| {
        is_sound(file, &environment, &Secrets { place, names: &["wechat-key"] });
    });
    assert!(without.is_err());
    let unknown = [("PAYBELL__RABBITMQ__ADDRESS".to_owned(), "x".to_owned())];
    let misspelt = std::panic::catch_unwind(|| {
        is_sound(file, &unknown, &Secrets { place, names: &["wechat-key"] });
    });
    assert!(misspelt.is_err());
}
