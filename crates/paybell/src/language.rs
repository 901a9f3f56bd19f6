//! The language of what a command writes: the one that was asked for, else that of the machine. One option for all
//! commands that write for people; what is said in it is theirs. Programs get JSON, which is in no language or in both.

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use doctor::Language;

use crate::config::{Secret, variable};

/// What POSIX asks for the language of messages, the first that is not empty.
const VARIABLES: [&str; 3] = ["LC_ALL", "LC_MESSAGES", "LANG"];

#[derive(Debug, Clone, Copy, Args)]
pub struct LanguageArgs {
    /// The language to write in [default: from LC_ALL, LC_MESSAGES or LANG]
    #[arg(long, value_name = "LANG", value_parser = parser())]
    lang: Option<Language>,
}

impl LanguageArgs {
    /// The one to write in.
    pub fn language(self) -> Language {
        self.lang.unwrap_or_else(|| of_machine(variable))
    }
}

fn parser() -> impl TypedValueParser<Value = Language> {
    let named = [PossibleValue::new("zh").help("中文"), PossibleValue::new("en").help("English")];
    PossibleValuesParser::new(named).map(|name| Language::of_locale(&name))
}

fn of_machine(variable: impl Fn(&str) -> Option<Secret>) -> Language {
    let set = |name| variable(name).filter(|value| !value.reveal().is_empty());
    let locale = VARIABLES.into_iter().find_map(set);
    Language::of_locale(locale.as_ref().map_or("", |locale| locale.reveal()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: LanguageArgs,
    }

    #[test]
    fn the_first_variable_that_says_something_counts() {
        let of = |all: &str, messages: &str, lang: &str| {
            of_machine(|name| {
                let value = match name {
                    "LC_ALL" => all,
                    "LC_MESSAGES" => messages,
                    "LANG" => lang,
                    _ => return None,
                };
                Some(Secret::new(value.to_owned()))
            })
        };
        assert_eq!(of("C", "zh_CN.UTF-8", "zh_CN.UTF-8"), Language::En);
        assert_eq!(of("", "zh_CN.UTF-8", "en_US.UTF-8"), Language::Zh);
        assert_eq!(of("", "", "zh_CN.UTF-8"), Language::Zh);
        assert_eq!(of_machine(|_| None), Language::En);
    }

    #[test]
    fn what_is_asked_for_wins_and_nothing_else_is_taken() {
        for (name, language) in [("zh", Language::Zh), ("en", Language::En)] {
            assert_eq!(Line::parse_from(["x", "--lang", name]).args.language(), language);
        }
        assert!(Line::try_parse_from(["x", "--lang", "zh_CN"]).is_err());
    }
}
