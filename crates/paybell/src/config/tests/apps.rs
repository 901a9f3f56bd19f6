//! AppSecrets: where they stand, and that nobody sees them.

use super::*;
use crate::config::as_toml;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn an_app_secret_is_read_from_a_file_and_shown_nowhere() {
    let folder = Folder::new();
    let file = folder.put("app-secret", &format!("{SECRET}\n")).display().to_string();
    let text = format!(
        "{MERCHANT}[[merchant.app]]\nappid = \"wx8888888888888888\"\napp_secret_file = \"{file}\"\n\
         [[merchant.app]]\nappid = \"wx9999999999999999\"\napp_secret = \"{SECRET}\"\n"
    );
    let loaded = folder.load(&text, &[]);
    let shown = as_toml(&loaded.shown);
    let config = loaded.checked().unwrap();
    let apps = &config.merchants[0].apps;
    assert_eq!(apps.len(), 2);
    assert_eq!((apps[0].appid.as_str(), apps[0].secret.reveal()), ("wx8888888888888888", SECRET));
    assert!(!shown.contains(SECRET) && !format!("{config:?}").contains(SECRET));
    assert_eq!(shown.matches("[[merchant.app]]").count(), 2, "{shown}");
    // What is shown can be read again, but for the hidden secrets, which are put back here.
    let again = folder.load(&shown.replace("\"***\"", &format!("\"{SECRET}\"")), &[]).checked().unwrap();
    assert_eq!(again.merchants[0].apps.len(), 2);
}

#[test]
fn a_variable_stands_for_a_secret_too() {
    let folder = Folder::new();
    let variables = [
        ("PAYBELL__MERCHANT__0__APP__0__APPID", "wx8888888888888888"),
        ("PAYBELL__MERCHANT__0__APP__0__APP_SECRET", SECRET),
    ];
    let config = folder.load(MERCHANT, &variables).checked().unwrap();
    assert_eq!(config.merchants[0].apps[0].secret.reveal(), SECRET);
}

#[test]
fn what_is_wrong_with_an_app_is_named_without_the_secret() {
    let folder = Folder::new();
    let empty = folder.put("empty", "\n").display().to_string();
    for (lines, says) in [
        ("appid = \"wx1\"\n".to_owned(), "app_secret_file: missing"),
        (format!("app_secret = \"{SECRET}\"\n"), "appid: missing"),
        (format!("appid = \"wx1\"\napp_secret_file = \"{empty}\"\n"), "an AppSecret has 32"),
        ("appid = \"wx1\"\napp_secret = \"two words\"\n".to_owned(), "this text has 9 characters"),
        (format!("appid = \"wx1\"\napp_secret = \"{SECRET}\"\napp_secret_file = \"{empty}\"\n"), "not both"),
        (
            format!(
                "appid = \"wx1\"\napp_secret = \"{SECRET}\"\n[[merchant.app]]\nappid = \"wx1\"\napp_secret = \"x\"\n"
            ),
            "two entries have the appid",
        ),
    ] {
        let problems =
            folder.load(&format!("{MERCHANT}[[merchant.app]]\n{lines}"), &[]).checked().unwrap_err();
        let problems = problems.to_string();
        assert!(problems.contains(says) && !problems.contains(SECRET), "{lines}\n{problems}");
    }
    let other = MERCHANT.replace("1900000109", "1900000222");
    let app = |secret: &str| format!("[[merchant.app]]\nappid = \"wx1\"\napp_secret = \"{secret}\"\n");
    let two = |first: &str, second: &str| {
        folder.load(&format!("{MERCHANT}{}{other}{}", app(first), app(second)), &[]).checked()
    };
    assert!(two(SECRET, SECRET).is_ok());
    let refused = two(SECRET, "another").unwrap_err().to_string();
    assert!(refused.contains("two AppSecrets") && !refused.contains("another"), "{refused}");
}
