//! The one binary: reads the command line, has the command carried out, and says how it ended.

use std::process::ExitCode;

use clap::Parser;
use paybell::{cli::Cli, output};

/// A notification is allocated on one thread and freed on another. There the system's allocator of glibc takes locks: it
/// cost about a sixth of the processor time of the ingress at 256 connections.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

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
