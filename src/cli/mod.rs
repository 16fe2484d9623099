//! The command line.

/// [`say`] with a format.
macro_rules! sayln {
    ($($text:tt)*) => { $crate::cli::say(&format!($($text)*)) };
}

mod bench;
mod check;
mod info;
mod log;
mod pictures;
mod places;
mod plan;
mod progress;
mod record;
mod run;
mod signals;
mod train;

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{Parser, Subcommand};
use nengo_wgpu::internals::text::{MOST_OF_MESSAGE, cut, short_numbers, visible};
use nengo_wgpu::io::dataset::Dataset;
use nengo_wgpu::toml::NetworkSpec;
use nengo_wgpu::{Device, Result};

/// Simulates and trains Nengo-style networks on any GPU, and on the CPU.
#[derive(Parser)]
#[command(name = "nengo-wgpu", version, arg_required_else_help = true, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER: &str = "Example: nengo-wgpu train examples/digits.toml\n\
    Exit codes: 0 done, 1 failed (the reason is on stderr), 2 wrong use, 128 + the signal that ended it.";

#[derive(Subcommand)]
enum Command {
    Train(train::TrainArgs),
    Run(run::RunArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Info(info::InfoArgs),
    /// Measures how fast this machine simulates and trains.
    Bench(bench::BenchArgs),
}

/// Device selection.
#[derive(clap::Args)]
struct DeviceArg {
    /// auto, gpu, software, cpu or a part of an adapter's name [default: $NENGO_WGPU_DEVICE or auto]
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
}

impl DeviceArg {
    fn open(&self) -> Result<Device> {
        match &self.device {
            Some(selector) => Device::select(selector),
            None => Device::from_env(),
        }
    }
}

/// Runs the command line. Exit code 1 is a failed run; clap exits with 2 for wrong use.
pub fn main() -> ExitCode {
    let command = Cli::parse().command;
    signals::install();
    let result = match command {
        Command::Train(args) => train::run(&args),
        Command::Run(args) => run::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Plan(args) => plan::run(&args),
        Command::Info(args) => info::run(&args),
        Command::Bench(args) => bench::run(&args),
    };
    let said = NOT_SAID.get().map(|error| format!("the results could not be printed: {error}"));
    match result {
        Ok(()) => match said {
            None => signals::stopped().map_or(ExitCode::SUCCESS, signals::exit_code),
            Some(problem) => {
                note(&format!("error: {problem}"));
                ExitCode::FAILURE
            }
        },
        Err(error) => {
            note(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Reads a file; `place` replaces the location of its data.
fn read_spec(file: &Path, place: Option<&PathBuf>) -> Result<NetworkSpec> {
    let mut spec = NetworkSpec::read(file)?;
    if let Some(place) = place {
        spec.set_data_path(place)?;
    }
    Ok(spec)
}

/// The first `given` examples, or all; warns if there are fewer.
fn first_examples(all: Dataset, given: Option<usize>) -> Dataset {
    match given {
        Some(n) if n < all.len() => all.select(&(0..n).collect::<Vec<_>>()),
        Some(n) if n > all.len() => {
            note(&format!("warning: --examples is {n}, but there are only {}; all are taken", all.len()));
            all
        }
        _ => all,
    }
}

/// Parses an option that is a count.
fn count(text: &str) -> std::result::Result<usize, String> {
    let wrong = || "it must be a whole number of at least 1".to_string();
    text.parse().ok().filter(|&n| n > 0).ok_or_else(wrong)
}

/// Error of printing results, if any.
static NOT_SAID: OnceLock<std::io::Error> = OnceLock::new();

/// Prints a result. A closed pipe, as in `| head`, is not an error, but a full disk is.
fn say(text: &str) {
    let mut out = std::io::stdout();
    let lines: Vec<String> = text.split('\n').map(visible).collect();
    match writeln!(out, "{}", lines.join("\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => drop(NOT_SAID.set(error)),
        _ => {}
    }
}

/// Prints a note on stderr, as one line of limited length.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{}", cut(&short_numbers(&visible(text)), MOST_OF_MESSAGE));
}

/// Formats rows as columns of equal width, except the last. The middle of long cells is cut.
fn table(rows: &[Vec<String>]) -> String {
    let cell = |text: &String| cut(&visible(text), 120);
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "  {cell:width$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text.trim_end_matches('\n').to_string()
}
