//! Memory of the host: how much may be taken at once, and the refusal of what is larger.

use std::fs;

use crate::error::{Error, Result};

/// The environment variable that says how much may be taken at once, as `6 GiB` or a number of bytes.
const VARIABLE: &str = "NENGO_WGPU_MEMORY";

/// What less than this needs is not asked for.
const SMALL: u64 = 64 << 20;

/// What may be taken where the system does not tell what it has.
const UNKNOWN: u64 = 16 << 30;

/// Bytes that may be taken, and who says so.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Allowance {
    pub bytes: u64,
    pub by: &'static str,
}

impl Allowance {
    /// As `setting` says, else as the environment, else nine tenths of what the system can still give.
    pub fn of(setting: Option<u64>) -> Result<Self> {
        if let Some(bytes) = setting {
            return Ok(Self { bytes, by: "the memory setting" });
        }
        if let Some(bytes) = from_environment()? {
            return Ok(Self { bytes, by: VARIABLE });
        }
        Ok(Self { bytes: available().map_or(UNKNOWN, |bytes| bytes / 10 * 9), by: "this machine" })
    }

    /// Refuses what needs more.
    pub fn check(&self, what: &str, needed: u64, hint: &str) -> Result<()> {
        if needed <= self.bytes {
            return Ok(());
        }
        let (what, hint) = (what.to_string(), hint.to_string());
        Err(Error::TooLarge { what, needed, limit: self.bytes, device: self.by.into(), hint })
    }
}

/// What the environment variable allows, if it is set.
pub(crate) fn from_environment() -> Result<Option<u64>> {
    let Some(text) = std::env::var_os(VARIABLE).filter(|text| !text.is_empty()) else { return Ok(None) };
    let text = text.to_string_lossy();
    let wrong = || {
        let problem = format!("'{text}' is no size of memory; write it as 6 GiB or in bytes");
        Error::invalid(format!("the environment variable {VARIABLE}"), problem)
    };
    parse(&text).map(Some).ok_or_else(wrong)
}

/// Refuses `numbers` numbers of `size` bytes that would not fit into memory, before they are made.
pub(crate) fn check(what: impl Fn() -> String, numbers: [usize; 2], size: u64) -> Result<()> {
    let needed = numbers.iter().fold(size, |all, &n| all.saturating_mul(n as u64));
    if needed < SMALL {
        return Ok(());
    }
    Allowance::of(None)?.check(&what(), needed, "make it smaller, or allow more memory by NENGO_WGPU_MEMORY")
}

/// A number of bytes with a unit (`kB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`) or without.
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

/// What the system can still give this process; nothing where it does not tell.
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
    fn sizes_of_memory_are_read_with_and_without_units() {
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
    fn what_does_not_fit_is_refused_with_both_numbers() {
        let allowance = Allowance { bytes: 1000, by: "the memory setting" };
        assert!(allowance.check("it", 1000, "").is_ok());
        let message = allowance.check("it", 1001, "make it smaller").unwrap_err().to_string();
        assert_eq!(message, "it needs 1001 bytes, but the memory setting allows 1000; make it smaller");
        let huge = check(|| "it".into(), [usize::MAX, 2], 8).unwrap_err().to_string();
        assert!(huge.starts_with("it needs more than 10^19 bytes, but "), "{huge}");
    }
}
