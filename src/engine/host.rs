//! Memory of the host, as Linux reports it.

use std::fs;

/// Total memory in bytes: the machine's, or the control group's limit if that is smaller. `None` outside of Linux.
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
    fn linux_reports_a_plausible_total_memory() {
        let bytes = super::memory().unwrap();
        assert!((1 << 26..1 << 50).contains(&bytes), "{bytes} bytes");
    }
}
