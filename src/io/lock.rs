//! Directory locks: one process at a time writes into a directory.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::temporary::live;

const NAME: &str = ".nengo-wgpu.lock";

/// A lock on a directory, released on drop.
///
/// It is an operating system lock on the file `.nengo-wgpu.lock` in the directory, so a killed process holds nothing.
#[derive(Debug)]
pub struct DirectoryLock {
    directory: PathBuf,
    file: PathBuf,
    /// The lock ends when the file is closed.
    _lock: File,
}

impl DirectoryLock {
    /// Locks an existing directory. On file systems without locks it succeeds unconditionally.
    ///
    /// # Errors
    /// A directory locked by another process or another part of this one; a directory that cannot be written.
    pub fn take(directory: impl AsRef<Path>) -> Result<Self> {
        let directory = directory.as_ref();
        let path = directory.join(NAME);
        loop {
            // A signal that ends the process finds the file either listed or not created yet.
            let mut live = live();
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            let mut file = options.open(&path).map_err(|e| Error::io("write into", directory, e))?;
            if let Err(TryLockError::WouldBlock) = file.try_lock() {
                let mut process = String::new();
                let _ = file.read_to_string(&mut process);
                let process = process.trim().parse::<u32>().map_or(String::new(), |id| format!(" ({id})"));
                let problem = format!(
                    "it is in use by another process{process} of nengo-wgpu: wait for its end, or name another \
                     directory"
                );
                return Err(Error::file(directory, problem));
            }
            // The previous holder may have removed the file after it was opened here.
            if !is_at(&file, &path) {
                continue;
            }
            let told = file.set_len(0).and_then(|()| file.rewind());
            told.and_then(|()| writeln!(file, "{}", std::process::id()))
                .inspect_err(|_| drop(std::fs::remove_file(&path)))
                .map_err(|e| Error::io("write into", directory, e))?;
            live.insert(path.clone());
            return Ok(Self { directory: directory.into(), file: path, _lock: file });
        }
    }

    /// The directory as given.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        let mut live = live();
        if cfg!(unix) {
            let _ = std::fs::remove_file(&self.file);
        }
        live.remove(&self.file);
    }
}

/// True if an open file is the one at `path`.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |about: std::fs::Metadata| (about.dev(), about.ino());
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

/// On other systems a lock's file is never removed.
#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_taken_once_and_free_afterwards() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirectoryLock::take(dir.path()).unwrap();
        let message = DirectoryLock::take(dir.path()).unwrap_err().to_string();
        let id = std::process::id().to_string();
        assert!(message.contains(&dir.path().display().to_string()) && message.contains(&id), "{message}");
        drop(lock);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), usize::from(!cfg!(unix)));
        // A killed process leaves this behind.
        std::fs::write(dir.path().join(NAME), "1\n").unwrap();
        drop(DirectoryLock::take(dir.path()).unwrap());
        assert!(DirectoryLock::take(dir.path().join("missing")).is_err());
    }

    #[test]
    fn one_of_many_takers_at_once_has_the_directory() {
        let dir = tempfile::tempdir().unwrap();
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let Ok(_lock) = DirectoryLock::take(dir.path()) else { continue };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                    }
                });
            }
        });
    }
}
