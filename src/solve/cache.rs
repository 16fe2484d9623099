//! Disk cache of decoders, which speeds up building the same network again.
//!
//! Each solution is one file, named by the hash of everything it depends on. In little-endian order it holds the tag, the
//! hash, the numbers of neurons and targets (u64), the decoders row by row and the errors (f64), and a hash of all of that.
//! Files of any other form are ignored.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use etcetera::BaseStrategy;
use ndarray::Array2;

use crate::error::{Error, Result};
use crate::io::atomic::NewFile;
use crate::io::temporary::sweep;
use crate::solve::{Solution, Solver};

/// Environment variable with the cache directory, or `off`.
const VARIABLE: &str = "NENGO_WGPU_CACHE";

/// First bytes of each file. It changes with the format, and whenever a solver's results change.
const TAG: &[u8; 16] = b"nengo decoders 1";

const EXTENSION: &str = "decoders";

/// Default limit on the total size of all files, in bytes.
const LIMIT: u64 = 512 << 20;

/// Hash of everything that a system of activities and targets depends on: encoders, gains, biases, points, the neuron type,
/// and the targets or the function that computes them.
///
/// It uses BLAKE3: distinct systems must never collide, and it is fast enough to compute every time.
#[derive(Clone, Debug, Default)]
pub struct Key(blake3::Hasher);

impl Key {
    /// The hash of no data.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a named text.
    pub fn text(self, name: &str, text: &str) -> Self {
        self.part(name, &[text.len()], |hasher| {
            hasher.update(text.as_bytes());
        })
    }

    /// Adds a named array, including its shape.
    pub fn array<D: ndarray::Dimension>(self, name: &str, values: ndarray::ArrayView<'_, f64, D>) -> Self {
        self.part(name, values.shape(), |hasher| {
            let mut bytes = Vec::with_capacity(4096);
            for value in values.iter() {
                bytes.extend_from_slice(&value.to_bits().to_le_bytes());
                if bytes.len() >= 4088 {
                    hasher.update(&bytes);
                    bytes.clear();
                }
            }
            hasher.update(&bytes);
        })
    }

    /// Adds a part with its sizes, so that no two sequences of parts have the same bytes.
    fn part(mut self, name: &str, shape: &[usize], add: impl FnOnce(&mut blake3::Hasher)) -> Self {
        for size in [name.len(), shape.len()].iter().chain(shape) {
            self.0.update(&(*size as u64).to_le_bytes());
        }
        self.0.update(name.as_bytes());
        add(&mut self.0);
        self
    }

    /// The hash including the solver and the seed.
    pub(super) fn with(&self, solver: &Solver, seed: u64) -> blake3::Hash {
        // Settings of a checked solver are finite, and JSON preserves all their digits.
        let method = serde_json::to_string(&solver.method).unwrap_or_default();
        self.clone().text("solver", &method).text("seed", &seed.to_string()).0.finalize()
    }
}

/// A directory of solutions. The oldest are removed when it exceeds its limit.
#[derive(Clone, Debug, PartialEq)]
pub struct Cache {
    directory: Option<PathBuf>,
    limit: u64,
}

impl Cache {
    /// A cache that stores nothing.
    pub fn off() -> Self {
        Self { directory: None, limit: LIMIT }
    }

    /// A cache in this directory, which need not exist yet.
    pub fn at(directory: impl Into<PathBuf>) -> Self {
        Self { directory: Some(directory.into()), limit: LIMIT }
    }

    /// A cache in the directory of the environment variable `NENGO_WGPU_CACHE`, or else in `nengo-wgpu/decoders` in the user's
    /// cache directory. It stores nothing if the variable is `off` or the user has no home directory.
    pub fn of_user() -> Self {
        match std::env::var_os(VARIABLE) {
            Some(value) if value == "off" || value.is_empty() => Self::off(),
            Some(directory) => Self::at(directory),
            None => match etcetera::base_strategy::choose_native_strategy() {
                Ok(user) => Self::at(user.cache_dir().join("nengo-wgpu").join("decoders")),
                Err(_) => Self::off(),
            },
        }
    }

