//! The texts of single values, parsed: lengths of time, rates, addresses, URLs. Each refusal says how to write it
//! right. Opens no file and resolves no name.

use std::{net::IpAddr, path::PathBuf};

use hyper::Uri;
use paybell_core::{AppId, MchId, OpenidPolicy, Unregistered, time::Millis};

/// Longest time that can be configured: past it sums of times could not be told from nonsense.
const DAYS_MAX: i64 = 36_500;

/// `500ms`, `15s`, `3m`, `6h`, `35d`.
pub fn duration(text: &str) -> Result<Millis, String> {
    let wrong = || {
        format!("\"{text}\" is no length of time: write a whole number and ms, s, m, h or d, such as \"15s\"")
    };
    let split = text.find(|letter: char| !letter.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    let number: i64 = number.parse().map_err(|_| wrong())?;
    match number.checked_mul(unit_ms) {
        Some(0) => Err(format!("\"{text}\" must be longer than nothing")),
        Some(millis) if millis <= DAYS_MAX * 86_400_000 => Ok(Millis(millis)),
        _ => Err(format!("\"{text}\" is longer than {DAYS_MAX}d")),
    }
}

/// The same, with a lower bound.
pub(super) fn duration_from(least: &'static str) -> impl Fn(&str) -> Result<Millis, String> {
    move |text| {
        let (length, least_length) = (duration(text)?, duration(least)?);
        if length < least_length {
            Err(format!("\"{text}\" is too short: at least \"{least}\""))
        } else {
            Ok(length)
        }
    }
}

/// The same, with an upper bound.
pub(super) fn duration_to(most: &'static str) -> impl Fn(&str) -> Result<Millis, String> {
    move |text| {
        let (length, most_length) = (duration(text)?, duration(most)?);
        if length > most_length {
            Err(format!("\"{text}\" is too long: at most \"{most}\""))
        } else {
            Ok(length)
        }
    }
}

/// `50/s`: how many in a second.
pub(super) fn per_second(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").and_then(|number| number.parse().ok());
    number.filter(|number| (1..=100_000).contains(number)).ok_or_else(|| {
        format!("\"{text}\" is no rate: write how many in a second, such as \"50/s\" (1 to 100000)")
    })
}

/// A name under which a listener is reached: `HOST` or `HOST:PORT`.
pub(super) fn host(text: &str) -> Result<String, String> {
    let is_host =
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"/@*".contains(&byte));
    if is_host { Ok(text.to_owned()) } else { Err(format!("\"{text}\" is no host: write HOST or HOST:PORT")) }
}

/// Where a listener is to be bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenAddress(String);

impl ListenAddress {
    /// `HOST:PORT`, the host an address or a name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("\"{text}\" is no address to listen on: write HOST:PORT, such as \"0.0.0.0:8080\"");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let is_ip = unbracketed(host).parse::<IpAddr>().is_ok();
        let is_name = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
            && host.bytes().any(|byte| byte.is_ascii_alphabetic());
        let bare_v6 = host.contains(':') && !host.starts_with('[');
        match port.parse::<u16>() {
            Ok(_) if (is_ip || is_name) && !bare_v6 => Ok(Self(text.to_owned())),
            _ => Err(wrong()),
        }
    }

    /// As the socket layer takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        unbracketed(self.0.rsplit_once(':').map_or(self.0.as_str(), |(host, _)| host))
    }

    /// Whether only this machine reaches it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// Two of these cannot be bound at once.
    pub(super) fn takes_a_fixed_port(&self) -> bool {
        !self.0.ends_with(":0")
    }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

/// `https://host` or `http://host:port`, nothing behind it; given back without a slash at the end.
pub fn base_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}: write it like \"https://api.mch.weixin.qq.com\"");
    let (scheme, authority, path) = split_url(text).ok_or_else(|| wrong("is no http or https URL"))?;
    if path == "/" { Ok(format!("{scheme}://{authority}")) } else { Err(wrong("must not have a path")) }
}

/// Where WeChat reaches the public listener; a path in front of `/notify/pay` is allowed.
pub(super) fn public_url(text: &str) -> Result<String, String> {
    let wrong = |why: &str| format!("\"{text}\" {why}: write it like \"https://pay.example.com\"");
    let (scheme, authority, path) = split_url(text).ok_or_else(|| wrong("is no http or https URL"))?;
    if path.contains('?') {
        return Err(wrong("must not have a query: WeChat refuses a notify_url with one"));
    }
    Ok(format!("{scheme}://{authority}{}", path.trim_end_matches('/')))
}

