//! Handling of Ctrl-C and termination signals: leaves no unfinished files behind.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nengo_wgpu::io::temporary;

use super::note;

/// The first signal received; 0 before.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// True if the program polls [`stopped`] and ends by itself.
static ASKED: AtomicBool = AtomicBool::new(false);
/// True once [`stopped`] has returned a signal.
static SEEN: AtomicBool = AtomicBool::new(false);
/// Time until a signal that nobody polls ends the program.
const PATIENCE: Duration = Duration::from_secs(5);
/// Checkpoint that a training can resume from.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Installs handlers that end the program cleanly on SIGINT, SIGTERM and SIGHUP.
#[cfg(unix)]
pub fn install() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = vec![SIGINT, SIGTERM];
    if !hang_up_is_ignored() {
        signals.push(SIGHUP);
    }
    // Without a handler, signals end the program as usual.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        std::thread::spawn(move || signals.forever().for_each(caught));
    }
}

/// Installs a handler that ends the program cleanly on Ctrl-C.
#[cfg(not(unix))]
pub fn install() {
    let _ = ctrlc::set_handler(|| caught(2));
}

/// True if the program was started to outlive its terminal, as by `nohup`, or if the system does not report it.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 << (signal_hook::consts::SIGHUP - 1) != 0)
}

/// Leaves the end to the poller, or ends the program at once. A second signal always ends it at once.
fn caught(signal: i32) {
    let first = CAUGHT.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if first && ASKED.load(Ordering::SeqCst) {
        std::thread::spawn(move || {
            std::thread::sleep(PATIENCE);
            if !SEEN.load(Ordering::SeqCst) {
                end(signal);
            }
        });
        return;
    }
    end(signal);
}

fn end(signal: i32) {
    temporary::remove_all();
    let checkpoint = CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let advice = match checkpoint.filter(|path| path.is_file()) {
        Some(path) => format!("; --resume continues from {}", path.display()),
        None => String::new(),
    };
    note(&format!("ended by {}{advice}", name(signal)));
    exit(128 + signal);
}

/// Exits without the handlers of drivers, which other threads may still be using.
#[cfg(unix)]
fn exit(code: i32) {
    signal_hook::low_level::exit(code);
}

#[cfg(not(unix))]
fn exit(code: i32) {
    std::process::exit(code);
}

/// Sets the checkpoint that a training can resume from.
pub fn can_resume(checkpoint: PathBuf) {
    *CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
}

/// From now on, a first signal only sets [`stopped`].
pub fn wait_for_me() {
    ASKED.store(true, Ordering::SeqCst);
}

/// The signal received, if any.
pub fn stopped() -> Option<i32> {
    let signal = Some(CAUGHT.load(Ordering::SeqCst)).filter(|signal| *signal != 0);
    SEEN.fetch_or(signal.is_some(), Ordering::SeqCst);
    signal
}

/// Exit code that shells expect from a program ended by a signal.
pub fn exit_code(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

/// Common name of a signal.
pub fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}
