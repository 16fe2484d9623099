//! Files: parameters, data sets and tables, validated when read and written atomically.
//!
//! Sizes claimed by a file are compared with its real length before use. Every error names the file, what was found and what
//! was expected.

#[doc(hidden)]
pub mod atomic;
pub(crate) mod columns;
pub mod csv;
pub mod dataset;
pub mod idx;
pub(crate) mod images;
#[doc(hidden)]
pub mod lock;
#[doc(hidden)]
pub mod npy;
#[doc(hidden)]
pub mod params;
#[doc(hidden)]
pub mod table;
#[doc(hidden)]
pub mod temporary;

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};
pub use columns::LabelColumn;

/// Largest expansion of gzip: Deflate writes at most 258 bytes per two bits.
const MAX_GZIP_EXPANSION: u64 = 1032;

/// Opens a regular file and returns its length. Pipes, devices and directories have no length to check against.
fn open(path: &Path) -> Result<(File, u64)> {
    // Check before opening, since opening a named pipe waits for a writer.
    let about = std::fs::metadata(path).map_err(|e| Error::io("read", path, e))?;
    if !about.is_file() {
        return Err(Error::file(path, "this is not a regular file"));
    }
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    Ok((file, about.len()))
}

/// Free memory in bytes on this machine or in its container, where the system reports it.
fn free_memory() -> Option<u64> {
    let about = std::fs::read_to_string("/proc/meminfo").ok()?;
    let free = about.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free: u64 = free.trim().strip_suffix("kB")?.trim().parse().ok()?;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").unwrap_or_default();
    Some(container.trim().parse().map_or(1024 * free, |most: u64| most.min(1024 * free)))
}

/// Reserves room for `more` numbers, of which splitting the examples needs a second copy. Fails if memory is too small.
fn reserve(path: &Path, numbers: &mut Vec<f32>, more: usize) -> Result<()> {
    let bytes = 4 * (numbers.len() as u64).saturating_add(more as u64);
    let free = free_memory();
    if free.is_some_and(|free| bytes.saturating_mul(2) > free) || numbers.try_reserve_exact(more).is_err() {
        let free =
            free.map_or("the memory".into(), |free| format!("the {free} bytes of memory that are free"));
        let problem = format!(
            "its numbers take {bytes} bytes and twice that while they are split, too much for {free}"
        );
        return Err(Error::file(path, problem));
    }
    Ok(())
}

/// Contents of a file that may be gzipped.
struct Source {
    /// Reader of the unpacked bytes.
    reader: Box<dyn Read>,
    /// True if the file is gzipped.
    gzip: bool,
    /// Length of the file on disk.
    stored: u64,
    /// Upper bound on the number of unpacked bytes.
    most: u64,
}

impl Source {
    /// Opens `path`. Gzip is detected by the first two bytes, not by the file's name.
    fn open(path: &Path) -> Result<Self> {
        let (file, stored) = open(path)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let gzip = file.fill_buf().map_err(|e| Error::io("read", path, e))?.starts_with(&[0x1f, 0x8b]);
        if gzip {
            let most = stored.saturating_mul(MAX_GZIP_EXPANSION);
            Ok(Self { reader: Box::new(MultiGzDecoder::new(file)), gzip, stored, most })
        } else {
            Ok(Self { reader: Box::new(file), gzip, stored, most: stored })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_and_a_directory_are_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("nothing.bin");
        let message = open(&missing).unwrap_err().to_string();
        assert!(message.starts_with(&format!("cannot read {}", missing.display())), "{message}");
        let message = open(dir.path()).unwrap_err().to_string();
        assert!(message.contains("not a regular file"), "{message}");
    }
}
