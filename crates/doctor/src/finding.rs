//! What the doctor found: a stable code, how bad it is, what was seen and what to do, in both languages. Prints nothing;
//! [`crate::listing`] does.

use serde_json::{Value, json};

/// How bad it is, from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Hint,
    /// Could not be looked at; says why.
    NotLookedAt,
    /// Works today.
    Warning,
    /// Payments are missed or events are wrong until it is mended.
    Error,
}

impl Severity {
    pub const ALL: [Severity; 5] =
        [Severity::Ok, Severity::Hint, Severity::NotLookedAt, Severity::Warning, Severity::Error];

    /// The word in JSON and in English.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Severity::Ok => "ok",
            Severity::Hint => "hint",
            Severity::NotLookedAt => "not-looked-at",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// A text in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Text {
    pub en: String,
    pub zh: String,
}

impl Text {
    pub fn new(en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { en: en.into(), zh: zh.into() }
    }

    /// In the language asked for.
    #[must_use]
    pub fn of(&self, language: Language) -> &str {
        language.pick(&self.en, &self.zh)
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({ "en": self.en, "zh": self.zh })
    }
}

/// A name, the same in both languages.
impl From<&str> for Text {
    fn from(name: &str) -> Self {
        Self::new(name, name)
    }
}

impl From<String> for Text {
    fn from(name: String) -> Self {
        Self { zh: name.clone(), en: name }
    }
}

impl From<&String> for Text {
    fn from(name: &String) -> Self {
        Self::from(name.as_str())
    }
}

/// What a person reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    En,
    Zh,
}

impl Language {
    /// From the value of `LC_ALL` or `LANG`, such as `zh_CN.UTF-8`.
    #[must_use]
    pub fn of_locale(locale: &str) -> Self {
        if locale.to_ascii_lowercase().starts_with("zh") { Self::Zh } else { Self::En }
    }

    /// One of two texts that say the same.
    #[must_use]
    pub const fn pick<'t>(self, en: &'t str, zh: &'t str) -> &'t str {
        match self {
            Language::En => en,
            Language::Zh => zh,
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Stable; documented in `docs/doctor.md`.
    pub code: &'static str,
    pub severity: Severity,
    /// What it is about: a merchant, a URL, a file.
    pub about: Text,
    pub seen: Text,
    /// Empty where nothing is to be done.
    pub remedy: Text,
}

impl Finding {
    pub fn ok(code: &'static str, about: impl Into<Text>) -> Self {
        Self::new(code, Severity::Ok, about)
    }

    pub fn hint(code: &'static str, about: impl Into<Text>) -> Self {
        Self::new(code, Severity::Hint, about)
    }

    pub fn unseen(code: &'static str, about: impl Into<Text>) -> Self {
        Self::new(code, Severity::NotLookedAt, about)
    }

    pub fn warning(code: &'static str, about: impl Into<Text>) -> Self {
        Self::new(code, Severity::Warning, about)
    }

    pub fn error(code: &'static str, about: impl Into<Text>) -> Self {
        Self::new(code, Severity::Error, about)
    }

    fn new(code: &'static str, severity: Severity, about: impl Into<Text>) -> Self {
        let (seen, remedy) = (Text::default(), Text::default());
        Self { code, severity, about: about.into(), seen, remedy }
    }

    /// What was seen, in English and Chinese.
    #[must_use]
    pub fn seen(self, en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { seen: Text::new(en, zh), ..self }
    }

    /// What to do.
    #[must_use]
    pub fn remedy(self, en: impl Into<String>, zh: impl Into<String>) -> Self {
        Self { remedy: Text::new(en, zh), ..self }
    }

    fn to_json(&self, area: Area) -> Value {
        json!({
            "code": self.code,
            "severity": self.severity.as_str(),
            "area": area.as_str(),
            "about": self.about.en,
            "seen": self.seen.to_json(),
            "remedy": self.remedy.to_json(),
        })
    }
}

/// A part of the installation. The report goes through them in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    Configuration,
    Machine,
    WeChat,
    Notify,
    Service,
    Rabbitmq,
    Redis,
    Endpoints,
}

impl Area {
    /// The word in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Area::Configuration => "configuration",
            Area::Machine => "machine",
            Area::WeChat => "wechat",
            Area::Notify => "notify-url",
            Area::Service => "service",
            Area::Rabbitmq => "rabbitmq",
            Area::Redis => "redis",
            Area::Endpoints => "endpoints",
        }
    }

    /// The heading.
    #[must_use]
    pub const fn name(self, language: Language) -> &'static str {
        match (self, language) {
            (Area::Configuration, Language::En) => "Configuration",
            (Area::Configuration, Language::Zh) => "配置",
            (Area::Machine, Language::En) => "This machine",
            (Area::Machine, Language::Zh) => "本机",
            (Area::WeChat, Language::En) => "WeChat Pay",
            (Area::WeChat, Language::Zh) => "微信支付",
            (Area::Notify, Language::En) => "Notify URL",
            (Area::Notify, Language::Zh) => "通知地址 (notify_url)",
            (Area::Service, Language::En) => "Running service",
            (Area::Service, Language::Zh) => "运行中的服务",
            (Area::Rabbitmq, _) => "RabbitMQ",
            (Area::Redis, _) => "Redis",
            (Area::Endpoints, Language::En) => "Webhooks and old handlers",
            (Area::Endpoints, Language::Zh) => "Webhook 与旧回调程序",
        }
    }
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    pub areas: Vec<(Area, Vec<Finding>)>,
}

impl Report {
    /// Takes the findings of one area.
    pub fn add(&mut self, area: Area, findings: Vec<Finding>) {
        if !findings.is_empty() {
            self.areas.push((area, findings));
        }
    }

    /// Findings of one severity.
    #[must_use]
    pub fn count(&self, severity: Severity) -> usize {
        self.all().filter(|finding| finding.severity == severity).count()
    }

    /// For programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rows =
            self.areas.iter().flat_map(|(area, findings)| findings.iter().map(|one| one.to_json(*area)));
        json!({
            "findings": rows.collect::<Vec<_>>(),
            "errors": self.count(Severity::Error),
            "warnings": self.count(Severity::Warning),
        })
    }

    fn all(&self) -> impl Iterator<Item = &Finding> {
        self.areas.iter().flat_map(|(_, findings)| findings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_tells_the_language() {
        for locale in ["zh_CN.UTF-8", "zh", "ZH_tw", "zh-Hans"] {
            assert_eq!(Language::of_locale(locale), Language::Zh, "{locale}");
        }
        for locale in ["", "C", "en_US.UTF-8", "de_DE"] {
            assert_eq!(Language::of_locale(locale), Language::En, "{locale}");
        }
    }

    #[test]
    fn a_report_counts_and_tells_programs_everything() {
        let mut report = Report::default();
        report.add(Area::Redis, Vec::new());
        let finding = Finding::error("key-refused", "merchant 1").seen("no", "否").remedy("do", "做");
        report.add(Area::WeChat, vec![Finding::ok("key-good", "merchant 2"), finding]);
        assert_eq!((report.count(Severity::Error), report.count(Severity::Warning)), (1, 0));
        let json = report.to_json();
        assert_eq!(json["errors"], 1);
        assert_eq!(
            json["findings"][1],
            json!({
                "code": "key-refused", "severity": "error", "area": "wechat", "about": "merchant 1",
                "seen": { "en": "no", "zh": "否" }, "remedy": { "en": "do", "zh": "做" },
            })
        );
        assert_eq!(report.areas.len(), 1, "an area without findings is left out");
    }
}
