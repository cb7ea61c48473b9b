//! The binary `doled`. All of it is a library, so that a fuzz target can reach the flags.

use std::process::ExitCode;

fn main() -> ExitCode {
    doled_cli::main()
}
