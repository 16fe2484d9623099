//! Parameters and checkpoints as safetensors files.
//!
//! A checkpoint is the same kind of file with additional tensors (`optimiser/<slot>/<name>`) and metadata. Equal tensors and
//! metadata give equal bytes.

mod values;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::path::Path;

use safetensors::tensor::TensorInfo;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::io::atomic::write_atomic;
use values::{read_bytes, read_values};

/// Tensors by name: shape, and values in row-major order.
pub type Tensors = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// Metadata: texts by key.
pub type Metadata = BTreeMap<String, String>;

/// Reserved key of the metadata; no tensor may have this name.
const METADATA_KEY: &str = "__metadata__";

/// Limit of the format on the header's length, in bytes.
const MAX_HEADER: u64 = 100_000_000;

/// Most keys of a kind that an error message lists.
const MAX_LISTED: usize = 20;

/// Writes tensors (name, shape, row-major values) as 32-bit floats; see [`write_atomic`].
///
/// # Errors
/// [`Error::Shape`] if values and shape disagree, [`Error::DuplicateName`], [`Error::Invalid`] for a reserved name, and
/// [`Error::Io`].
pub fn save(
    path: impl AsRef<Path>,
    tensors: &[(&str, Vec<usize>, &[f32])],
    metadata: &Metadata,
) -> Result<()> {
    let header = header(tensors, metadata)?;
    write_atomic(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        for (_, _, data) in tensors {
            write_values(writer, data)?;
        }
        Ok(())
    })
}

/// The JSON header that describes the tensors, padded with spaces to align the values after it.
///
/// (The crate `safetensors` can write files too, but keeps the metadata in a hash map, so that equal content would give
/// different bytes.)
fn header(tensors: &[(&str, Vec<usize>, &[f32])], metadata: &Metadata) -> Result<Vec<u8>> {
    let mut entries: BTreeMap<&str, Value> = BTreeMap::new();
    if !metadata.is_empty() {
        entries.insert(METADATA_KEY, json!(metadata));
    }
    let mut start = 0;
    for (name, shape, data) in tensors {
        if *name == METADATA_KEY {
            return Err(Error::invalid(*name, "safetensors files reserve this name; use another one"));
        }
        if element_count(shape) != Some(data.len()) {
            let found = format!("{} values", data.len());
            return Err(Error::shape(format!("tensor {name}"), format!("{shape:?}"), "its data", found));
        }
        let end = start + size_of_val(*data);
        let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [start, end]});
        if entries.insert(name, entry).is_some() {
            return Err(Error::DuplicateName { name: (*name).to_string() });
        }
        start = end;
    }
    let text = serde_json::to_string(&entries).map_err(|e| Error::invalid("parameters", e.to_string()))?;
    let mut header = text.into_bytes();
    header.resize(header.len().next_multiple_of(8), b' ');
    if header.len() as u64 > MAX_HEADER {
        let problem =
            format!("names and metadata take {} bytes; the format allows {MAX_HEADER}", header.len());
        return Err(Error::invalid("parameters", problem));
    }
    Ok(header)
}

fn write_values(writer: &mut dyn Write, data: &[f32]) -> std::io::Result<()> {
    if cfg!(target_endian = "little") {
        return writer.write_all(bytemuck::cast_slice(data));
    }
    data.iter().try_for_each(|value| writer.write_all(&value.to_le_bytes()))
}

fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side))
}

/// Reads all tensors and the metadata of a safetensors file.
///
/// 16-bit and 64-bit floats are converted to 32 bits; other types are errors.
///
/// # Errors
/// [`Error::Io`], or [`Error::File`] for a file that is truncated, too long, of another format or another type, or that
/// contains 64-bit values beyond the range of 32 bits.
pub fn load(path: impl AsRef<Path>) -> Result<(Tensors, Metadata)> {
    let path = path.as_ref();
    let (mut file, length) = crate::io::open(path)?;
    let header = read_header(path, &mut file, length)?;
    let mut tensors = Tensors::new();
    for name in header.offset_keys() {
        // The checked header guarantees that tensors follow each other without gaps, up to the file's end.
        let Some(info) = header.info(&name) else { continue };
        let values = read_values(path, &mut file, &name, info)?;
        tensors.insert(name, (info.shape.clone(), values));
    }
    let metadata = header.metadata().clone().unwrap_or_default().into_iter().collect();
    Ok((tensors, metadata))
}

