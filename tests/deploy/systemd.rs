//! The units: what they run exists, their configuration is sound with the credentials they load, and systemd itself
//! finds nothing wrong with them. Not started here.

use std::{fs, process::Command};

use serde_json::Value;

use crate::{
    configuration::{Secrets, is_command, is_sound, paybell},
    installed, output_of, read,
};

const ROLES: [&str; 5] = ["ingress", "worker", "scheduler", "console", "proxy"];
/// systemd's own scale from 0 (shut) to 10 (open).
const EXPOSURE_MAX: f64 = 1.5;

/// The values of a key, in their order.
fn values(unit: &str, key: &str) -> Vec<String> {
    unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
}

/// Checks the unit's command and its configuration with its environment and credentials.
fn runs(unit: &str, role: &str, file: &str, more: &[(String, String)]) {
    let start = values(unit, "ExecStart")[0].replace("%i", role);
    let words: Vec<&str> = start.split_whitespace().collect();
    assert_eq!(words[0], "/usr/bin/paybell");
    is_command(&words[1..]);
    assert_eq!(words.last().unwrap().rsplit('/').next(), file.rsplit('/').next(), "it reads another file");
    let environment = values(unit, "Environment").into_iter().map(|pair| {
        let (name, value) = pair.split_once('=').unwrap();
        (name.to_owned(), value.replace("%S", "/var/lib"))
    });
    let environment: Vec<(String, String)> = environment.chain(more.iter().cloned()).collect();
    let credentials = values(unit, "LoadCredential");
    let names: Vec<&str> = credentials.iter().map(|line| line.split_once(':').unwrap().0).collect();
    is_sound(file, &environment, &Secrets { place: "%d", names: &names });
}

#[test]
fn the_embedded_unit_has_a_sound_configuration() {
    let unit = read("deploy/systemd/paybell.service");
    runs(&unit, "", "deploy/systemd/paybell.toml", &[]);
    assert_eq!(values(&unit, "StateDirectory"), ["paybell"]);
}

#[test]
fn a_command_by_hand_opens_the_store_of_the_embedded_unit() {
    let unit = read("deploy/systemd/paybell.service");
    let folder = tempfile::tempdir().unwrap();
    let (config, key) = (folder.path().join("paybell.toml"), folder.path().join("key"));
    fs::write(&config, read("deploy/systemd/paybell.toml")).unwrap();
    fs::write(&key, "192006250b4c09247ec02edce69f6a2d").unwrap();
    let by_hand = [("PAYBELL__MERCHANT__0__API_KEY_FILE", key.to_str().unwrap())];
    let data_dir = |more: &[(String, String)]| {
        let mut command = paybell();
        command.args(["config", "show", "--json", "--config"]).arg(&config).envs(by_hand);
        let shown: Value = serde_json::from_str(&output_of(command.envs(more.iter().cloned()))).unwrap();
        let key = shown.as_array().unwrap().iter().find(|row| row["key"] == "embedded.data_dir").unwrap();
        key["value"].as_str().unwrap().to_owned()
    };
    let environment = values(&unit, "Environment").into_iter().filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (!value.contains("%d")).then(|| (name.to_owned(), value.replace("%S", "/var/lib")))
    });
    let of_unit = data_dir(&environment.collect::<Vec<_>>());
    assert_eq!(of_unit, format!("/var/lib/{}", values(&unit, "StateDirectory")[0]));
    assert_eq!(data_dir(&[]), of_unit);
}

#[test]
fn every_role_has_a_unit_with_a_sound_configuration() {
    let unit = read("deploy/systemd/paybell@.service");
    let mut listens = Vec::new();
    for role in ROLES {
        let file = read(&format!("deploy/systemd/{role}.env"));
        let pairs =
            file.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once('='));
        let more: Vec<(String, String)> =
            pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        runs(&unit, role, "deploy/systemd/cluster.toml", &more);
        listens.extend(more.into_iter().map(|(_, value)| value));
    }
    let count = listens.len();
    listens.sort();
    listens.dedup();
    assert!(count > ROLES.len(), "each has an admin port, the proxy one more: {listens:?}");
    assert_eq!(listens.len(), count, "two roles of one machine want the same port: {listens:?}");
}

#[test]
fn systemd_accepts_the_units_and_calls_them_shut() {
    let Some(analyze) = installed("systemd-analyze") else { return };
    let folder = tempfile::tempdir().unwrap();
    for (name, copy) in
        [("paybell.service", "paybell.service"), ("paybell@.service", "paybell@worker.service")]
    {
        // The program and the environment file are not on this machine.
        let text = read(&format!("deploy/systemd/{name}"));
        let text =
            text.replace("/usr/bin/paybell", "/bin/true").replace("EnvironmentFile=", "EnvironmentFile=-");
        let path = folder.path().join(copy);
        fs::write(&path, text).unwrap();
        let said = output_of(Command::new(&analyze).args(["verify", "--man=no"]).arg(&path));
        assert!(!said.contains(copy), "{said}");
        let said = output_of(Command::new(&analyze).args(["security", "--offline=true"]).arg(&path));
        let level = said.rsplit_once("Overall exposure level").and_then(|(_, rest)| rest.split_once(": "));
        let exposure: f64 = level.unwrap().1.split(' ').next().unwrap().parse().unwrap();
        assert!(exposure <= EXPOSURE_MAX, "{said}");
    }
}

#[test]
fn the_units_give_a_process_time_to_end() {
    for name in ["paybell.service", "paybell@.service"] {
        let unit = read(&format!("deploy/systemd/{name}"));
        let seconds: u64 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
        assert!(seconds >= 27, "{name}");
        assert_eq!(values(&unit, "Restart"), ["always"], "{name}");
        // What `paybell` exits with when its configuration is wrong.
        assert_eq!(values(&unit, "RestartPreventExitStatus"), ["2"], "{name}");
    }
}
