//! Comma-separated tables of numbers, plain or gzipped.

use std::io::Read;
use std::path::Path;

use ndarray::Array2;

use crate::error::{Error, Result};
use crate::io::Source;

/// Limit on unpacked bytes. A plain file is limited by its own length, but a small gzip file can unpack to any size.
const MAX_UNPACKED: u64 = 1 << 32;

/// Reads a table of finite numbers from a CSV file.
///
/// The first line is skipped as a header if none of its fields is a number. Blank lines, and spaces around numbers, are
/// ignored.
///
/// # Errors
/// [`Error::Io`], also for corrupt gzip data; [`Error::File`] with line and column for a field that is not a finite 32-bit
/// float, for a line with a different number of fields, and for a table without rows.
pub fn read_csv(path: impl AsRef<Path>) -> Result<Array2<f32>> {
    read_csv_with(path.as_ref(), Columns { right: &|_| Ok(()), gaps: &|_, _| false })
}

/// Expectations about a table's columns.
#[derive(Clone, Copy)]
pub(super) struct Columns<'a> {
    /// Rejects a wrong number of columns, before more than one line is unpacked.
    pub right: &'a dyn Fn(usize) -> Result<()>,
    /// True if a column may contain NaN; arguments are the column's index and the number of columns.
    pub gaps: &'a dyn Fn(usize, usize) -> bool,
}

/// Reads a table with expectations about its columns.
pub(super) fn read_csv_with(path: &Path, columns: Columns<'_>) -> Result<Array2<f32>> {
    read_limited(path, MAX_UNPACKED, columns)
}

fn read_limited(path: &Path, most_unpacked: u64, columns: Columns<'_>) -> Result<Array2<f32>> {
    let source = Source::open(path)?;
    let limit = if source.gzip { most_unpacked } else { u64::MAX };
    // A final line feed ensures that the reader always stops right after a record's line.
    let text = source.reader.take(limit).chain(&b"\n"[..]);
    let mut table = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true) // our own message for ragged lines has the file's name
        .terminator(::csv::Terminator::Any(b'\n')) // a carriage return before it is trimmed away
        .trim(::csv::Trim::All)
        .from_reader(text);
    let mut line = ::csv::ByteRecord::new();
    let mut values = Vec::new();
    let mut rows = 0;
    let mut width = None;
    while table.read_byte_record(&mut line).map_err(|e| read_error(path, e))? {
        if line.len() == 1 && line[0].is_empty() {
            continue;
        }
        // (A record's own position is that of the blank lines before it.)
        let number = table.position().line() - 1;
        let is_first = width.is_none();
        let expected = *width.get_or_insert(line.len());
        if line.len() != expected {
            let problem = format!("line {number} has {} fields, but the first has {expected}", line.len());
            return Err(Error::file(path, problem));
        }
        if is_first {
            (columns.right)(expected)?;
            if is_header(&line) {
                continue;
            }
        }
        if values.capacity() - values.len() < expected {
            let more = values.len().max(1 << 12).max(expected);
            crate::io::reserve(path, &mut values, more)?;
        }
        for (column, field) in line.iter().enumerate() {
            let value = parse(field, (columns.gaps)(column, expected)).map_err(|problem| {
                let field = show(field);
                Error::file(path, format!("line {number}, column {}: {field} {problem}", column + 1))
            })?;
            values.push(value);
        }
        rows += 1;
    }
    if table.get_ref().get_ref().0.limit() == 0 {
        return Err(Error::file(
            path,
            format!("unpacks to more than {most_unpacked} bytes; unpack it first"),
        ));
    }
    let Some(width) = width.filter(|_| rows > 0) else {
        return Err(Error::file(path, "this table has no rows"));
    };
    Array2::from_shape_vec((rows, width), values).map_err(|e| Error::file(path, e.to_string()))
}

/// True for a line without numbers that is not only commas.
fn is_header(line: &::csv::ByteRecord) -> bool {
    let is_number = |field| std::str::from_utf8(field).is_ok_and(|text| text.parse::<f32>().is_ok());
    !line.iter().any(is_number) && line.iter().any(|field| !field.is_empty())
}

fn parse(field: &[u8], gap: bool) -> Result<f32, &'static str> {
    if field.is_empty() {
        return Err("is an empty field");
    }
    let text = std::str::from_utf8(field).map_err(|_| "is not a number")?;
    let value: f32 = text.parse().map_err(|_| "is not a number")?;
    if value.is_finite() || (gap && value.is_nan()) {
        Ok(value)
    } else if text.bytes().any(|byte| byte.is_ascii_digit()) {
        Err("is beyond the range of 32-bit floats")
    } else {
        Err("is not a finite number")
    }
}

