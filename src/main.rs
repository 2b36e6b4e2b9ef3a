//! The binary: everything is in [`gate::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    gate::cli::main(std::env::args_os())
}
