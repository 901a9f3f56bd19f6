//! The one binary: reads the command line, has the command carried out, and says how it ended.

use std::process::ExitCode;

use clap::Parser;
use paybell::{cli::Cli, output};

fn main() -> ExitCode {
    match Cli::parse().carry_out() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let code = error.exit_code();
            if code != 0 {
                output::remark(&format!("paybell: {error}"));
            }
            ExitCode::from(code)
        }
    }
}