fn split_url(text: &str) -> Option<(String, String, String)> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.host().is_empty())?;
    let is_plain = !authority.as_str().contains('@') && !text.contains('#');
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    is_plain.then(|| (scheme.to_owned(), authority.to_string(), path.to_owned()))
}

/// A URL of one of these schemes. Its text may hold a password and is never repeated.
pub(super) fn url_of(schemes: &'static [&'static str]) -> impl Fn(&str) -> Result<String, String> {
    move |text| {
        let known =
            text.split_once("://").filter(|(scheme, rest)| schemes.contains(scheme) && !rest.is_empty());
        match known {
            Some(_) => Ok(text.to_owned()),
            None => Err(format!("must be a URL that begins with {}://", schemes.join(":// or "))),
        }
    }
}

/// What stands before every queue name or key in a shared server.
pub(super) fn prefix(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let ok = (1..=64).contains(&text.len()) && text.bytes().all(fits);
    ok.then(|| text.to_owned()).ok_or_else(|| format!("\"{text}\" must be 1 to 64 letters, digits, - _ or ."))
}

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() { Err("must not be empty".to_owned()) } else { Ok(PathBuf::from(text)) }
}

pub(super) fn mch_id(text: &str) -> Result<MchId, String> {
    MchId::new(text)
        .map_err(|_| format!("\"{text}\" must be 1 to 32 letters or digits, such as \"1900000109\""))
}

pub(super) fn app_id(text: &str) -> Result<AppId, String> {
    AppId::new(text).map_err(|_| format!("\"{text}\" must be 1 to 32 letters, digits, _ or -"))
}

pub(super) fn openid(text: &str) -> Result<OpenidPolicy, String> {
    one_of(text, &[("omit", OpenidPolicy::Omit), ("include", OpenidPolicy::Include)])
}

pub(super) fn unregistered(text: &str) -> Result<Unregistered, String> {
    use Unregistered::{Emit, Hold, Ignore};
    one_of(text, &[("emit", Emit), ("hold", Hold), ("ignore", Ignore)])
}

/// One of a few words; the refusal names them all.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let all = words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or ");
        format!("\"{text}\" must be {all}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (text, millis) in
            [("500ms", 500), ("15s", 15_000), ("3m", 180_000), ("6h", 21_600_000), ("35d", 3_024_000_000)]
        {
            assert_eq!(duration(text), Ok(Millis(millis)), "{text}");
        }
        for text in
            ["", "15", "s", "15 s", "1.5h", "-3s", "15S", "0s", "1w", "9999999999999999999d", "40000d"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(duration_from("16d")("383h").is_err());
        assert_eq!(duration_from("16d")("384h"), Ok(Millis(1_382_400_000)));
        assert!(duration_to("5m")("301s").is_err());
        assert_eq!(duration_to("5m")("300s"), Ok(Millis(300_000)));
    }

    #[test]
    fn rates() {
        assert_eq!(per_second("50/s"), Ok(50));
        for text in ["50", "0/s", "50/m", "/s", "1.5/s", "-1/s", "1000001/s"] {
            assert!(per_second(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_to_listen_on() {
        for (text, loopback) in [
            ("0.0.0.0:8080", false),
            ("127.0.0.1:0", true),
            ("127.8.0.1:1", true),
            ("[::1]:80", true),
            ("[::]:80", false),
            ("localhost:80", true),
            ("pay.example.com:80", false),
        ] {
            assert_eq!(ListenAddress::parse(text).unwrap().is_loopback(), loopback, "{text}");
        }
        for text in [
            "",
            "8080",
            ":8080",
            "localhost",
            "localhost:",
            "localhost:70000",
            "::1:80",
            "a b:80",
            "1.2.3:80",
            "http://x:80",
        ] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls() {
        assert_eq!(
            base_url("https://api.mch.weixin.qq.com/").as_deref(),
            Ok("https://api.mch.weixin.qq.com")
        );
        assert_eq!(base_url("http://127.0.0.1:9000").as_deref(), Ok("http://127.0.0.1:9000"));
        for text in [
            "api.mch.weixin.qq.com",
            "/x",
            "ftp://x",
            "https://x/pay",
            "https://x?y=1",
            "https://u:p@x",
            "https://",
            "https://x/#a",
        ] {
            assert!(base_url(text).is_err(), "{text}");
        }
        assert_eq!(public_url("https://shop.example/pay/").as_deref(), Ok("https://shop.example/pay"));
        assert!(public_url("https://shop.example/pay?a=1").is_err());
        let refused = url_of(&["amqp", "amqps"])("http://user:secret@host").unwrap_err();
        assert!(refused.contains("amqp:// or amqps://") && !refused.contains("secret"), "{refused}");
    }
}
