//! The limit on host memory, and the check of a size against it.

use std::fs;

use crate::error::{Error, Result};

/// Environment variable with the limit, as `6 GiB` or a number of bytes.
const VARIABLE: &str = "NENGO_WGPU_MEMORY";

/// Sizes below this many bytes are not checked.
const SMALL: u64 = 64 << 20;

/// Limit in bytes where the system does not report its memory.
const UNKNOWN: u64 = 16 << 30;

/// A limit on host memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allowance {
    /// The limit.
    pub bytes: u64,
    /// Source of the limit, for messages.
    pub by: &'static str,
}

impl Allowance {
    /// The limit: `setting`, else the environment variable, else nine tenths of the available memory.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the environment variable is not a size.
    pub fn of(setting: Option<u64>) -> Result<Self> {
        if let Some(bytes) = setting {
            return Ok(Self { bytes, by: "the memory setting" });
        }
        if let Some(bytes) = from_environment()? {
            return Ok(Self { bytes, by: VARIABLE });
        }
        Ok(Self { bytes: available().map_or(UNKNOWN, |bytes| bytes / 10 * 9), by: "this machine" })
    }

    /// Checks that `needed` bytes are within the limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`] with `what` and `hint`.
    pub fn check(&self, what: &str, needed: u64, hint: &str) -> Result<()> {
        if needed <= self.bytes {
            return Ok(());
        }
        let (what, hint) = (what.to_string(), hint.to_string());
        Err(Error::TooLarge { what, needed, limit: self.bytes, device: self.by.into(), hint })
    }
}

/// Bytes that the environment variable allows; `None` if it is unset or empty.
pub(crate) fn from_environment() -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    let wrong = || {
        let problem = format!("'{text}' is not a size of memory; write it as 6 GiB or in bytes");
        Error::invalid(format!("the environment variable {VARIABLE}"), problem)
    };
    parse(&text).map(Some).ok_or_else(wrong)
}

/// Checks that an array of shape `numbers` with elements of `size` bytes fits into memory, before it is allocated.
pub(crate) fn check(what: impl Fn() -> String, numbers: [usize; 2], size: u64) -> Result<()> {
    let needed = numbers.iter().fold(size, |all, &n| all.saturating_mul(n as u64));
    if needed < SMALL {
        return Ok(());
    }
    Allowance::of(None)?.check(&what(), needed, "make it smaller, or allow more memory by NENGO_WGPU_MEMORY")
}

/// Parses a number of bytes with a unit (`B`, `kB`, `KB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`) or without; `None` if
/// malformed.
pub(crate) fn parse(text: &str) -> Option<u64> {
    let split = text.find(char::is_alphabetic).unwrap_or(text.len());
    let number: f64 = text[..split].trim().parse().ok()?;
    let unit = match text[split..].trim() {
        "" | "B" => 1.0,
        "kB" | "KB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        "KiB" => 1024.0,
        "MiB" => 1_048_576.0,
        "GiB" => 1_073_741_824.0,
        _ => return None,
    };
    Some(number * unit).filter(|bytes| (0.0..1e18).contains(bytes)).map(|bytes| bytes as u64)
}

/// Bytes that this process can still allocate; `None` outside of Linux.
fn available() -> Option<u64> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| -> Option<u64> {
        let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
        rest.split_whitespace().find_map(|word| word.parse().ok())
    };
    let free = field(&read("/proc/meminfo"), "MemAvailable:").map(|kib| kib << 10);
    let used = field(&read("/proc/self/status"), "VmSize:").map_or(0, |kib| kib << 10);
    let space = field(&read("/proc/self/limits"), "Max address space").map(|all| all.saturating_sub(used));
    let group = |limit: &str, used: &str| -> Option<u64> {
        let (limit, used) = (read(limit).trim().parse().ok()?, read(used).trim().parse().unwrap_or(0));
        Some(u64::saturating_sub(limit, used))
    };
    let group = group("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current");
    [free, space, group].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_parsed_with_and_without_units() {
        for (text, bytes) in [
            ("6 GiB", Some(6 << 30)),
            ("1.5kB", Some(1500)),
            ("4096", Some(4096)),
            ("6 Gb", None),
            ("GiB", None),
        ] {
            assert_eq!(parse(text), bytes, "{text}");
        }
    }

    #[test]
    fn error_names_needed_and_allowed_bytes() {
        let allowance = Allowance { bytes: 1000, by: "the memory setting" };
        assert!(allowance.check("it", 1000, "").is_ok());
        let message = allowance.check("it", 1001, "make it smaller").unwrap_err().to_string();
        assert_eq!(message, "it needs 1001 bytes, but the memory setting allows 1000; make it smaller");
        let huge = check(|| "it".into(), [usize::MAX, 2], 8).unwrap_err().to_string();
        assert!(huge.starts_with("it needs more than 10^19 bytes, but "), "{huge}");
    }
}
