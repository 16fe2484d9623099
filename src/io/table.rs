//! Comma-separated tables of recorded values, written block by block for tables larger than memory.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use ndarray::ArrayView3;

use crate::error::Result;
use crate::io::atomic::{NewFile, directory};
use crate::io::npy::{Body, Shape};

/// Times of a table's rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    /// Number of rows before the first one in the table.
    pub before: usize,
    /// Seconds between rows. The very first row is at this time, as with Nengo's probes.
    pub interval: f64,
}

/// A table under construction: a line per example and row, with the example's index and the time before the values.
///
/// Rows arrive window by window for all examples, but the table is sorted by example. They are kept as numbers in a temporary
/// file and converted to text at the end. Dropped unfinished, the table leaves nothing behind.
pub struct TableFile {
    file: NewFile,
    path: PathBuf,
    rows: File,
    body: Body,
    times: Times,
}

impl TableFile {
    /// Starts a table of this shape. Values that are not written are zero.
    ///
    /// # Errors
    /// A file that cannot be created, or a disk that is too small.
    pub fn create(path: impl AsRef<Path>, shape: Shape, times: Times) -> Result<Self> {
        let path = path.as_ref();
        let file = NewFile::create(path)?;
        let start = || {
            let mut rows = tempfile::tempfile_in(directory(path))?;
            let body = Body::start(&mut rows, 0, shape)?;
            Ok((rows, body))
        };
        let (rows, body) = start().map_err(|e| file.error(e))?;
        Ok(Self { file, path: path.into(), rows, body, times })
    }

    /// Writes a block of rows, starting at this example and row.
    ///
    /// # Errors
    /// A block outside the table, or a full disk.
    pub fn write(&mut self, example: usize, row: usize, values: ArrayView3<'_, f32>) -> Result<()> {
        self.body.check(&self.path, example, row, values)?;
        self.body.write(&mut self.rows, example, row, values).map_err(|e| self.file.error(e))
    }

    /// Truncates the table to its first `examples` and `rows`, after a run that ended early.
    ///
    /// # Errors
    /// A disk that fails.
    pub fn keep(&mut self, examples: usize, rows: usize) -> Result<()> {
        self.body.keep(&mut self.rows, examples, rows).map_err(|e| self.file.error(e))
    }

    /// Writes the text and moves the file to its destination.
    ///
    /// # Errors
    /// A disk or rename that fails.
    pub fn finish(mut self) -> Result<()> {
        let Self { file, rows, body, times, .. } = &mut self;
        write_text(file.file(), rows, body, *times).map_err(|e| self.file.error(e))?;
        self.file.finish()
    }
}

fn write_text(to: &mut File, rows: &mut File, body: &Body, times: Times) -> std::io::Result<()> {
    let mut to = BufWriter::new(to);
    let [examples, n_rows, size] = body.shape;
    let digits = decimals(times.interval);
    write!(to, "example,time")?;
    (0..size).try_for_each(|i| write!(to, ",{i}"))?;
    writeln!(to)?;
    rows.seek(SeekFrom::Start(body.first()))?;
    let mut rows = BufReader::new(rows);
    for example in 0..examples {
        for row in 0..n_rows {
            write!(to, "{example},{:.digits$}", (times.before + row + 1) as f64 * times.interval)?;
            for _ in 0..size {
                let mut value = [0; 4];
                rows.read_exact(&mut value)?;
                write!(to, ",{}", f32::from_le_bytes(value))?;
            }
            writeln!(to)?;
        }
    }
    to.flush()
}

/// Number of decimals of times: six, or more if the interval needs them to keep times distinct.
fn decimals(interval: f64) -> usize {
    let whole = |digits: &usize| {
        let units = interval * 10_f64.powi(*digits as i32);
        (units - units.round()).abs() < 1e-6 * units
    };
    (6..12).find(whole).unwrap_or(12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array3, s};

    const TIMES: Times = Times { before: 2, interval: 0.5 };

    fn values() -> Array3<f32> {
        Array3::from_shape_fn((3, 10, 2), |(b, t, c)| 0.1 * (100 * b + 10 * t + c) as f32)
    }

    /// The table when rows arrive in windows of `window` steps, of two examples and then of one.
    fn in_windows(path: &Path, window: usize) -> String {
        let mut table = TableFile::create(path, [3, 10, 2], TIMES).unwrap();
        for examples in [0..2, 2..3] {
            for first in (0..10).step_by(window) {
                let end = (first + window).min(10);
                let block = values();
                table
                    .write(examples.start, first, block.slice(s![examples.clone(), first..end, ..]))
                    .unwrap();
            }
        }
        table.finish().unwrap();
        std::fs::read_to_string(path).unwrap()
    }

    #[test]
    fn windows_of_any_length_give_the_same_table() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let whole = in_windows(&path, 10);
        let lines: Vec<&str> = whole.lines().collect();
        assert_eq!(lines.len(), 31);
        assert_eq!(lines[..3], ["example,time,0,1", "0,1.500000,0,0.1", "0,2.000000,1,1.1"]);
        for (line, (i, row)) in
            lines[1..].iter().zip((0..30).map(|i| (i, values().slice(s![i / 10, i % 10, ..]).to_vec())))
        {
            let fields: Vec<&str> = line.split(',').collect();
            assert_eq!(fields[0], (i / 10).to_string());
            let read: Vec<f32> = fields[2..].iter().map(|f| f.parse().unwrap()).collect();
            assert_eq!(read, row, "{line}");
        }
        for window in [1, 3, 7] {
            assert_eq!(in_windows(&path, window), whole, "windows of {window} rows");
        }
    }

    #[test]
    fn nothing_is_left_of_a_table_that_was_not_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        let mut table = TableFile::create(&path, [3, 10, 2], TIMES).unwrap();
        table.write(0, 0, values().view()).unwrap();
        let message = table.write(1, 0, values().view()).unwrap_err().to_string();
        assert!(message.contains("a.csv") && message.contains("[3, 10, 2]"), "{message}");
        assert!(!path.exists());
        drop(table);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
