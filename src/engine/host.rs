//! What the machine itself has, which no driver tells.

use std::fs;

/// Bytes of memory that this machine gives to all its processes, or to those of this container; nothing where it does not
/// tell, as outside of Linux.
pub fn memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let bytes = 1024 * total.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?;
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let limit = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    Some(groups.into_iter().filter_map(limit).fold(bytes, u64::min))
}

#[cfg(test)]
mod tests {
    #[test]
    #[cfg(target_os = "linux")]
    fn a_machine_with_linux_tells_its_memory() {
        let bytes = super::memory().unwrap();
        assert!((1 << 26..1 << 50).contains(&bytes), "{bytes} bytes");
    }
}