/// Reads and checks everything before the first value, without allocating more than the file's length.
fn read_header(path: &Path, file: &mut impl Read, length: u64) -> Result<safetensors::tensor::Metadata> {
    let not_one = |why: String| Error::file(path, format!("not a safetensors file: {why}"));
    if length < 8 {
        return Err(not_one(format!("it has {length} bytes, but the header's length alone takes 8")));
    }
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|e| Error::io("read", path, e))?;
    let size = u64::from_le_bytes(size);
    if size > MAX_HEADER {
        return Err(not_one(format!("its header claims {size} bytes; {MAX_HEADER} are allowed")));
    }
    if size > length - 8 {
        let left = length - 8;
        return Err(not_one(format!("its header claims {size} bytes, but only {left} follow")));
    }
    let text = read_bytes(path, file, size as usize)?;
    let header: safetensors::tensor::Metadata =
        serde_json::from_slice(&text).map_err(|_| not_one(format!("its header {}", fault(&text))))?;
    let expected = header.data_len() as u64;
    let found = length - 8 - size;
    if found != expected {
        let what = if found < expected { "cut short" } else { "too long" };
        let problem = format!("{what}: its tensors take {expected} bytes, but {found} follow the header");
        return Err(Error::file(path, problem));
    }
    Ok(header)
}

/// The problem of a header that the format's own reader rejects.
fn fault(header: &[u8]) -> String {
    let Ok(Value::Object(entries)) = serde_json::from_slice(header) else {
        return "is damaged: it is not a JSON object".into();
    };
    let mut parts = Vec::new();
    for (name, entry) in entries.iter().filter(|(name, _)| *name != METADATA_KEY) {
        let Ok(info) = TensorInfo::deserialize(entry) else {
            return format!("lacks a known type, a shape or two data_offsets for tensor {name}");
        };
        parts.push((info.data_offsets, name, info));
    }
    parts.sort_by_key(|(place, ..)| *place);
    let mut end = 0;
    for ((from, to), name, TensorInfo { dtype, shape, .. }) in parts {
        if from != end || to < from {
            return format!(
                "has tensor {name} from byte {from} to {to}, but it must begin at {end} and not end before"
            );
        }
        let bits = element_count(&shape).and_then(|n| n.checked_mul(dtype.bitsize()));
        if bits != (to - from).checked_mul(8) {
            let bytes = to - from;
            return format!(
                "has {bytes} bytes for tensor {name}, which do not hold {shape:?} values of type {dtype:?}"
            );
        }
        end = to;
    }
    match entries.get(METADATA_KEY).map(Metadata::deserialize) {
        Some(Err(_)) => format!("has a {METADATA_KEY} that is not a table of texts"),
        _ => "is damaged: it has a duplicate name".into(),
    }
}

/// Checks that a file contains exactly the tensors that a network expects, by name and shape.
///
/// # Errors
/// [`Error::OtherNetwork`] with the missing and unknown names, and those of another shape.
pub fn check_keys(path: impl AsRef<Path>, expected: &[(String, Vec<usize>)], found: &Tensors) -> Result<()> {
    let expected: BTreeMap<&str, &[usize]> =
        expected.iter().map(|(name, shape)| (name.as_str(), shape.as_slice())).collect();
    let mut missing = Vec::new();
    let mut shapes = Vec::new();
    for (&name, &shape) in &expected {
        match found.get(name) {
            None => missing.push(name.to_string()),
            Some((other, _)) if other != shape => {
                shapes.push(format!("{name}: {other:?} in the file, {shape:?} in this network"));
            }
            Some(_) => {}
        }
    }
    let unknown: Vec<String> =
        found.keys().filter(|name| !expected.contains_key(name.as_str())).cloned().collect();
    if missing.is_empty() && unknown.is_empty() && shapes.is_empty() {
        return Ok(());
    }
    if !unknown.is_empty() && unknown.iter().all(|name| name.starts_with("optimiser/")) && missing.is_empty()
    {
        let problem = "it is a checkpoint, for continuing a training; use the params.safetensors next to it";
        return Err(Error::file(path.as_ref(), problem));
    }
    Err(Error::OtherNetwork {
        path: path.as_ref().to_path_buf(),
        missing: shorten(missing),
        unknown: shorten(unknown),
        shapes: shorten(shapes),
    })
}

