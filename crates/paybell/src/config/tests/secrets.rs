//! Keys, passwords and certificates: where they may lie, and that nothing repeats them.

use super::*;

#[test]
fn an_api_key_is_never_repeated() {
    let bad = ["short-secret", &format!("{KEY}-and-more"), &KEY.replace('1', "中"), &KEY.replace('1', " ")];
    let folder = Folder::new();
    for key in bad {
        let file = folder.put("key", key);
        let inline = MERCHANT.replace(KEY, key);
        let by_file =
            MERCHANT.replace("api_key =", "api_key_file =").replace(KEY, &file.display().to_string());
        for text in [inline, by_file] {
            let loaded = folder.load(&text, &[]);
            let said = format!("{:?} {}", loaded.shown, Problems(loaded.problems.clone()));
            assert!(loaded.problems.len() == 1 && said.contains("exactly 32"), "{said}");
            assert!(said.contains(&key.chars().count().to_string()), "the length found: {said}");
            assert!(!said.contains(key), "{said}");
        }
    }
    let shown = format!("{:?}", config(MERCHANT, &[]));
    assert!(!shown.contains(KEY) && !shown.contains("guest:guest"), "{shown}");
}

#[test]
fn a_server_s_url_may_lie_in_a_file_of_its_own() {
    let folder = Folder::new();
    let file = folder.put("url", "amqps://shop:hunter2@mq.example:5671/%2f\n").display().to_string();
    let with = |line: &str| folder.load(&format!("[rabbitmq]\n{line}\n{MERCHANT}"), &[]);
    let loaded = with(&format!("url_file = \"{file}\""));
    assert!(!format!("{:?}", loaded.shown).contains("hunter2"));
    let config = loaded.checked().unwrap();
    assert_eq!(config.rabbitmq.url.reveal(), "amqps://shop:hunter2@mq.example:5671/%2f");
    let both = with(&format!("url_file = \"{file}\"\nurl = \"amqp://127.0.0.1\""));
    assert!(both.problems[0].to_string().contains("url or url_file, not both"), "{:?}", both.problems);
    let other = folder.put("other", "http://shop:hunter2@mq.example").display().to_string();
    let said = with(&format!("url_file = \"{other}\"")).problems[0].to_string();
    assert!(said.contains("amqp://") && !said.contains("hunter2"), "{said}");
}

#[test]
fn a_private_authority_lies_in_a_file_with_a_certificate() {
    let folder = Folder::new();
    let pem = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
    let file = folder.put("ca.pem", pem).display().to_string();
    let other = folder.put("key.pem", "-----BEGIN PRIVATE KEY-----\n").display().to_string();
    let with = |file: &str| {
        folder.load(&format!("rabbitmq.ca_file = \"{file}\"\nredis.ca_file = \"{file}\"\n{MERCHANT}"), &[])
    };
    let config = with(&file).checked().unwrap();
    assert_eq!(config.rabbitmq.authorities.as_deref(), Some(pem.as_bytes()));
    assert_eq!(config.redis.authorities, config.rabbitmq.authorities);
    for (file, why) in [(other.as_str(), "holds no certificate"), ("/nowhere/ca.pem", "cannot read")] {
        let problems = with(file).problems;
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            told.len() == 2 && told.iter().all(|told| told.contains(why) && told.contains(file)),
            "{told:?}"
        );
    }
}

#[test]
fn keys_are_given_in_one_way_and_once() {
    let folder = Folder::new();
    let file = folder.put("key", &format!("{OTHER_KEY} \r\n")).display().to_string();
    let with = |line: &str| folder.load(&format!("{MERCHANT}{line}\n"), &[]);
    let rotating = with(&format!("previous_api_key_file = \"{file}\"")).checked().unwrap();
    assert_eq!(rotating.merchants[0].keys.len(), 2);
    let both = with(&format!("api_key_file = \"{file}\""));
    assert!(
        both.problems[0].to_string().contains("api_key or api_key_file, not both"),
        "{:?}",
        both.problems
    );
    let same = with(&format!("previous_api_key = \"{KEY}\""));
    assert!(same.problems[0].to_string().contains("is the current key"), "{:?}", same.problems);
    let twice = folder.load(&MERCHANT.repeat(2), &[]);
    assert!(twice.problems[0].to_string().contains("two merchants have the mch_id \"1900000109\""));
}
