//! What `config show` may tell of a value: all of it, nothing, or a URL without its password. Hides too much rather
//! than too little; [`super::show`] prints the result.

/// How a value appears.
#[derive(Clone, Copy)]
pub(super) enum Exposure {
    Plain,
    Hidden,
    /// A URL whose password is hidden.
    Url,
    /// The same, and what stands in its query is hidden: it may hold a token.
    UrlWithoutQuery,
}

/// The text as TOML, without what nobody may see.
pub(super) fn exposed(text: &str, exposure: Exposure) -> String {
    match exposure {
        Exposure::Plain => quoted(text),
        Exposure::Hidden => quoted("***"),
        Exposure::Url => quoted(&without_password(text)),
        Exposure::UrlWithoutQuery => match text.split_once('?') {
            Some((path, _)) => quoted(&format!("{}?…", without_password(path))),
            None => quoted(&without_password(text)),
        },
    }
}

/// `amqp://user:***@host`: from the first colon after the scheme to the last `@` before the path.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "***".to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    // A password with a bare slash would otherwise be shown in part.
    let at = rest.get(..authority_end).and_then(|authority| authority.rfind('@')).or_else(|| rest.rfind('@'));
    match at.and_then(|at| rest.split_at_checked(at)) {
        Some((credentials, host)) => {
            let user = credentials.split_once(':').map_or("", |(user, _)| user);
            format!("{scheme}://{user}:***{host}")
        }
        None => url.to_owned(),
    }
}

/// The text as TOML.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_loses_its_password_and_nothing_else() {
        for (url, shown) in [
            ("amqp://shop:hunter2@mq:5672/%2f", "amqp://shop:***@mq:5672/%2f"),
            ("amqp://shop:hun@ter2@mq/%2f", "amqp://shop:***@mq/%2f"),
            ("redis://:hunter2@cache", "redis://:***@cache"),
            ("redis://:hun/ter2@cache", "redis://:***@cache"),
            ("redis+sentinel://:hunter2@a:1,b:2/main", "redis+sentinel://:***@a:1,b:2/main"),
            ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
            ("hunter2", "***"),
        ] {
            assert_eq!(exposed(url, Exposure::Url), format!("\"{shown}\""), "{url}");
        }
        for (url, shown) in [
            ("https://shop.example/hook?token=hunter2", "https://shop.example/hook?…"),
            ("https://shop.example/hook", "https://shop.example/hook"),
            ("https://u:hunter2@shop.example/?t=hunter2?x", "https://u:***@shop.example/?…"),
            ("hunter2?hunter2", "***?…"),
        ] {
            assert_eq!(exposed(url, Exposure::UrlWithoutQuery), format!("\"{shown}\""), "{url}");
        }
        assert_eq!(exposed("hunter2", Exposure::Hidden), "\"***\"");
        assert_eq!(exposed("a\"b", Exposure::Plain), quoted("a\"b"));
    }
}