fn shorten(mut names: Vec<String>) -> Vec<String> {
    let more = names.len().saturating_sub(MAX_LISTED);
    if more > 0 {
        names.truncate(MAX_LISTED);
        names.push(format!("and {more} more"));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The bytes of a file with this header, followed by `data`.
    fn raw(header: &str, data: &[u8]) -> Vec<u8> {
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn load_bytes(bytes: &[u8]) -> Result<(Tensors, Metadata)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.safetensors");
        std::fs::write(&path, bytes).unwrap();
        let result = load(&path);
        if let Err(error) = &result {
            assert!(error.to_string().contains("p.safetensors"), "{error}");
        }
        result
    }

    fn problem(bytes: &[u8]) -> String {
        load_bytes(bytes).unwrap_err().to_string()
    }

    fn saved(tensors: &[(&str, Vec<usize>, &[f32])], metadata: &Metadata) -> Vec<u8> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.safetensors");
        save(&path, tensors, metadata).unwrap();
        std::fs::read(path).unwrap()
    }

    fn example() -> Vec<u8> {
        let metadata = Metadata::from([("checkpoint".into(), "{\"step\": 3}".into())]);
        saved(&[("b/bias", vec![2], &[1.0, -2.0]), ("a/weights", vec![1, 3], &[0.5; 3])], &metadata)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn what_was_saved_is_loaded(
            shapes in prop::collection::vec(prop::collection::vec(0usize..6, 0..4), 0..6),
            seed in any::<u32>(),
            note in ".*",
        ) {
            let mut bits = seed;
            let tensors: Tensors = shapes.into_iter().enumerate().map(|(i, shape)| {
                let count = element_count(&shape).unwrap();
                let values = (0..count).map(|_| {
                    bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    f32::from_bits(bits & !0x4000_0000) // no infinities or NaN: those are not equal to themselves
                });
                (format!("object {i}/weights"), (shape, values.collect()))
            }).collect();
            let metadata = Metadata::from([("note".into(), note), ("other".into(), "é\"\\\n".into())]);
            let list: Vec<_> = tensors.iter().map(|(n, (s, d))| (n.as_str(), s.clone(), d.as_slice())).collect();
            let bytes = saved(&list, &metadata);
            // The format's own reader accepts it, and equal content gives equal bytes.
            let theirs = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            prop_assert_eq!(theirs.len(), tensors.len());
            prop_assert_eq!(&bytes, &saved(&list, &metadata));
            prop_assert_eq!(load_bytes(&bytes).unwrap(), (tensors, metadata));
        }

        #[test]
        fn damaged_files_are_errors_or_other_values_but_never_a_panic(
            at in 0usize..400, with in any::<u8>(), cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = example();
            let at = at % bytes.len();
            bytes[at] = with;
            let _ = load_bytes(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            prop_assert!(load_bytes(&bytes).is_err());
        }
    }

    #[test]
    fn a_missing_file_is_named() {
        assert!(load("/nowhere/p.safetensors").unwrap_err().to_string().contains("/nowhere/p.safetensors"));
    }

    #[test]
    fn files_that_are_cut_short_or_too_long_say_both_sizes() {
        let mut bytes = example();
        bytes.push(0);
        assert!(problem(&bytes).contains("too long: its tensors take 20 bytes, but 21 follow"));
        bytes.truncate(bytes.len() - 4);
        assert!(problem(&bytes).contains("cut short: its tensors take 20 bytes, but 17 follow"));
    }

    #[test]
    fn huge_sizes_are_refused_before_anything_is_allocated() {
        assert!(problem(&u64::MAX.to_le_bytes()).contains("not a safetensors file"));
        assert!(problem(&90_000_000u64.to_le_bytes()).contains("but only 0 follow"));
        let tebibyte = r#"{"w":{"dtype":"F32","shape":[1048576,262144],"data_offsets":[0,1099511627776]}}"#;
        assert!(problem(&raw(tebibyte, &[0; 8])).contains("1099511627776 bytes, but 8 follow"));
        let overflow = r#"{"w":{"dtype":"F32","shape":[4294967296,4294967296,4],"data_offsets":[0,0]}}"#;
        assert!(
            problem(&raw(overflow, &[])).contains("has 0 bytes for tensor w, which do not hold [4294967296,")
        );
        let lie = r#"{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
        assert!(
            problem(&raw(lie, &[0; 8])).contains("has 8 bytes for tensor w, which do not hold [3] values of")
        );
        let overlap = r#"{"v":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                          "w":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
        let message = problem(&raw(overlap, &[0; 12]));
        assert!(message.contains("tensor w from byte 4 to 12, but it must begin at 8"), "{message}");
    }

    #[test]
    fn garbage_is_not_a_safetensors_file() {
        for bytes in [&b""[..], b"short", b"this is a text file and not much else", &raw("[1, 2]", b"")] {
            assert!(problem(bytes).contains("not a safetensors file"), "{bytes:?}");
        }
        for (header, says) in [
            ("{\"w\": ", "its header is damaged: it is not a JSON object"),
            ("[1, 2]", "its header is damaged: it is not a JSON object"),
            (
                r#"{"w":{"dtype":"F99","shape":[],"data_offsets":[0,0]}}"#,
                "lacks a known type, a shape or two data_offsets for tensor w",
            ),
            (r#"{"__metadata__":{"a":1}}"#, "has a __metadata__ that is not a table of texts"),
        ] {
            let message = problem(&raw(header, b""));
            assert!(message.contains(says), "{message}");
        }
    }

    #[test]
    fn other_float_types_are_converted_and_integers_refused() {
        let file = |dtype: &str, count: usize, data: &[u8]| {
            let header = json!({"w": {"dtype": dtype, "shape": [count], "data_offsets": [0, data.len()]}});
            load_bytes(&raw(&header.to_string(), data)).map(|(tensors, _)| tensors["w"].1.clone())
        };
        let wide: Vec<u8> = [1.5f64, -1e-3, f64::INFINITY].iter().flat_map(|v| v.to_le_bytes()).collect();
        assert_eq!(file("F64", 3, &wide).unwrap(), [1.5, -1e-3, f32::INFINITY]);
        let message = file("F64", 1, &1e300f64.to_le_bytes()).unwrap_err().to_string();
        assert!(message.contains("1e300, too large"), "{message}");
        let half: Vec<u8> = [0x3c00u16, 0xc000, 0x7bff, 0x0001, 0x0400, 0xfc00, 0x3555]
            .iter()
            .flat_map(|v| v.to_le_bytes())
            .collect();
        let exact = [1.0, -2.0, 65504.0, 2f32.powi(-24), 2f32.powi(-14), f32::NEG_INFINITY, 0.333_251_95];
        assert_eq!(file("F16", 7, &half).unwrap(), exact);
        assert!(values::f16_to_f32(0x7e00).is_nan());
        assert_eq!(file("BF16", 2, &[0x80, 0x3f, 0x20, 0xc0]).unwrap(), [1.0, -2.5]);
        let message = file("I64", 1, &[0; 8]).unwrap_err().to_string();
        assert!(message.contains("tensor w is of type I64"), "{message}");
    }

    #[test]
    fn tensors_that_cannot_be_saved_are_named_and_nothing_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.safetensors");
        let none = Metadata::new();
        let message = save(&path, &[("w", vec![2, 3], &[0.0; 5])], &none).unwrap_err().to_string();
        assert!(message.contains("tensor w is [2, 3], but its data is 5 values"), "{message}");
        assert!(save(&path, &[("w", vec![1], &[0.0]), ("w", vec![1], &[0.0])], &none).is_err());
        assert!(save(&path, &[(METADATA_KEY, vec![1], &[0.0])], &none).is_err());
        assert!(!path.exists());
    }

    #[test]
    fn keys_of_another_network_are_listed_as_missing_unknown_or_reshaped() {
        let (found, _) = load_bytes(&example()).unwrap();
        let expect = |keys: &[(&str, &[usize])]| {
            let keys: Vec<_> = keys.iter().map(|(name, shape)| (name.to_string(), shape.to_vec())).collect();
            check_keys("p.safetensors", &keys, &found)
        };
        expect(&[("a/weights", &[1, 3]), ("b/bias", &[2])]).unwrap();
        let message = expect(&[("a/weights", &[3, 1]), ("c/bias", &[2])]).unwrap_err().to_string();
        for part in ["p.safetensors", "missing [c/bias]", "unknown [b/bias]", "[1, 3] in the file, [3, 1] in"]
        {
            assert!(message.contains(part), "{part}: {message}");
        }
    }

    #[test]
    fn a_long_list_of_keys_is_shortened() {
        let found: Tensors = (0..1000).map(|i| (format!("k{i}"), (vec![0], vec![]))).collect();
        let message = check_keys("p", &[], &found).unwrap_err().to_string();
        assert!(message.contains("and 980 more") && message.len() < 300, "{message}");
    }
}