    /// Sets the limit on the total size of all files, in bytes; 512 MiB by default.
    pub fn limit(self, bytes: u64) -> Self {
        Self { limit: bytes, ..self }
    }

    /// The directory; `None` if the cache stores nothing.
    pub fn directory(&self) -> Option<&Path> {
        self.directory.as_deref()
    }

    fn path(&self, key: &blake3::Hash) -> Option<PathBuf> {
        self.directory.as_ref().map(|directory| directory.join(format!("{}.{EXTENSION}", key.to_hex())))
    }

    /// The solution for a key, if its file is intact and has this shape (neurons, targets).
    pub(super) fn load(&self, key: &blake3::Hash, (n, d): (usize, usize)) -> Option<Solution> {
        let path = self.path(key)?;
        // Only a file of exactly the right size is opened, and no more than that is read.
        let size = file_size(n, d)?;
        let about = fs::symlink_metadata(&path).ok()?;
        if !about.is_file() || about.len() != size {
            return None;
        }
        let mut bytes = Vec::new();
        File::open(&path).ok()?.take(size).read_to_end(&mut bytes).ok()?;
        let (body, hash) = bytes.split_last_chunk::<32>()?;
        let header = header(key, n, d);
        if bytes.len() as u64 != size || blake3::hash(body) != *hash || !body.starts_with(&header) {
            return None;
        }
        let (values, _) = body[header.len()..].as_chunks::<8>();
        let values: Vec<f64> = values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
        let (decoders, rmse) = values.split_at_checked(n * d)?;
        let decoders = Array2::from_shape_vec((n, d), decoders.to_vec()).ok()?;
        Some(Solution { decoders, rmse: rmse.to_vec() })
    }

    /// Stores a solution; returns true if it did.
    ///
    /// Other processes see the whole file or none. After a crash of the machine it may be damaged, which loading detects:
    /// syncing each of a thousand files would take longer than solving.
    pub(super) fn store(&self, key: &blake3::Hash, solution: &Solution) -> Result<bool> {
        let (Some(path), Some(directory)) = (self.path(key), &self.directory) else { return Ok(false) };
        let (n, d) = solution.decoders.dim();
        let mut bytes = header(key, n, d);
        for value in solution.decoders.iter().chain(&solution.rmse) {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        let hash = blake3::hash(&bytes);
        bytes.extend_from_slice(hash.as_bytes());
        fs::create_dir_all(directory).map_err(|e| Error::io("create", directory, e))?;
        let mut file = NewFile::create(&path)?;
        file.file().write_all(&bytes).map_err(|e| file.error(e))?;
        file.finish_without_sync()?;
        Ok(true)
    }

    /// Removes the oldest files until the rest is within the limit, and files left behind by killed processes. Other files are
    /// kept.
    pub(super) fn trim(&self) {
        self.directory.iter().for_each(sweep);
        let Some(Ok(entries)) = self.directory.as_ref().map(fs::read_dir) else { return };
        let mut files: Vec<(SystemTime, PathBuf, u64)> = entries
            .flatten()
            .map(|entry| (entry.path(), entry.metadata()))
            .filter(|(path, _)| path.extension().is_some_and(|extension| extension == EXTENSION))
            .filter_map(|(path, about)| {
                let about = about.ok().filter(|about| about.is_file())?;
                Some((about.modified().ok()?, path, about.len()))
            })
            .collect();
        let mut total: u64 = files.iter().map(|(_, _, size)| size).sum();
        files.sort();
        for (_, path, size) in files {
            if total <= self.limit {
                return;
            }
            // Another process may have removed it first, or the directory may be read-only; neither matters.
            let _ = fs::remove_file(path);
            total -= size;
        }
    }
}

fn header(key: &blake3::Hash, n: usize, d: usize) -> Vec<u8> {
    let sizes = [(n as u64).to_le_bytes(), (d as u64).to_le_bytes()];
    [TAG.as_slice(), key.as_bytes(), sizes.as_flattened()].concat()
}

fn file_size(n: usize, d: usize) -> Option<u64> {
    let values = n.checked_mul(d)?.checked_add(d)?;
    (values as u64).checked_mul(8)?.checked_add(16 + 32 + 16 + 32)
}
