//! The report for a person: area by area, what is wrong with its remedy below. Chooses no severity and no words.

use crate::finding::{Area, Finding, Language, Report, Severity, Text};

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    pub language: Language,
    pub colour: Colour,
    /// Columns of the terminal; `None` breaks no line.
    pub width: Option<usize>,
}

/// Whether severities are coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    Never,
    Terminal,
}

/// Columns in front of a finding's text.
const INDENT: usize = 10;

/// The whole report, without a line end at its end.
#[must_use]
pub fn listing(report: &Report, style: Style) -> String {
    let mut text = String::new();
    for (area, findings) in &report.areas {
        section(&mut text, *area, findings, style);
    }
    text.push_str(summary(report).of(style.language));
    text
}

fn section(text: &mut String, area: Area, findings: &[Finding], style: Style) {
    text.push_str(area.name(style.language));
    text.push('\n');
    for finding in findings {
        head(text, finding, style);
        let seen = finding.seen.of(style.language);
        if !seen.is_empty() {
            paragraph(text, seen, style);
        }
        let remedy = finding.remedy.of(style.language);
        if !remedy.is_empty() {
            let mark = match style.language {
                Language::En => "-> ",
                Language::Zh => "→ ",
            };
            paragraph(text, &format!("{mark}{remedy}"), style);
        }
    }
    text.push('\n');
}

fn head(text: &mut String, finding: &Finding, style: Style) {
    let word = word(finding.severity, style.language);
    let padding = INDENT.saturating_sub(2 + columns(word));
    let (on, off) = match style.colour {
        Colour::Never => ("", ""),
        Colour::Terminal => (colour(finding.severity), "\u{1b}[0m"),
    };
    let about = finding.about.of(style.language);
    let about = if about.is_empty() { String::new() } else { format!("  {about}") };
    text.push_str(&format!("  {on}{word}{off}{}{}{about}\n", " ".repeat(padding), finding.code));
}

fn word(severity: Severity, language: Language) -> &'static str {
    match (severity, language) {
        (Severity::NotLookedAt, Language::En) => "unseen",
        (severity, Language::En) => severity.as_str(),
        (Severity::Ok, Language::Zh) => "正常",
        (Severity::Hint, Language::Zh) => "提示",
        (Severity::NotLookedAt, Language::Zh) => "未检查",
        (Severity::Warning, Language::Zh) => "警告",
        (Severity::Error, Language::Zh) => "错误",
    }
}

fn colour(severity: Severity) -> &'static str {
    match severity {
        Severity::Ok => "\u{1b}[32m",
        Severity::Hint => "\u{1b}[36m",
        Severity::NotLookedAt => "\u{1b}[90m",
        Severity::Warning => "\u{1b}[33m",
        Severity::Error => "\u{1b}[1;31m",
    }
}

/// Indented, and broken where the terminal ends.
fn paragraph(text: &mut String, content: &str, style: Style) {
    let room = style.width.map_or(usize::MAX, |width| width.saturating_sub(INDENT).max(20));
    for line in content.lines().flat_map(|line| broken(line, room)) {
        text.push_str(&" ".repeat(INDENT));
        text.push_str(line.trim_end());
        text.push('\n');
    }
}

/// Lines of at most `room` columns, broken at blanks and between Chinese characters; a longer word stays whole.
fn broken(line: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for piece in pieces(line) {
        let needs = columns(piece.trim_end());
        if used > 0 && used + needs > room {
            lines.push(String::new());
            used = 0;
        }
        if let Some(last) = lines.last_mut() {
            last.push_str(piece);
        }
        used += columns(piece);
    }
    lines
}

/// What must stay together: a word with the blanks behind it, or one wide character with the marks behind it.
fn pieces(line: &str) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut start = 0;
    let mut previous: Option<char> = None;
    for (place, this) in line.char_indices() {
        let may_break = previous.is_some_and(|before| {
            let at_blank = before == ' ' && this != ' ';
            let at_wide =
                (is_wide(before) || is_wide(this)) && this != ' ' && !clings(this) && !opens(before);
            at_blank || at_wide
        });
        if may_break {
            pieces.extend(line.get(start..place));
            start = place;
        }
        previous = Some(this);
    }
    pieces.extend(line.get(start..));
    pieces
}

