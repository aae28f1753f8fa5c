//! The `kith` command.

use std::process::ExitCode;

use clap::Parser;
use kith::config::{BridgeCommand, Command, Line};

/// Requests allocate many small objects and free them soon. The system's allocator takes a sixth of the time for that.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let line = Line::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("can't start: {error}")),
    };
    let done = match line.command {
        Command::Serve(config) => runtime.block_on(kith::serve::run(config)),
        Command::Doctor(config) => runtime.block_on(kith::doctor::run(config)),
        Command::Mcp(bridge) => match &bridge.instead {
            Some(BridgeCommand::Install(install)) => kith::install::run(&bridge, install),
            None => runtime.block_on(kith::bridge::run(bridge)),
        },
        Command::Plan(ask) => runtime.block_on(kith::access::billing::set(ask)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => fail(&message),
    }
}

fn fail(message: &str) -> ExitCode {
    eprintln!("kith: {message}");
    ExitCode::FAILURE
}
