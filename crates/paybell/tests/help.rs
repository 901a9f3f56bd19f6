//! The help of every command, word for word: it is a part of the outside contract.

use clap::CommandFactory;
use paybell::cli::Cli;

#[test]
fn every_command_has_the_help_that_was_reviewed() {
    let mut root = Cli::command().term_width(100);
    root.build();
    let mut helps = Vec::new();
    collect(&root, &mut helps);
    let names: Vec<&str> = helps.iter().map(|(name, _)| name.as_str()).collect();
    for name in
        ["run", "simulate", "config-check", "order-register", "events-tail", "dead-replay", "sign", "verify"]
    {
        assert!(names.contains(&format!("paybell-{name}").as_str()), "{name} in {names:?}");
    }
    for (name, help) in helps {
        insta::assert_snapshot!(name, help);
    }
}

fn collect(command: &clap::Command, helps: &mut Vec<(String, String)>) {
    let name = command.get_bin_name().unwrap_or("paybell").replace(' ', "-");
    helps.push((name, command.clone().render_long_help().to_string()));
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        collect(inner, helps);
    }
}
