//! Panics of callbacks as errors.

use crate::error::{Error, Result};

/// Calls `f`, a callback of the user. `what` names it in messages.
///
/// # Errors
/// [`Error::Callback`] if it panics.
pub(crate) fn guarded<R>(what: &str, f: impl FnOnce() -> R) -> Result<R> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f))
        .map_err(|cause| Error::Callback { what: what.to_string(), problem: panic_text(&*cause).to_string() })
}

/// Message of a panic, from its payload.
pub(crate) fn panic_text(cause: &(dyn std::any::Any + Send)) -> &str {
    let text = cause.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
