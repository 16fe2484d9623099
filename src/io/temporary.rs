//! Temporary files of this program: known by their names, and locked as long as the process that writes them lives.
//!
//! A process that is killed leaves its temporary files behind, unlocked. [`sweep`] tells them from those in use by the lock,
//! which the operating system takes back with the process.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tempfile::NamedTempFile;

const PREFIX: &str = ".nengo-wgpu-";
const SUFFIX: &str = ".tmp";

/// What this process would leave behind if it ended now. Files come and go while it is held.
static LIVE: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

pub(super) fn live() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    LIVE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A temporary file; dropped, it is gone.
pub(super) struct Temporary {
    file: NamedTempFile,
    /// (Dropped after the file.)
    _listed: Listed,
}

/// A path that is in [`LIVE`].
pub(super) struct Listed(PathBuf);

impl Drop for Listed {
    fn drop(&mut self) {
        live().remove(&self.0);
    }
}

impl Temporary {
    /// Makes one in this directory.
    pub fn create(directory: &Path) -> io::Result<Self> {
        loop {
            let mut live = live();
            let file = builder().tempfile_in(directory)?;
            // A sweep may have met the file before it was locked, and has taken it for one that was left behind.
            let taken = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
            if !taken && file.path().exists() {
                let path = file.path().to_path_buf();
                live.insert(path.clone());
                return Ok(Self { file, _listed: Listed(path) });
            }
        }
    }

    /// The file.
    pub fn file(&mut self) -> &mut File {
        self.file.as_file_mut()
    }

    /// Gives the file its name.
    pub fn persist(self, path: &Path) -> io::Result<()> {
        let Self { file, _listed } = self;
        let _live = live();
        let result = file.persist(path);
        drop(_live);
        result.map(drop).map_err(|e| e.error)
    }
}

/// Names of ours, and permissions that let others read as far as the umask does (tempfile's own default is the owner alone,
/// which would surprise whoever shares the result).
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

/// Removes the temporary files that killed processes have left in a directory. Files of processes that live stay, and so
/// does all that has another name. A directory that cannot be read is left alone.
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

/// Removes what this process has begun and not finished: temporary files, and locks of directories.
///
/// For a process that is about to end, as when a signal asks it to: a thread that would begin or finish a file afterwards
/// waits for ever.
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