/// A field for a message: shortened, without control characters.
fn show(field: &[u8]) -> String {
    let text = String::from_utf8_lossy(&field[..field.len().min(40)]);
    format!("'{}'", text.escape_debug())
}

fn read_error(path: &Path, error: ::csv::Error) -> Error {
    match error.into_kind() {
        ::csv::ErrorKind::Io(e) => Error::io("read", path, e),
        other => Error::file(path, format!("not a table: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::idx::tests::gzip;
    use ndarray::array;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Result<Array2<f32>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("table.csv");
        std::fs::write(&path, bytes).unwrap();
        let result =
            read_limited(&path, 1000, Columns { right: &|_| Ok(()), gaps: &|column, _| column == 2 });
        if let Err(error) = &result {
            assert!(error.to_string().contains("table.csv"), "{error}");
        }
        result
    }

    fn problem(text: &str) -> String {
        read(text.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn plain_packed_headed_and_spaced_tables_are_the_same() {
        let expected = array![[1.0, -2.5], [3e-3, 4.0]];
        let texts = [
            "1,-2.5\n3e-3,4\n",
            "1,-2.5\r\n3e-3,4",
            "left,right\n1,-2.5\n3e-3,4",
            "\u{feff}1, -2.5 \n\n 3e-3,\"4\"\n",
        ];
        for text in texts {
            assert_eq!(read(text.as_bytes()).unwrap(), expected, "{text:?}");
            assert_eq!(read(&gzip(text.as_bytes())).unwrap(), expected, "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(read_csv("/nowhere/table.csv").unwrap_err().to_string().contains("/nowhere/table.csv"));
    }

    #[test]
    fn nan_is_read_where_it_may_stand() {
        let table = read(b"1,2,nan\n3,4,NaN\n5,6,7\n").unwrap();
        assert!(table[[0, 2]].is_nan() && table[[1, 2]].is_nan() && table[[2, 2]] == 7.0);
        for (text, expected) in [
            ("1,nan,2\n", "line 1, column 2: 'nan' is not a finite number"),
            ("1,2,inf\n", "line 1, column 3: 'inf' is not a finite number"),
            ("1,2,none\n3,4,none\n", "column 3: 'none' is not a number"),
        ] {
            let message = problem(text);
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn faults_are_named_by_line_and_column() {
        for (text, expected) in [
            ("a,b\n1,2\n\n3,x\n", "line 4, column 2: 'x' is not a number"),
            ("\r\na,b\r\n1,2\r\n\r\n3,x", "line 5, column 2: 'x' is not a number"),
            ("1,2\n3,\n", "line 2, column 2: '' is an empty field"),
            ("1,2\nnan,3\n", "line 2, column 1: 'nan' is not a finite number"),
            ("1,2\n3,-inf\n", "line 2, column 2: '-inf' is not a finite number"),
            ("1,1e39\n", "line 1, column 2: '1e39' is beyond the range"),
            ("1,2\n3\n", "line 2 has 1 fields, but the first has 2"),
            ("a,b\n1,2,3\n", "line 2 has 3 fields, but the first has 2"),
            ("1,b\n1,2\n", "line 1, column 2: 'b' is not a number"),
            ("a,b\nc,d\n", "line 2, column 1: 'c' is not a number"),
            (",\n1,2\n", "line 1, column 1: '' is an empty field"),
            ("", "no rows"),
            ("a,b\n", "no rows"),
        ] {
            let message = problem(text);
            assert!(message.contains(expected), "{text:?}: {message}");
        }
    }

    #[test]
    fn a_long_or_binary_field_makes_a_short_message() {
        assert!(problem(&format!("1\n{}\n", "x".repeat(100_000))).len() < 300);
        assert!(read(b"1\n\xff\x1b[2J\n").unwrap_err().to_string().contains("line 2, column 1"));
    }

    #[test]
    fn a_gzip_bomb_and_a_cut_gzip_file_are_errors() {
        let bomb = gzip("1\n".repeat(10_000_000).as_bytes());
        assert!(read(&bomb).unwrap_err().to_string().contains("unpacks to more than 1000 bytes"));
        let packed = gzip(b"1,2\n3,4\n5,6\n7,9\n");
        assert!(matches!(read(&packed[..packed.len() - 6]), Err(Error::Io { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn any_text_is_a_table_or_an_error(text in "[0-9a,.\n\"; -]*") {
            let _ = read(text.as_bytes());
        }

        #[test]
        fn what_was_printed_is_read(values in prop::collection::vec(prop::num::f32::NORMAL, 1..20)) {
            let text: String = values.iter().map(|v| format!("{v},{v:e}\n")).collect();
            let expected = Array2::from_shape_fn((values.len(), 2), |(row, _)| values[row]);
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("table.csv");
            std::fs::write(&path, text).unwrap();
            prop_assert_eq!(read_csv(&path).unwrap(), expected);
        }
    }
}
