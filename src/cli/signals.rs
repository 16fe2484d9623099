//! What Ctrl-C and the requests to end do: nothing half-done is left behind.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nengo_wgpu::io::temporary;

use super::note;

/// The first signal that came; 0 before.
static CAUGHT: AtomicI32 = AtomicI32::new(0);
/// Whether somebody asks [`stopped`] and ends by themselves.
static ASKED: AtomicBool = AtomicBool::new(false);
/// Whether [`stopped`] has told somebody.
static SEEN: AtomicBool = AtomicBool::new(false);
/// How long a signal waits for somebody to ask.
const PATIENCE: Duration = Duration::from_secs(5);
/// A checkpoint that a training can go on from.
static CHECKPOINT: Mutex<Option<PathBuf>> = Mutex::new(None);

/// Ends the program tidily on SIGINT, SIGTERM and SIGHUP from now on.
#[cfg(unix)]
pub fn install() {
    use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
    let mut signals = vec![SIGINT, SIGTERM];
    if !hang_up_is_ignored() {
        signals.push(SIGHUP);
    }
    // Without a handler the program ends as any other does.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new(signals) {
        std::thread::spawn(move || signals.forever().for_each(caught));
    }
}

/// Ends the program tidily on Ctrl-C from now on.
#[cfg(not(unix))]
pub fn install() {
    let _ = ctrlc::set_handler(|| caught(2));
}

/// Whether the program was started to outlive its terminal, as by `nohup`; as if it was where the system does not tell.
#[cfg(unix)]
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_none_or(|mask| mask & 1 << (signal_hook::consts::SIGHUP - 1) != 0)
}

/// Leaves it to who asks, or ends the program at once; at once too if it is asked a second time.
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
        Some(path) => format!("; --resume goes on from {}", path.display()),
        None => String::new(),
    };
    note(&format!("ended by {}{advice}", name(signal)));
    exit(128 + signal);
}

/// Without the handlers of drivers, which other threads may still be in.
#[cfg(unix)]
fn exit(code: i32) {
    signal_hook::low_level::exit(code);
}

#[cfg(not(unix))]
fn exit(code: i32) {
    std::process::exit(code);
}

/// Names the checkpoint that a training goes on from, once it is there.
pub fn can_resume(checkpoint: PathBuf) {
    *CHECKPOINT.lock().unwrap_or_else(PoisonError::into_inner) = Some(checkpoint);
}

/// From now on a first signal ends nothing by itself: [`stopped`] tells of it.
pub fn wait_for_me() {
    ASKED.store(true, Ordering::SeqCst);
}

/// The signal that came, if one has.
pub fn stopped() -> Option<i32> {
    let signal = Some(CAUGHT.load(Ordering::SeqCst)).filter(|signal| *signal != 0);
    SEEN.fetch_or(signal.is_some(), Ordering::SeqCst);
    signal
}

/// What shells are told of a program that a signal ended.
pub fn exit_code(signal: i32) -> ExitCode {
    ExitCode::from(u8::try_from(128 + signal).unwrap_or(1))
}

/// What users call a signal.
pub fn name(signal: i32) -> &'static str {
    match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        15 => "SIGTERM",
        _ => "a signal",
    }
}