/// Marks that never begin a line.
fn clings(this: char) -> bool {
    "，。；：、！？）」』”’)],.;:!?".contains(this)
}

/// Marks that never end one.
fn opens(this: char) -> bool {
    "（「『“‘([".contains(this)
}

fn columns(text: &str) -> usize {
    text.chars().map(|this| if is_wide(this) { 2 } else { 1 }).sum()
}

/// Characters that take two columns on a terminal: Chinese ones and their punctuation.
fn is_wide(this: char) -> bool {
    matches!(this, '\u{1100}'..='\u{115f}' | '\u{2e80}'..='\u{a4cf}' | '\u{ac00}'..='\u{d7a3}' | '\u{f900}'..='\u{faff}' | '\u{fe30}'..='\u{fe6f}' | '\u{ff00}'..='\u{ff60}' | '\u{ffe0}'..='\u{ffe6}')
}

fn summary(report: &Report) -> Text {
    let (errors, warnings) = (report.count(Severity::Error), report.count(Severity::Warning));
    let unseen = report.count(Severity::NotLookedAt);
    let plural = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    let en = format!("{}, {}, {unseen} not looked at", plural(errors, "error"), plural(warnings, "warning"));
    let zh = format!("{errors} 个错误，{warnings} 个警告，{unseen} 项未检查");
    let (all_good_en, all_good_zh) = if errors + warnings == 0 { ("good: ", "良好：") } else { ("", "") };
    Text::new(format!("{all_good_en}{en}"), format!("{all_good_zh}{zh}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut report = Report::default();
        report.add(Area::Configuration, vec![Finding::ok("config-sound", "paybell.toml")]);
        let refused = Finding::error("key-refused", "merchant 1900000109, current key")
            .seen("WeChat refuses the signature", "微信支付不接受该签名")
            .remedy(
                "compare it with the merchant platform",
                "请在商户平台核对：账户中心 → API安全 → 设置APIv2密钥",
            );
        report.add(Area::WeChat, vec![refused, Finding::unseen("canary-left-out", "")]);
        report
    }

    #[test]
    fn a_report_reads_area_by_area_in_both_languages() {
        let style = Style { language: Language::En, colour: Colour::Never, width: None };
        let expected = "Configuration\n  ok      config-sound  paybell.toml\n\nWeChat Pay\n  \
                        error   key-refused  merchant 1900000109, current key\n          \
                        WeChat refuses the signature\n          -> compare it with the merchant platform\n  \
                        unseen  canary-left-out\n\n1 error, 0 warnings, 1 not looked at";
        assert_eq!(listing(&report(), style), expected);
        let style = Style { language: Language::Zh, colour: Colour::Never, width: Some(50) };
        let expected = "配置\n  正常    config-sound  paybell.toml\n\n微信支付\n  \
                        错误    key-refused  merchant 1900000109, current key\n          微信支付不接受该签名\n          \
                        → 请在商户平台核对：账户中心 → API安全 →\n          设置APIv2密钥\n  \
                        未检查  canary-left-out\n\n1 个错误，0 个警告，1 项未检查";
        assert_eq!(listing(&report(), style), expected);
    }

    #[test]
    fn only_a_terminal_sees_colours() {
        let style = |colour| Style { language: Language::En, colour, width: None };
        assert!(!listing(&report(), style(Colour::Never)).contains('\u{1b}'));
        assert!(listing(&report(), style(Colour::Terminal)).contains("\u{1b}[1;31merror\u{1b}[0m"));
    }

    #[test]
    fn lines_end_before_the_terminal_does() {
        let long = "一二三四五，六七八九十。".repeat(8) + &" word".repeat(30);
        for line in broken(&long, 31) {
            assert!(columns(line.trim_end()) <= 33, "{line}");
            assert!(!line.starts_with(['，', '。']), "{line}");
        }
        assert_eq!(broken("https://a-very-long-address.example/notify/pay", 10).len(), 1, "words stay whole");
        assert_eq!(broken(&long, usize::MAX).len(), 1);
    }
}
