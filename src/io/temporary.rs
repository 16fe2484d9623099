//! Temporary files, recognised by their names and locked while the process that writes them lives.
//!
//! A killed process leaves its temporary files unlocked, since the operating system releases the locks. [`sweep`] uses this to
//! distinguish them from files in use.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

const PREFIX: &str = ".nengo-wgpu-";
const SUFFIX: &str = ".tmp";

/// Files that this process would leave behind if it ended now. Holding the lock blocks creation and removal.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

pub(super) fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file, removed on drop.
pub(super) struct Temporary {
    file: NamedTempFile,
    /// Dropped after the file.
    _listed: Listed,
}

/// A path listed in [`LIVE`].
pub(super) struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        live().remove(&self.0);
    }
}

impl Temporary {
    /// Creates a file in this directory.
    pub fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let mut live = live();
            let file = builder().tempfile_in(directory)?;
            // A sweep may have met the file before it was locked and taken it for an abandoned one.
            let taken = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if !taken && file.path().exists() {
                let path = file.path().to_path_buf();
                live.insert(path.clone());
                return Ok(Self { file, _listed: Listed(path) });
            }
        }
    }

    /// The open file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Renames the file to `path`.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        let Self { file, _listed } = self;
        let _live = live();
        let result = file.persist(path);
        drop(_live);
        result.map(drop).map_err(|e| e.error)
    }
}

/// A builder with our name pattern, and permissions according to the umask. tempfile's default, readable by the owner only,
/// would surprise those who share the result.
fn builder() -> tempfile::Builder<'static, 'static> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(PREFIX).suffix(SUFFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    builder
}

/// Removes temporary files that killed processes left in a directory. Files of running processes and other files are kept. A
/// directory that cannot be read is ignored.
pub fn sweep(directory: impl AsRef<Path>) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let ours = name.to_str().is_some_and(|n| n.starts_with(PREFIX) && n.ends_with(SUFFIX));
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        let Ok(file) = OpenOptions::new().read(true).write(true).open(entry.path()) else { continue };
        if file.try_lock().is_ok() {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Removes the unfinished temporary files and directory locks of this process.
///
/// Call this when the process is about to end, for example on a signal. Threads that create or finish a file afterwards block
/// forever.
pub fn remove_all() {
    let live = live();
    live.iter().for_each(|path| drop(std::fs::remove_file(path)));
    std::mem::forget(live);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_takes_what_was_left_behind_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let used = Temporary::create(dir.path()).unwrap();
        let names = [".nengo-wgpu-abc.tmp", ".nengo-wgpu-abc", "results.tmp"];
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), "x").unwrap());
        std::fs::create_dir(dir.path().join(".nengo-wgpu-d.tmp")).unwrap();
        sweep(dir.path());
        assert!(!dir.path().join(names[0]).exists());
        for name in [names[1], names[2], ".nengo-wgpu-d.tmp"] {
            assert!(dir.path().join(name).exists(), "{name}");
        }
        used.persist(&dir.path().join("whole")).unwrap();
        assert!(dir.path().join("whole").exists());
        sweep(dir.path().join("missing"));
    }
}
